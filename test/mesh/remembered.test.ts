/** Remembered addresses on disk, for a restart when no join address answers. */
import { expect, it } from "vitest";
import { World } from "./world.js";

it("a node remembers where members are, and not where they were", async () => {
  const world = new World();
  const first = await world.node(1, []);
  const second = await world.node(2, [1]);
  const third = await world.node(3, [1]);
  world.clock.run(10_000);
  const remembered = () => first.disk.load()!.remembered.toSorted();
  expect(remembered()).toEqual(["192.0.2.2:6783", "192.0.2.3:6783"]);
  await third.mesh.setEndpoint("192.0.2.33:4789");
  world.clock.run(10_000);
  expect(remembered()).toEqual(["192.0.2.2:6783", "192.0.2.33:6783"]);
  // A node that stops may start again at the same address.
  await second.mesh.stop();
  world.clock.run(10_000);
  expect(remembered()).toEqual(["192.0.2.2:6783", "192.0.2.33:6783"]);
});
