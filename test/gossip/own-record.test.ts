/** A node's own record, when its content exceeds the limit, or its version cannot be written to disk. */
import { describe, expect, it } from "vitest";
import { OWN_COPY_REPORTED_FOR, WRITE_RETRY_AFTER } from "../../src/gossip/own-record.js";
import { MAX_VERSION } from "../../src/gossip/record.js";
import { Identity } from "../../src/identity/identity.js";
import { type Cluster, clusterOf } from "../../src/lease/genesis.js";
import { type Grant, signGrant, subnetOf } from "../../src/lease/grant.js";
import { identity } from "../mesh/cluster.js";
import { MemoryDisk, World } from "../mesh/world.js";

const HANDS = 12;

/** The proof of a lease that came through `HANDS` grants, with other nodes for each `n`. */
function handedOn(founder: Identity, cluster: Cluster, n: number, to: Identity): Grant[] {
  const hands = Array.from({ length: HANDS - 1 }, (_, hand) => identity(1000 + HANDS * n + hand));
  const space = `10.244.${200 + 2 * n}.0`;
  return [...hands, to].map(({ publicKey }, hand) =>
    signGrant(hands[hand - 1] ?? founder, cluster, {
      prefix: `${space}/${hand < HANDS - 1 ? 23 : 24}`,
      to: publicKey,
      sequence: 1_000_000_000 + n,
    }),
  );
}

it.each([4, 5])(
  "a node of --leases %i whose 4 came from too many nodes shows and uses the first of them, and says so",
  async (wanted) => {
    const world = new World();
    const first = await world.node(1, []);
    world.clock.run(1_000);
    const { seed, cluster } = first.disk.load()!;
    const of = clusterOf(cluster!.genesis);
    const own = identity(2);
    const leases = [0, 1, 2, 3].map((n) => handedOn(new Identity(seed), of, n, own));
    const disk = new MemoryDisk();
    const state = {
      ...cluster!,
      journal: [],
      spaces: leases,
      leases,
      versions: {},
      heard: world.clock.now(),
    };
    disk.save({ seed: own.seed, remembered: [], cluster: state });
    const { mesh } = await world.node(2, [1], disk, { leases: wanted });
    world.clock.run(20_000);
    const shown = leases.slice(0, 3).map(subnetOf);
    expect(mesh.self().leases).toEqual(shown);
    const seen = first.mesh.members().flatMap(({ leases }) => leases.map(({ subnet }) => subnet));
    expect(seen).toEqual(shown);
    const room = new RegExp(`has room for 3 of its ${wanted} leases, .* the others are not used`);
    expect(mesh.problems()).toEqual([expect.stringMatching(room)]);
  },
);

it("a node that moved while its disk was full says so when there is room", async () => {
  const world = new World();
  const first = await world.node(1, []);
  const second = await world.node(2, [1]);
  world.clock.run(10_000);
  const seen = () => first.mesh.members()[0]!.endpoint;
  second.disk.full = true;
  await second.mesh.setEndpoint("192.0.2.22:4789");
  world.clock.run(3 * WRITE_RETRY_AFTER);
  expect(seen()).toBe("192.0.2.2:4789");
  expect(second.mesh.problems()).toEqual(["the disk is full: make room"]);
  second.disk.full = false;
  world.clock.run(WRITE_RETRY_AFTER + 1_000);
  expect(seen()).toBe("192.0.2.22:4789");
  expect(second.mesh.problems()).toEqual([]);
  const { versions } = second.disk.load()!.cluster!;
  world.clock.run(3 * WRITE_RETRY_AFTER);
  expect(second.disk.load()!.cluster!.versions).toEqual(versions);
});

describe("a node of which the last version of its record is published", () => {
  const NOTHING_NEW = /last version of this node's record, 2147483647, .* move its state directory/;

  const numbered = (disk: MemoryDisk, version: number): MemoryDisk => {
    const state = disk.load()!;
    const other = new MemoryDisk();
    other.save({ ...state, cluster: { ...state.cluster!, versions: { node: version } } });
    return other;
  };

  it("goes on, starts again, and says how to be heard", async () => {
    const world = new World();
    const first = await world.node(1, []);
    let second = await world.node(2, [1]);
    world.clock.run(10_000);
    const { leases, id } = second.mesh.self();
    for (const version of [MAX_VERSION - 1, MAX_VERSION, MAX_VERSION + 1]) {
      await world.kill(second);
      second = await world.node(2, [1], numbered(second.disk, version));
      world.clock.run(20_000);
      expect(second.mesh.self().leases).toEqual(leases);
      expect(second.mesh.problems()).toEqual([expect.stringMatching(NOTHING_NEW)]);
      expect(first.mesh.members()).toMatchObject([{ id, state: "established" }]);
      expect(first.mesh.problems()).toEqual([]);
    }
  });

  it("says so when a copy of it published that, and a new identity is the way out", async () => {
    const world = new World();
    const first = await world.node(1, []);
    const second = await world.node(2, [1]);
    world.clock.run(10_000);
    const { id } = second.mesh.self();
    const copy = await world.node(3, [1], numbered(second.disk, MAX_VERSION - 1), { name: "h2" });
    world.clock.run(1_000);
    await world.kill(copy);
    world.clock.run(OWN_COPY_REPORTED_FOR + 60_000);
    expect(second.mesh.problems()).toContainEqual(expect.stringMatching(NOTHING_NEW));
    expect(second.mesh.problems().join()).toContain(`weft forget ${id}`);
    await world.kill(second);
    const anew = await world.node(2, [1]);
    world.clock.run(60_000);
    first.mesh.forget(id, { force: true });
    world.clock.run(60_000);
    expect(anew.mesh.problems()).toEqual([]);
    expect(anew.mesh.self().leases).toHaveLength(1);
    expect(first.mesh.members()).toMatchObject([{ name: "h2", state: "established" }]);
    expect(first.mesh.problems()).toEqual([]);
  });
});
