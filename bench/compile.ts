/**
 * The cost of a change of the cluster for the agent's main thread: milliseconds from the mesh's event
 * to published tables.
 *
 *     npm run bench:compile              a table, kept in bench/results/compile.md and compile.json
 *     npm run bench:compile -- -o json   the same as JSON
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseMac, parsePrefix } from "../src/address.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import {
  isNodeRecord,
  type NodeRecord,
  type RecordContent,
  signRecord,
} from "../src/gossip/record.js";
import { RecordVerifier } from "../src/gossip/record-verifier.js";
import type { Mesh } from "../src/mesh/mesh.js";
import { founder } from "../test/mesh/cluster.js";
import { type Grown, grown, grownIdentity } from "../test/mesh/grown.js";
import { randomFrom } from "../test/mesh/seed.js";
import { Stranger } from "../test/mesh/stranger.js";
import { MemoryDisk, World } from "../test/mesh/world.js";
import { describeMachine, machine } from "./machine.js";
import { quantile } from "./statistics.js";
import { table } from "./table.js";

const SIZES = [100, 1000, 5000];
const CHANGES = 200;
/** Records sent to the node in one message while its cluster grows. */
const AT_ONCE = 50;

/** Medians, in milliseconds. */
interface Row {
  readonly peers: number;
  /** The first publication, of all peers. */
  readonly first: number;
  readonly nothing: number;
  /** One peer gets another endpoint. */
  readonly change: number;
  /** One peer leaves and comes back. */
  readonly flap: number;
}

/** The agent's reaction to a change in the mesh. */
class BenchFollower {
  constructor(
    readonly mesh: Mesh,
    readonly publisher: Publisher,
  ) {}

  /** Publishes the changes. @returns milliseconds */
  follow(): number {
    const before = performance.now();
    const { mac, leases } = this.mesh.self();
    const own = { vni: 1, mac: parseMac(mac), mtu: 1450, leases: leases.map(parsePrefix) };
    for (const id of this.mesh.takeChanged()) this.publisher.stage(id, this.mesh.peer(id));
    this.publisher.commit(own);
    return performance.now() - before;
  }

  /** Number of changes of the tables. */
  get changes(): number {
    return this.publisher.live().generation;
  }
}

const { values: given } = parseArgs({
  options: { output: { type: "string", short: "o", default: "table" } },
});
const about = machine();
const rows: Row[] = [];
for (const size of SIZES) {
  process.stderr.write(`bench: ${size} peers\n`);
  rows.push(await measure(size));
}
report();

async function measure(size: number): Promise<Row> {
  const cluster = grown(size, randomFrom(1));
  const { world, mesh, stranger } = await node(cluster);
  const follower = new BenchFollower(mesh, new Publisher(await Core.create()));
  const first = follower.follow();
  const known = follower.publisher.peers.length;
  if (known !== size) throw new Error(`the node knows ${known} peers`);

  /** A member changes its record, and the node accepts it. */
  const say = (i: number, change: Partial<RecordContent>): void => {
    const { id, owner, kind, envelope: _, bytes, version: first, ...said } = opened(cluster, i);
    const version = (versions.get(i) ?? first) + 1;
    versions.set(i, version);
    const envelope = signRecord(grownIdentity(i), cluster.cluster, version, { ...said, ...change });
    stranger.say({ type: "records", records: [envelope] });
    world.clock.run(1000);
    stranger.heard.splice(0);
  };
  const versions = new Map<number, number>();
  const changes: number[] = [];
  const nothings: number[] = [];
  const flaps: number[] = [];
  for (let n = 0; n < CHANGES; n++) {
    const one = (n * 7919) % size;
    say(one, { vtep: opened(cluster, one).vtep.replace(/\d+$/, `${10_000 + n}`) });
    changes.push(follower.follow());
    nothings.push(follower.follow());
    say(one, { withdrawn: true });
    const gone = follower.follow();
    say(one, {});
    flaps.push(gone + follower.follow());
  }
  if (follower.changes !== 1 + 3 * CHANGES) throw new Error("changes did not come to the tables");
  const [change, nothing, flap] = [changes, nothings, flaps].map((all) => quantile(all, 0.5));
  return { peers: size, first, change: change!, nothing: nothing!, flap: flap! };
}

/** A node that knows all other nodes of a cluster, from a peer that is not a member. */
async function node({ envelopes }: Grown) {
  const world = new World();
  const disk = new MemoryDisk();
  disk.save({ seed: founder.seed, remembered: [] });
  const network = [parsePrefix("10.0.0.0/8")];
  const options = { network, vtep: "192.0.99.1:4789", name: "first" };
  const { mesh } = await world.node(1, [], disk, options);
  const stranger = new Stranger(world);
  stranger.connect();
  for (const [n, envelope] of envelopes.entries()) {
    stranger.say({ type: "records", records: [envelope] });
    if (n % AT_ONCE === 0) world.clock.run(500);
    stranger.heard.splice(0);
  }
  world.clock.run(1000);
  return { world, mesh, stranger };
}

function opened({ cluster, envelopes }: Grown, i: number): NodeRecord {
  const record = new RecordVerifier(cluster).verify(envelopes[i]!);
  if (record instanceof Error) throw record;
  if (!isNodeRecord(record)) throw new Error(`a record of kind ${record.kind}`);
  return record;
}

function report(): void {
  const result = { date: new Date().toISOString(), ...about, changes: CHANGES, rows };
  const json = `${JSON.stringify(result, null, 2)}\n`;
  const page = [
    "# From a change of the cluster to tables",
    "",
    "Made by `npm run bench:compile`; do not edit. Milliseconds of the main thread, from what the mesh",
    `knows to tables that are swapped in; the first publication, and medians of ${CHANGES}.`,
    "",
    `- ${result.date.slice(0, 10)}, ${describeMachine(about)}`,
    "",
    ...table([
      ["peers", "first publication", "nothing new", "one change", "one flap"],
      ...rows.map(({ peers, first, nothing, change, flap }) => [
        `${peers}`,
        ...[first, nothing, change, flap].map((ms) => ms.toFixed(3)),
      ]),
    ]),
    "",
  ].join("\n");
  mkdirSync(new URL("results/", import.meta.url), { recursive: true });
  writeFileSync(new URL("results/compile.json", import.meta.url), json);
  writeFileSync(new URL("results/compile.md", import.meta.url), page);
  process.stdout.write(given.output === "json" ? json : page);
}
