/** Whole nodes in networks where not all nodes reach each other, and in larger ones. */
import { describe, expect, it } from "vitest";
import { RECORD_TTL } from "../../src/gossip/members.js";
import { fanout } from "../../src/gossip/neighbour-ranking.js";
import { LEASE_TTL } from "../../src/gossip/record.js";
import { rounds } from "../rounds.js";
import { MemoryDisk, World } from "./world.js";

type Node = Awaited<ReturnType<World["node"]>>;

const host = (address: string): number => Number(address.split(".")[3]);
const names = ({ mesh }: Node): string[] =>
  mesh
    .members()
    .map(({ name }) => name)
    .sort();
const states = ({ mesh }: Node): Record<string, string> =>
  Object.fromEntries(mesh.members().map(({ name, state }) => [name, state]));
const allKnowAll = (nodes: readonly Node[]): boolean =>
  nodes.every(({ mesh }) => mesh.members().length === nodes.length - 1);

async function nodes(
  world: World,
  count: number,
  join = (n: number) => [n - 1],
  sessions?: number,
) {
  const all: Node[] = [];
  for (let n = 1; n <= count; n++) {
    all.push(await world.node(n, n === 1 ? [] : join(n), new MemoryDisk(), { sessions }));
    world.clock.run(1_000);
  }
  return all;
}

/** Milliseconds, enough for much computing on a shared machine. */
const BUSY_MS = 180_000;

describe("thirty nodes, all joined through one", () => {
  it("all know all over a few sessions each, the first one too", async () => {
    const world = new World();
    const all = await nodes(world, 30, () => [1]);
    world.clock.run(60_000);
    expect(allKnowAll(all)).toBe(true);
    const sessions = all.map(({ transport }) => transport.connections);
    expect(sessions.reduce((a, b) => a + b) / 30).toBeLessThanOrEqual(2 * fanout(29));
    expect(Math.max(...sessions)).toBeLessThan(25);
    expect(all.flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    for (const node of all)
      expect(new Set(Object.values(states(node)))).toEqual(new Set(["established"]));

    await all[7]!.mesh.stop();
    world.clock.run(3_000);
    const rest = all.filter((_, n) => n !== 7);
    expect(allKnowAll(rest)).toBe(true);
  });

  it("hold as many as the option says, and a renewal reaches all", {
    timeout: BUSY_MS,
  }, async () => {
    const world = new World();
    const count = rounds(6, 12);
    const all = await nodes(world, count, () => [1], 2);
    world.clock.run(60_000);
    const sessions = all.map(({ transport }) => transport.connections);
    expect(sessions.reduce((a, b) => a + b)).toBeLessThanOrEqual(2 * 2 * count);
    world.clock.run(LEASE_TTL + 7_200_000);
    for (const { mesh } of all) {
      expect(mesh.members()).toHaveLength(count - 1);
      for (const { leases } of mesh.members()) {
        expect(leases[0]!.expires).toBeGreaterThan(world.clock.now() + LEASE_TTL / 2);
      }
    }
  });
});

describe("eight nodes in a line, each reaching only its neighbours", () => {
  it("all know all; a node without a path to another says so", async () => {
    const world = new World();
    world.network.mayDial = (a, b) => Math.abs(host(a) - host(b)) === 1;
    const all = await nodes(world, 8);
    world.clock.run(60_000);
    expect(allKnowAll(all)).toBe(true);
    expect(new Set(all.flatMap(({ mesh }) => mesh.self().leases)).size).toBe(8);
    expect(states(all[2]!)).toMatchObject({
      h2: "established",
      h4: "established",
      h8: "unreachable",
    });

    await all[0]!.mesh.stop();
    world.clock.run(5_000);
    expect(names(all[7]!)).not.toContain("h1");
  });
});

describe("nodes that others cannot dial", () => {
  it("dial out, know all and are known", async () => {
    const world = new World();
    const hidden = new Set([3, 4, 5]);
    world.network.mayDial = (_, to) => !hidden.has(host(to));
    const all = await nodes(world, 6, (n) => [n === 2 ? 1 : 2]);
    world.clock.run(60_000);
    expect(allKnowAll(all)).toBe(true);
    expect(states(all[0]!)).toEqual({
      h2: "established",
      h3: "established",
      h4: "established",
      h5: "established",
      h6: "established",
    });
    expect(states(all[2]!)).toMatchObject({
      h1: "established",
      h2: "established",
      h4: "unreachable",
    });
  });
});

describe("a network that is cut in two", () => {
  it("heals by itself, though the join address stays dead", async () => {
    const world = new World();
    const all = await nodes(world, 14, () => [1]);
    world.clock.run(30_000);
    const side = (address: string) => host(address) % 2;
    world.network.carries = (a, b) => side(a) === side(b);
    world.clock.run(60_000);
    await world.kill(all[0]!);
    await all[2]!.mesh.stop();
    world.clock.run(60_000);
    expect(names(all[3]!)).toContain("h3");
    world.network.carries = () => true;
    world.clock.run(45_000);
    const rest = all.filter((_, n) => n !== 0 && n !== 2);
    for (const node of rest) {
      expect(names(node)).toHaveLength(rest.length);
      expect(names(node)).not.toContain("h3");
      for (const [name, state] of Object.entries(states(node))) {
        if (name !== "h1") expect(state).toBe("established");
      }
    }
  });

  it("shows the other side as dead to those who had sessions there", async () => {
    const world = new World();
    const all = await nodes(world, 6, () => [1]);
    world.clock.run(10_000);
    world.network.carries = (a, b) => (host(a) === 6 || host(b) === 6 ? a === b : true);
    world.clock.run(40_000);
    for (const node of all.slice(0, 5)) expect(states(node).h6).toBe("dead");
  });
});

describe("a member that is gone", () => {
  it("is dropped a week after its last record, and an older record does not come back", {
    timeout: BUSY_MS,
  }, async () => {
    const world = new World();
    const [a, b] = await nodes(world, 3, () => [1]);
    const c = await world.node(4, [1]);
    world.clock.run(10_000);
    const before = c.disk.copy();
    world.clock.run(3 * 3600_000);
    await world.kill(c);
    world.clock.run(RECORD_TTL - 12 * 3600_000);
    expect(names(a!)).toContain("h4");
    expect(states(a!).h4).toBe("dead");
    world.clock.run(14 * 3600_000);
    expect(names(a!)).not.toContain("h4");
    expect(names(b!)).not.toContain("h4");

    // It starts again from a backup, with a lower version than that of the dropped record.
    const back = await world.node(4, [1], before);
    world.clock.run(60_000);
    expect(names(a!)).toContain("h4");
    expect(names(b!)).toContain("h4");
    expect(back.mesh.self().leases).toEqual(c.mesh.self().leases);
  });
});

describe("a node whose underlay address changes", () => {
  it("is found at the new one by all, without a restart, and leaves the old one free", async () => {
    const world = new World();
    const all = await nodes(world, 9, () => [1]);
    world.clock.run(10_000);
    const mover = all[4]!;
    const lease = mover.mesh.self().leases;
    await mover.mesh.setEndpoint("192.0.2.55:4789");
    world.clock.run(30_000);
    for (const node of all.filter((one) => one !== mover)) {
      expect(node.mesh.members().find(({ name }) => name === "h5")).toMatchObject({
        endpoint: "192.0.2.55:4789",
        meshEndpoint: "192.0.2.55:6783",
        state: "established",
        leases: [{ subnet: lease[0] }],
      });
      expect(node.mesh.problems()).toEqual([]);
    }
    expect(Object.values(states(mover))).toEqual(Array(8).fill("established"));
    const next = await world.node(5, [1], new MemoryDisk(), { name: "h10" });
    world.clock.run(20_000);
    expect(names(next)).toHaveLength(9);
  });

  it("stays where it is when it cannot listen at the new one", async () => {
    const world = new World();
    const [a, b] = await nodes(world, 2);
    await expect(b!.mesh.setEndpoint("192.0.2.1:4789")).rejects.toMatchObject({
      code: "MESH_PORT",
    });
    world.clock.run(10_000);
    expect(a!.mesh.members()[0]).toMatchObject({
      endpoint: "192.0.2.2:4789",
      state: "established",
    });
  });
});
