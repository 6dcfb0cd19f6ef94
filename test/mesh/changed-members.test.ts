/** Peers that are read again only when they may have changed, compared with all peers read again. */
import { describe, expect, it } from "vitest";
import type { Mesh } from "../../src/mesh/mesh.js";
import type { Peer } from "../../src/peer.js";
import { Random } from "../../src/sim/random.js";
import { PathWorld } from "../paths/path-world.js";
import { seed } from "./seed.js";
import { World } from "./world.js";

/** Follows the changed members as the agent does. */
class Follower {
  readonly #peers = new Map<string, Peer>();

  constructor(readonly mesh: Mesh) {}

  follow(): void {
    for (const id of this.mesh.takeChanged()) {
      const peer = this.mesh.peer(id);
      if (peer) this.#peers.set(id, peer);
      else this.#peers.delete(id);
    }
  }

  /** Checks that its peers equal the members of the mesh. */
  expectToSeeAll(): void {
    const all = this.mesh.members().map(({ id, leases, ...member }): [string, Peer] => {
      const { name, endpoint, mac, noPath, senders, mtu } = member;
      const peer = { name, endpoint, mac, leases: leases.map(({ subnet }) => subnet) };
      // No data path of this world carries ECN.
      return [id, { ...peer, ecn: false, noPath, senders, ...(mtu !== undefined && { mtu }) }];
    });
    expect(this.#peers).toEqual(new Map(all));
  }
}

describe("a follower of changed members has what all members say", () => {
  it("while paths break, heal and lead through others", async () => {
    const random = new Random(seed);
    const world = new PathWorld(seed);
    world.loss = 0.05;
    let cuts = new Set<string>();
    const key = (a: number, b: number) => [a % 100, b % 100].sort().join();
    world.reachesByUdp = (a, b) => !cuts.has(key(a, b));
    const nodes = await world.line(7);
    const looks = nodes.map(({ mesh }) => new Follower(mesh));
    const natted = new Set<number>();
    let through = 0;
    for (let phase = 0; phase < 8; phase++) {
      const pairs = nodes.flatMap(({ n: a }) =>
        nodes.filter(({ n }) => n < a).map(({ n: b }) => key(a, b)),
      );
      cuts = new Set(phase % 4 === 3 ? [] : pairs.filter(() => random.chance(0.5)));
      // Moves one node behind a NAT, or out of it, with all nodes that are reached through it.
      const { n, datapath } = random.pick(nodes)!;
      if (!natted.delete(n)) natted.add(n);
      world.datagrams.move(datapath, natted.has(n) ? `192.0.2.${100 + n}` : undefined);
      await world.watch(15_000, () => {
        for (const look of looks) {
          look.follow();
          look.expectToSeeAll();
        }
      });
      through += nodes
        .flatMap(({ mesh }) => mesh.members())
        .filter(({ path }) => path !== "direct").length;
    }
    expect(through).toBeGreaterThan(0);
  });

  it("when it looks only when something is said to have changed", async () => {
    const world = new World();
    const first = await world.node(1, []);
    const follower = new Follower(first.mesh);
    let looks = 0;
    first.mesh.on("change", () => {
      looks++;
      follower.follow();
    });
    const others = [];
    const settled = () => {
      world.clock.run(20_000);
      follower.expectToSeeAll();
    };
    for (let n = 2; n <= 5; n++) {
      others.push(await world.node(n, [n - 1]));
      settled();
    }
    await others[0]!.mesh.setEndpoint("192.0.2.22:4789");
    settled();
    await others[1]!.mesh.stop();
    settled();
    await world.kill(others[2]!);
    settled();
    await first.mesh.setEndpoint("[2001:db8::1]:4789");
    settled();
    expect(first.mesh.members()).toEqual([]);
    await first.mesh.setEndpoint("192.0.2.1:4789");
    settled();
    expect(first.mesh.members().length).toBeGreaterThan(0);
    expect(looks).toBeGreaterThan(0);
  });
});
