import { describe, expect, it } from "vitest";
import { FENCE_AFTER } from "../../src/lease/fence.js";
import { illegal } from "./legal.js";
import { World } from "./world.js";

const HOUR = 3_600_000;

describe("a node whose lease fence closed", () => {
  it("keeps its sessions and has its lease back, after it was off", async () => {
    const world = new World();
    await world.node(1, []);
    const b = await world.node(2, [1]);
    world.clock.run(10_000);
    const { leases } = b.mesh.self();
    await world.kill(b);
    world.clock.run(FENCE_AFTER + HOUR);
    await hasItBack(world, await world.node(2, [1], b.disk), leases);
  });

  it.each([
    ["from 1970 to now", -1_700_000_000_000, 0],
    ["a day ahead", 0, 24 * HOUR],
    ["a century ahead", 0, 876_000 * HOUR],
  ])(
    "keeps its sessions and has its lease back, after its clock was set %s",
    async (_, ahead, set) => {
      const world = new World();
      await world.node(1, []);
      const b = await world.node(2, [1], undefined, { ahead });
      world.clock.run(10_000);
      const { leases } = b.mesh.self();
      expect(leases).toHaveLength(1);
      b.clock.ahead = set;
      world.clock.run(2 * 60_000);
      await hasItBack(world, b, leases);
    },
  );

  it("keeps its sessions and has its lease back, when its clock is set back and it starts again", async () => {
    const world = new World();
    await world.node(1, []);
    const b = await world.node(2, [1]);
    world.clock.run(10_000);
    const { leases } = b.mesh.self();
    b.clock.ahead = -2 * HOUR;
    world.clock.run(2 * 60_000);
    expect(b.mesh.self().leases).toEqual(leases);
    await world.kill(b);
    await hasItBack(world, await world.node(2, [1], b.disk, { ahead: -2 * HOUR }), leases);
  });
});

describe("a node whose name is taken, where all names are as long as they can be", () => {
  it("is told so with the whole remedy, and keeps its sessions", async () => {
    const world = new World();
    const name = "n".repeat(63);
    await world.node(1, [], undefined, { name: "f".repeat(63) });
    await world.node(2, [1], undefined, { name });
    world.clock.run(10_000);
    const second = await world.node(3, [1], undefined, { name });
    world.clock.run(30_000);
    expect(second.mesh.problems().join()).toMatch(
      /n belongs to another identity .* on f{63}: weft forget n{63} --force$/,
    );
    expect(world.said.join("\n")).not.toMatch(/no message/);
    expect(illegal).toEqual([]);
  });
});

type Node = Awaited<ReturnType<World["node"]>>;

async function hasItBack(world: World, { mesh }: Node, leases: readonly string[]) {
  world.clock.run(30_000);
  const closed = world.said.length;
  expect(mesh.self().leases).toEqual(leases);
  world.clock.run(60_000);
  expect(world.said.slice(closed).join("\n")).not.toMatch(/no message|session .* ended/);
  expect(mesh.problems()).toEqual([]);
  expect(illegal).toEqual([]);
}
