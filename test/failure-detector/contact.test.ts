/** A node that has no session although packets still reach it. */
import { describe, expect, it } from "vitest";
import { LOST_AFTER } from "../../src/failure-detector/contact.js";
import { seed } from "../mesh/seed.js";
import { member, type Node, PathWorld } from "../paths/path-world.js";

const WITHIN = 15_000;
const NO_MESH = /^no mesh session with any member since \d{4}-\S+Z; policy and leases may be out/;

/** Blocks TCP to and from one node silently, as a firewall does. */
const blockTcp = (world: PathWorld, { n }: Node): void => {
  world.reachesByTcp = (from, to) => from !== n && to !== n;
};

async function four() {
  const world = new PathWorld(seed);
  const nodes = await world.line(4);
  await world.run(10_000);
  for (const { mesh } of nodes) expect(mesh.problems()).toEqual([]);
  return { world, nodes, victim: nodes[3]!, others: nodes.slice(0, 3) };
}

describe("a node that loses its mesh sessions while UDP still passes", () => {
  it("says so within 15 s, and so do the others; both stop when the mesh is there again", async () => {
    const { world, victim, others } = await four();
    blockTcp(world, victim);
    await world.run(WITHIN);
    expect(victim.mesh.problems()).toEqual([expect.stringMatching(NO_MESH)]);
    for (const other of others) {
      expect(member(other, victim)).toMatchObject({ state: "no-mesh", noPath: false });
      expect(other.mesh.problems()).toEqual([
        expect.stringMatching(
          /^h4 says that it has no mesh session with any member, .*192\.0\.2\.4/,
        ),
      ]);
      for (const third of others) {
        if (third !== other) expect(member(other, third).state).toBe("established");
      }
    }
    await world.run(600_000);
    expect(member(others[0]!, victim).state).toBe("no-mesh");

    world.reachesByTcp = () => true;
    await world.until(
      () => [victim, ...others].every(({ mesh }) => mesh.problems().length === 0),
      90_000,
    );
    for (const other of others) expect(member(other, victim).state).toBe("established");
  });

  it("and is one of two says it of both", async () => {
    const { world, victim } = await four();
    world.reachesByTcp = (from, to) => from < 3 && to < 3;
    await world.run(WITHIN);
    expect(victim.mesh.problems()).toEqual([
      expect.stringMatching(/^h3 says that it has no mesh session/),
      expect.stringMatching(NO_MESH),
    ]);
  });

  it("and restarts says so until it meets one; the one that founded the cluster as well", async () => {
    const { world, nodes } = await four();
    for (const node of [nodes[0]!, nodes[3]!]) {
      blockTcp(world, node);
      const again = await world.restart(node, "kill");
      await world.run(WITHIN);
      const said = again.mesh.problems().filter((problem) => /mesh session/.test(problem));
      expect(said).toEqual([
        expect.stringMatching(/^no mesh session with any member since this agent started at 20/),
      ]);
      world.reachesByTcp = () => true;
      await world.until(() => again.mesh.problems().length === 0, 90_000);
    }
  });

  it("is not said of one that has a session with any other", async () => {
    const { world, victim, others } = await four();
    world.reachesByTcp = (from, to) => {
      const ends = [from, to].sort();
      return ends[1] !== victim.n || ends[0] === 1;
    };
    await world.run(60_000);
    expect(victim.mesh.problems()).toEqual([]);
    for (const other of others) {
      expect(member(other, victim).state).toBe("established");
      expect(other.mesh.problems()).toEqual([]);
    }
  });

  it("is not said while nobody else is there, or a node has just started", async () => {
    const world = new PathWorld(seed);
    const [first] = await world.line(1);
    await world.run(10 * LOST_AFTER);
    expect(first!.mesh.problems()).toEqual([]);
    const second = await world.node(2, [1]);
    await world.watch(20_000, () => {
      const said = [...first!.mesh.problems(), ...second.mesh.problems()];
      expect(said.filter((problem) => /mesh session/.test(problem))).toEqual([]);
    });
  });
});

describe("a node hears others", () => {
  it("while sessions stand or probes are answered, and while there is none to hear", async () => {
    const world = new PathWorld(seed);
    const alone = await world.node(1, []);
    await world.run(60_000);
    expect(alone.mesh.isInContact).toBe(true);
    const joiner = await world.node(2, [9]);
    await world.run(1_000);
    expect(joiner.mesh.isInContact).toBe(false);
  });

  it("does not when it has heard none for some seconds", async () => {
    const { world, victim, others } = await four();
    const all = ["192.0.2.1:4789", "192.0.2.2:4789", "192.0.2.3:4789"];
    expect(victim.mesh.endpoints(9).sort()).toEqual(all);
    expect(victim.mesh.endpoints(2)).toHaveLength(2);
    blockTcp(world, victim);
    await world.run(60_000);
    expect(victim.mesh.isInContact).toBe(true);
    world.reachesByUdp = (from, to) => from !== victim.n && to !== victim.n;
    await world.run(WITHIN);
    expect(victim.mesh.isInContact).toBe(false);
    for (const { mesh } of others) expect(mesh.isInContact).toBe(true);
    world.reachesByUdp = () => true;
    await world.until(() => victim.mesh.isInContact, 60_000);
  });
});
