/** All nodes agree soon after a network that was cut for long is whole again. */
import { expect, it } from "vitest";
import type { World } from "../../src/sim/world.js";
import { rounds } from "../rounds.js";
import { SECOND, worldOf } from "./worlds.js";

const LOOK_EVERY = SECOND / 4;

const agree = (world: World): boolean =>
  world.hasConverged() &&
  world.nodes.every(({ mesh }) => mesh!.members().every(({ state }) => state === "established"));

/** Milliseconds from the end of a cut until all agree. */
async function heal(world: World, away: number, seconds: number): Promise<number> {
  const far = new Set(world.nodes.slice(-away).map(({ machine }) => machine));
  const end = world.network.cut((from, to) => far.has(from) !== far.has(to));
  await world.schedule.run(world.schedule.now + seconds * SECOND);
  expect(agree(world)).toBe(false);
  end();
  const from = world.schedule.now;
  while (!agree(world)) await world.schedule.run(world.schedule.now + LOOK_EVERY);
  return world.schedule.now - from;
}

it.each([
  { nodes: 2, away: 1, cuts: rounds(5, 20) },
  { nodes: 3, away: 1, cuts: rounds(2, 4) },
  { nodes: 5, away: 2, cuts: rounds(1, 2) },
  { nodes: 9, away: 3, cuts: 1 },
])(
  "$away of $nodes nodes, cut off for ten minutes: all agree within 10 s",
  async ({ nodes, away, cuts }) => {
    const world = await worldOf(nodes);
    for (let n = 0; n < cuts; n++) {
      // Varies the moment of the cut relative to periodic events.
      expect(await heal(world, away, 600 + 7 * n)).toBeLessThanOrEqual(10 * SECOND);
    }
  },
  120_000,
);
