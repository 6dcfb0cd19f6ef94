/** The memory that a node needs for a cluster of a thousand nodes. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { parseMac, parsePrefix } from "../../src/address.js";
import { Compiler } from "../../src/compile/compiler.js";
import type { DataPath } from "../../src/paths/datapath.js";
import { founder } from "./cluster.js";
import { grown } from "./grown.js";
import { randomFrom, seed } from "./seed.js";
import { Stranger } from "./stranger.js";
import { MemoryDisk, World } from "./world.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Megabytes of heap in use after a garbage collection. */
const used = (): number => {
  collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
};

/** A data path without any answer. */
const nowhere: DataPath = {
  send() {},
  receive() {},
  carriesEcn: false,
  takeActive: () => [],
  mtu: { least: 526, most: 1450 },
  onMtuHint() {},
  onMtuChange() {},
  takeMtuHint: () => undefined,
};

it("a thousand records, their members, the paths to them and their tables take less than 40 MB", async () => {
  const { envelopes } = grown(1000, randomFrom(seed));
  const texts = envelopes.map((envelope) =>
    JSON.stringify({ type: "records", records: [envelope] }),
  );
  const world = new World();
  const disk = new MemoryDisk();
  disk.save({ seed: founder.seed, remembered: [] });
  const network = [parsePrefix("10.0.0.0/8")];
  const { mesh } = await world.node(1, [], disk, {
    network,
    vtep: "192.0.9.1:4789",
    name: "first",
    datapath: nowhere,
  });
  const compiler = new Compiler(8192);
  const stranger = new Stranger(world);
  stranger.connect();
  const before = used();
  for (const [n, text] of texts.entries()) {
    stranger.sayText(text);
    if (n % 100 === 99) world.clock.run(1000);
    stranger.heard.splice(0);
  }
  world.clock.run(10_000);
  stranger.heard.splice(0);
  const { mac, leases } = mesh.self();
  const own = { vni: 1, mac: parseMac(mac), mtu: 1450, leases: leases.map(parsePrefix) };
  for (const id of mesh.takeChanged()) compiler.stage(id, mesh.peer(id));
  const differences = compiler.compare(own);
  compiler.commit(differences);
  const members = mesh.members();
  expect(members).toHaveLength(1000);
  expect(differences.routes.length).toBeGreaterThanOrEqual(1000);
  const more = used() - before;
  console.log(`${more.toFixed(1)} MB for a thousand members`);
  expect(more).toBeLessThan(40);
  // Keeps both objects alive until after the measurement.
  expect(compiler.peers).toHaveLength(1000);
  expect(mesh.members().map(({ id }) => id)).toEqual(members.map(({ id }) => id));
});
