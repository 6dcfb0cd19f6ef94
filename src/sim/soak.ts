/**
 * `npm run sim:soak -- --schedules N --seed S`: many small clusters in trouble,
 * one after the other. Progress on stderr, then one line of JSON on stdout.
 */
import { parseArgs } from "node:util";
import { number } from "./options.js";
import { emptyTally, isSound, runSchedule } from "./schedules.js";

const MOST_SCHEDULES = 10_000_000;
/** Schedules between two lines of progress. */
const SAY_EVERY = 100;

try {
  const { values } = parseArgs({
    options: {
      schedules: { type: "string", default: "10000" },
      seed: { type: "string", default: "1" },
    },
  });
  const whole = (most: number, least = 0) => ({ least, most, whole: true });
  const schedules = number("schedules", values.schedules, whole(MOST_SCHEDULES, 1));
  const first = number("seed", values.seed, whole(2 ** 31));
  const tally = emptyTally();
  const began = performance.now();
  while (tally.schedules < schedules) {
    const seed = first + tally.schedules;
    try {
      await runSchedule(seed, tally);
    } catch (error) {
      console.error(`the schedule with seed ${seed} failed`);
      throw error;
    }
    if (tally.schedules % SAY_EVERY === 0) console.error(JSON.stringify(tally));
  }
  const realSeconds = Math.round((performance.now() - began) / 1000);
  console.log(JSON.stringify({ ...tally, firstSeed: first, realSeconds }));
  process.exitCode = isSound(tally) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? (error.stack ?? error.message) : error);
  process.exitCode = 2;
}
