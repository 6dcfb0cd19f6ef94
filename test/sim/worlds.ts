/** Small worlds that have come together. */
import { World } from "../../src/sim/world.js";
import { seed } from "../mesh/seed.js";

export const SECOND = 1000;

export async function worldOf(nodes: number): Promise<World> {
  const world = new World({ seed, loss: 0, network: "10.64.0.0/16", chaos: new Set() });
  for (let i = 0; i < nodes; i++) {
    const node = world.add();
    world.schedule.after(i * SECOND, () => world.start(node));
  }
  await world.schedule.run(30 * SECOND);
  return world;
}
