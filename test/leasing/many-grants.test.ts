/** A node that holds more grants of one granter than a message names. */
import { expect, it } from "vitest";
import { Identity } from "../../src/identity/identity.js";
import { FENCE_AFTER } from "../../src/lease/fence.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { signGrant } from "../../src/lease/grant.js";
import { MAX_GRANTS_IN_MESSAGE } from "../../src/leasing/messages.js";
import { MemoryDisk, World } from "../mesh/world.js";

const GRANTS = MAX_GRANTS_IN_MESSAGE + 6;

/** A founder whose journal has `GRANTS` grants of space to the second node, whose lease is in the first of them. */
async function world() {
  const world = new World();
  const founder = await world.node(1, []);
  world.clock.run(1_000);
  await world.kill(founder);
  const state = founder.disk.load()!;
  const { cluster } = state;
  const [granter, holder] = [new Identity(state.seed), new Identity("22".repeat(32))];
  const of = clusterOf(cluster!.genesis);
  const sequence = cluster!.journal.at(-1)!.sequence + 1;
  const grants = Array.from({ length: GRANTS }, (_, n) =>
    signGrant(granter, of, {
      prefix: `10.244.${2 * n + 2}.0/23`,
      to: holder.publicKey,
      sequence: sequence + n,
    }),
  );
  const lease = signGrant(holder, of, {
    prefix: "10.244.2.0/24",
    to: holder.publicKey,
    sequence: sequence + GRANTS,
  });
  const disk = new MemoryDisk();
  disk.save({
    seed: holder.seed,
    remembered: [],
    cluster: {
      ...cluster!,
      journal: [lease],
      spaces: grants.map((grant) => [grant]),
      leases: [[grants[0]!, lease]],
      versions: {},
      heard: world.clock.now(),
    },
  });
  founder.disk.save({
    ...state,
    cluster: { ...cluster!, journal: [...cluster!.journal, ...grants] },
  });
  const first = await world.node(1, [], founder.disk);
  const second = await world.node(2, [1], disk);
  world.clock.run(60_000);
  expect(second.mesh.self().leases).toEqual(["10.244.2.0/24"]);
  return { world, first, second };
}

it("a node that returns all of them makes its granter free all", async () => {
  const { world: it, first, second } = await world();
  await second.mesh.stop({ release: true });
  it.clock.run(2_000);
  const returned = it.said.flatMap(
    (line) => /h1 returned to this node: (.*)/.exec(line)?.[1]?.split(", ") ?? [],
  );
  expect(new Set(returned).size).toBe(GRANTS);
  expect(first.mesh.problems()).toEqual([]);
});

it("a node that was cut off has its lease attested", async () => {
  const { world: it, second } = await world();
  await it.kill(second);
  it.clock.run(FENCE_AFTER + 3_600_000);
  const { mesh } = await it.node(2, [1], second.disk);
  it.clock.run(60_000);
  expect(mesh.problems()).toEqual([]);
  expect(mesh.self().leases).toEqual(["10.244.2.0/24"]);
});
