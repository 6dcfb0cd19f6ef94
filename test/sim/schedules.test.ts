/** Whole clusters with faults drawn from one seed after another, as in `npm run sim:soak`. */
import { expect, it } from "vitest";
import { emptyTally, runSchedule } from "../../src/sim/schedules.js";
import { seed } from "../mesh/seed.js";
import { rounds } from "../rounds.js";

const SCHEDULES = rounds(5, 200);
/** Milliseconds, enough for a busy machine. */
const PATIENCE = 60_000 * SCHEDULES;

it("clusters of 3 to 25 nodes with faults never use one lease twice, whatever the schedule", {
  timeout: PATIENCE,
}, async () => {
  const tally = emptyTally();
  while (tally.schedules < SCHEDULES) await runSchedule(seed + tally.schedules, tally);
  console.log(`${tally.schedules} schedules, ${tally.nodes} nodes, starved: ${tally.starved}`);
  expect(tally).toMatchObject({ double: [], unhealed: [] });
});
