/** Path MTUs between whole nodes: ICMP hints, black holes and relays, in simulated time. */
import { beforeEach, describe, expect, it } from "vitest";
import { ed25519 } from "../../src/identity/ed25519.js";
import { ENCAP_BYTES } from "../../src/paths/datapath.js";
import { CONFIRMATIONS } from "../../src/paths/path-mtus.js";
import { seed } from "../mesh/seed.js";
import { member, type Node, PathWorld } from "./path-world.js";

const MTU = 1450;

let world: PathWorld;
beforeEach(() => {
  world = new PathWorld(seed, ed25519);
});

const mtu = (node: Node, other: Node) => node.mesh.peer(other.identity.id)?.mtu;

/** Limits the inner packets between two nodes to this size, in both directions. */
function narrow(takes: number, a: number, b: number): void {
  world.takes = (from, to) =>
    (from === a && to === b) || (from === b && to === a)
      ? takes + ENCAP_BYTES
      : Number.POSITIVE_INFINITY;
}

async function settled(count: number): Promise<Node[]> {
  const nodes = await world.line(count);
  await world.run(20_000);
  return nodes;
}

/** The number of datagrams that a node sends in so many milliseconds. */
async function sends(node: Node, ms: number, meanwhile = () => {}): Promise<number> {
  const before = node.datapath.count.sent;
  await world.watch(ms, meanwhile);
  return node.datapath.count.sent - before;
}

describe("an interface whose MTU changes", () => {
  it("changes that of every peer, probed or not, at both nodes by itself", async () => {
    const [h1, h2, h3] = (await settled(3)) as [Node, Node, Node];
    h1.datapath.packets("h2");
    await world.run(5_000);
    h1.mesh.takeChanged();
    h1.datapath.resize(1350);
    expect([mtu(h1, h2), mtu(h1, h3), mtu(h2, h1)]).toEqual([1350, 1350, MTU]);
    await world.run(100);
    expect(h1.mesh.takeChanged()).toEqual(new Set([h2.identity.id, h3.identity.id]));
    h1.datapath.resize(8950);
    expect([mtu(h1, h2), mtu(h1, h3)]).toEqual([1350, 8950]);
    await world.until(() => mtu(h1, h2) === 8950, 10_000);
  });
});

describe("a hint that any host can send", () => {
  it("changes no MTU, however often it is sent, and costs three probes a second", async () => {
    const [h1, h2] = (await settled(3)) as [Node, Node, Node];
    const atRest = await sends(h1, 20_000);
    const flooded = await sends(h1, 20_000, () => {
      for (let i = 0; i < 100; i++) h1.datapath.icmp("h2", 526 + i);
      expect(mtu(h1, h2)).toBe(MTU);
    });
    expect(flooded - atRest).toBeGreaterThan(20);
    expect(flooded - atRest).toBeLessThanOrEqual(20 * 3 + 10);
  });

  it("about every member is verified in turn, not all at once", async () => {
    const nodes = await settled(12);
    const [h1] = nodes as [Node];
    const names = nodes.slice(1).map(({ n }) => `h${n}`);
    const atRest = await sends(h1, 10_000);
    const flooded = await sends(h1, 10_000, () => {
      for (const name of names) h1.datapath.icmp(name, 526);
    });
    expect((flooded - atRest) / 10).toBeLessThanOrEqual(3 * CONFIRMATIONS.rate + 10);
    for (const other of nodes.slice(1)) expect(mtu(h1, other)).toBe(MTU);
  });

  it("of an unknown name, or of a member without a path, costs nothing", async () => {
    const [h1] = (await settled(2)) as [Node, Node];
    world.reachesByUdp = () => false;
    await world.run(30_000);
    const atRest = await sends(h1, 20_000);
    const hinted = await sends(h1, 20_000, () => {
      h1.datapath.icmp("h2", 526);
      h1.datapath.icmp("h99", 526);
    });
    expect(Math.abs(hinted - atRest)).toBeLessThanOrEqual(4);
  });

  it("that is true is acted on within a second, for that member alone", async () => {
    const [h1, h2, h3] = (await settled(3)) as [Node, Node, Node];
    narrow(1350, 1, 2);
    h1.datapath.icmp("h2", 1350);
    await world.until(() => mtu(h1, h2) === 1350, 1_000);
    expect(mtu(h1, h3)).toBe(MTU);
    // A hint changes the MTU in one direction only.
    expect(mtu(h2, h1)).toBe(MTU);
    world.takes = () => Number.POSITIVE_INFINITY;
    await world.until(() => mtu(h1, h2) === MTU, 12_000);
  });
});

describe("a path that takes less, without any ICMP error", () => {
  it.each([526, 1000, 1449])(
    "to %i: is found within 10 s while packets go there",
    async (takes) => {
      const [h1, h2] = (await settled(2)) as [Node, Node];
      narrow(takes, 1, 2);
      await world.until(() => {
        h1.datapath.packets("h2");
        return mtu(h1, h2) === takes;
      }, 10_000);
    },
  );

  it("is found while a fifth of the datagrams gets lost, too", async () => {
    const [h1, h2] = (await settled(2)) as [Node, Node];
    world.loss = 0.2;
    await world.watch(60_000, () => h1.datapath.packets("h2"));
    // Several lost probes in a row lower the MTU now and then; the search raises it again.
    await world.until(() => {
      h1.datapath.packets("h2");
      return mtu(h1, h2) === MTU;
    }, 20_000);
    narrow(1350, 1, 2);
    await world.until(() => {
      h1.datapath.packets("h2");
      return mtu(h1, h2) === 1350;
    }, 20_000);
  });
});

describe("a path through a relay", () => {
  it("is measured right for many members at once: the relay drops no probe of a search", async () => {
    const far = (n: number) => n > 2;
    world.reachesByUdp = (a, b) => !((a === 1 && far(b)) || (b === 1 && far(a)));
    const [a, , ...others] = (await settled(30)) as [Node, Node, ...Node[]];
    world.takes = () => 1300 + ENCAP_BYTES;
    const seen = new Set<number>();
    for (let second = 0; second < 60; second++) {
      for (const { n } of others) a.datapath.packets(`h${n}`);
      await world.run(1_000);
      for (const other of others) {
        const { mtu = 0, loss, path } = member(a, other);
        seen.add(mtu);
        expect([loss, path]).toEqual([0, "via h2"]);
      }
    }
    expect(others.map((other) => mtu(a, other))).toEqual(others.map(() => 1300));
    // A search approaches the MTU from below, in nine even steps at most.
    expect(Math.min(...seen)).toBeGreaterThan(1300 - (MTU - 526) / 9 - 1);
  });

  it("has the MTU of all its parts, and the straight one its own again", async () => {
    const [h1, h2, h3] = (await settled(3)) as [Node, Node, Node];
    const packets = () => h1.datapath.packets("h3");
    world.reachesByUdp = (from, to) => Math.abs(from - to) !== 2;
    await world.until(() => member(h1, h3).path === "via h2", 60_000);
    narrow(1300, 2, 3);
    await world.until(() => {
      packets();
      return mtu(h1, h3) === 1300;
    }, 10_000);
    expect(mtu(h1, h2)).toBe(MTU);
    world.reachesByUdp = () => true;
    await world.until(() => {
      packets();
      return member(h1, h3).path === "direct" && mtu(h1, h3) === MTU;
    }, 60_000);
  });
});
