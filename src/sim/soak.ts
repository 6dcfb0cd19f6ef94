/**
 * `npm run sim:soak -- --schedules N --seed S` simulates many small clusters with faults, one after
 * the other. Progress goes to stderr, then one line of JSON to stdout.
 */
import { WeftError } from "../error.js";
import { number, readArguments } from "./arguments.js";
import { emptyTally, isSound, runSchedule } from "./schedules.js";

const MOST_SCHEDULES = 10_000_000;
/** Schedules between two lines of progress. */
const SAY_EVERY = 100;

const HELP = `npm run sim:soak -- [options]    many small clusters with faults, one after the other

  --schedules N  how many (10000)
  --seed S       the seed of the first; each further one has the next seed (1)

A schedule is a cluster of 3 to 25 nodes, with losses and faults drawn from its seed: crashes always;
partitions, one-way cuts, lost and torn disks, clocks that run wrong, pauses and duplicates with a
probability of 70 % each. It takes about a second of one core.

Progress goes to stderr, one line of JSON to stdout; docs/simulation.md describes its fields. The exit
code is 0 when no schedule had a double lease and all converged that could; else it is 1, or 2 for a
usage error.`;

try {
  const values = readArguments(process.argv.slice(2), { schedules: "10000", seed: "1" });
  if (values.help) console.log(HELP);
  else {
    const schedules = number("schedules", values.schedules, {
      least: 1,
      most: MOST_SCHEDULES,
      whole: true,
    });
    await soak(schedules, number("seed", values.seed, { least: 0, most: 2 ** 31, whole: true }));
  }
} catch (error) {
  const isUsage = error instanceof WeftError && error.code === "USAGE";
  console.error(isUsage ? `${error.message}: ${error.remedy}` : error);
  process.exitCode = 2;
}

async function soak(schedules: number, firstSeed: number): Promise<void> {
  const tally = emptyTally();
  const began = performance.now();
  while (tally.schedules < schedules) {
    const seed = firstSeed + tally.schedules;
    try {
      await runSchedule(seed, tally);
    } catch (error) {
      console.error(`the schedule with seed ${seed} failed`);
      throw error;
    }
    if (tally.schedules % SAY_EVERY === 0) console.error(JSON.stringify({ ...tally, firstSeed }));
  }
  const realSeconds = Math.round((performance.now() - began) / 1000);
  console.log(JSON.stringify({ ...tally, firstSeed, realSeconds }));
  process.exitCode = isSound(tally) ? 0 : 1;
}
