import { expect, it } from "vitest";
import { COPY_REPORTED_FOR } from "../../src/gossip/copy-detector.js";
import { Identity } from "../../src/identity/identity.js";
import { World } from "../mesh/world.js";

it("a copied state directory is named by both copies and by the others, and the log stays short", async () => {
  const world = new World();
  const a = await world.node(1, []);
  const b = await world.node(2, [1]);
  world.clock.run(10_000);
  const copy = await world.node(3, [1], b.disk.copy(), { name: "h2" });
  world.clock.run(30_000);
  const [here, there] = ["192.0.2.2:6783", "192.0.2.3:6783"];
  expect(a.mesh.problems().join()).toMatch(/two agents run as h2, at 192.0.2.\d:6783 and/);
  expect(a.mesh.problems().join()).toContain(here);
  expect(a.mesh.problems().join()).toContain(there);
  for (const { mesh } of [b, copy]) {
    expect(mesh.problems().join()).toMatch(/another agent runs with this node's identity, at 192/);
  }
  const before = world.said.length;
  world.clock.run(120_000);
  expect(world.said.slice(before).filter((line) => /identity|newer record/.test(line))).toEqual([]);

  await world.kill(copy);
  world.clock.run(COPY_REPORTED_FOR + 30_000);
  expect(a.mesh.problems()).toEqual([]);
  expect(b.mesh.problems()).toEqual([]);
});

it("a copy that calls itself as a member is named by its id", async () => {
  const world = new World();
  const a = await world.node(1, []);
  await world.node(2, [1]);
  const c = await world.node(3, [1]);
  world.clock.run(10_000);
  await world.kill(c);
  await world.node(3, [1], c.disk, { name: "h2" });
  await world.node(4, [1], c.disk.copy(), { name: "h2" });
  world.clock.run(30_000);
  const { id } = new Identity(c.disk.load()!.seed);
  const said = a.mesh.problems().filter((it) => it.startsWith("two agents"));
  expect(said).toEqual([expect.stringContaining(`two agents run as ${id}, at `)]);
});

it("a restart is no copy, however often", async () => {
  const world = new World();
  const a = await world.node(1, []);
  let b = await world.node(2, [1]);
  for (let n = 0; n < 5; n++) {
    world.clock.run(10_000);
    await world.kill(b);
    b = await world.node(2, [1], b.disk);
  }
  world.clock.run(10_000);
  expect(a.mesh.problems()).toEqual([]);
});

it("an own address in --join is said once, and the others are dialled all the same", async () => {
  const world = new World();
  await world.node(1, []);
  const b = await world.node(2, [2, 1]);
  world.clock.run(120_000);
  expect(b.mesh.problems()).toEqual([]);
  const own = world.said.filter((line) => line.includes("is an address of this node itself"));
  expect(own).toHaveLength(1);
});

it("an own address in --join, and no other, is a problem that says what to give", async () => {
  const world = new World();
  const b = await world.node(2, [2]);
  world.clock.run(30_000);
  expect(b.mesh.problems().join()).toMatch(/own: give --join an address of another node/);
});
