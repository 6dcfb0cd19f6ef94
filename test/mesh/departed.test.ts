/** Nodes that are no longer members, and the data that is kept about them. */
import { describe, expect, it } from "vitest";
import { RECORD_TTL } from "../../src/gossip/members.js";
import { LEASE_TTL } from "../../src/lease/fence.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { World } from "./world.js";

const HOUR = 3600_000;

async function three() {
  const world = new World();
  const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [1])];
  world.clock.run(20_000);
  const [h1, h2, h3] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]];
  const leases = h3.mesh.self().leases;
  return { world, h1, h2, h3, leases };
}

/** Waits in two halves, with a renewal of the others between. */
const run = (world: World, ms: number) => {
  for (let at = 0; at < ms; at += 10 * 60_000) world.clock.run(10 * 60_000);
};

describe("a node that stops", () => {
  it("is shown as left, since it said so, with what is kept for it, by those that saw it and by others", async () => {
    const { world, h1, h2, h3, leases } = await three();
    const stopped = world.clock.now();
    await h3.mesh.stop();
    world.clock.run(60_000);
    const left = [expect.objectContaining({ name: "h3", state: "left", since: stopped, leases })];
    for (const { mesh } of [h1, h2]) {
      expect(mesh.members().map(({ name }) => name)).not.toContain("h3");
      expect(mesh.departed()).toEqual(left);
      expect(mesh.problems()).toEqual([]);
    }
    await world.kill(h2);
    const again = await world.node(2, [1], h2.disk);
    world.clock.run(20_000);
    expect(again.mesh.departed()).toEqual(left);
    const late = await world.node(4, [1]);
    world.clock.run(20_000);
    expect(late.mesh.departed()).toEqual(left);
  });

  it("is a member again when it comes back, and no more shown as left", async () => {
    const { world, h1, h3 } = await three();
    await h3.mesh.stop();
    world.clock.run(10_000);
    await world.node(3, [1], h3.disk);
    world.clock.run(20_000);
    expect(h1.mesh.departed()).toEqual([]);
    expect(h1.mesh.members().map(({ name }) => name)).toContain("h3");
  });

  it("is not shown any more once it is forgotten: its subnets are free again", async () => {
    const { world, h1, h2, h3 } = await three();
    await h3.mesh.stop();
    world.clock.run(10_000);
    const granter = [h1, h2].find(({ mesh }) => isGranter(mesh))!;
    granter.mesh.forget("h3", { force: true });
    world.clock.run(10_000);
    for (const { mesh } of [h1, h2]) expect([mesh.departed(), mesh.unseen()]).toEqual([[], []]);
  });

  it("and gives its leases back is not shown: nothing is kept for it", async () => {
    const { world, h1, h2, h3 } = await three();
    const stopping = h3.mesh.stop({ release: true });
    world.clock.run(10_000);
    await stopping;
    world.clock.run(10_000);
    for (const { mesh } of [h1, h2]) expect([mesh.departed(), mesh.unseen()]).toEqual([[], []]);
  });

  it("a week ago is known by its granter alone, which still keeps its space", async () => {
    const { world, h1, h2, h3 } = await three();
    await h3.mesh.stop();
    run(world, RECORD_TTL + 2 * HOUR);
    const granter = [h1, h2].find(({ mesh }) => isGranter(mesh))!;
    for (const { mesh } of [h1, h2]) expect(mesh.departed()).toEqual([]);
    expect(granter.mesh.unseen()).toEqual([{ prefix: expect.any(String), owner: "h3" }]);
  });

  it("says nothing of when it did so if its clock was ahead", async () => {
    const world = new World();
    const first = await world.node(1, []);
    const second = await world.node(2, [1], undefined, { ahead: 2 * HOUR });
    world.clock.run(20_000);
    await second.mesh.stop();
    world.clock.run(10_000);
    const [left] = first.mesh.departed();
    expect(left).toMatchObject({ name: "h2", state: "left" });
    expect(left).not.toHaveProperty("since");
  });

  function isGranter(mesh: Mesh): boolean {
    try {
      mesh.forget("h3");
    } catch (error) {
      return (error as { code?: string }).code !== "NOT_THE_GRANTER";
    }
    return true;
  }
});

describe("a node that died", () => {
  it("whose name another has taken is shown as dead beside it, since it is counted no more", async () => {
    const { world, h1, h2, h3, leases } = await three();
    await world.kill(h3);
    run(world, LEASE_TTL + 2 * HOUR);
    expect(h1.mesh.members().find(({ name }) => name === "h3")).toMatchObject({ state: "dead" });
    expect(h1.mesh.departed()).toEqual([]);
    const before = world.clock.now();
    await world.node(3, [1]);
    world.clock.run(60_000);
    for (const { mesh } of [h1, h2]) {
      const [dead, ...more] = mesh.departed();
      expect(more).toEqual([]);
      expect(dead).toMatchObject({ name: "h3", state: "dead", leases });
      expect(dead!.since).toBeGreaterThanOrEqual(before);
      expect(mesh.members().map(({ name }) => name)).toContain("h3");
    }
  });
});
