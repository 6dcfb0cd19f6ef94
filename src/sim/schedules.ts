/** Schedules: each seed stands for a small cluster with faults of its own. */
import type { ChaosKind } from "./chaos.js";
import { Random } from "./random.js";
import { type SimulationOptions, type SimulationResult, simulate } from "./simulate.js";

const FEWEST = 3;
const MOST = 25;
const LOSSES = [0, 0.01, 0.05, 0.2] as const;
const MINUTES = 2;
/** The kind of chaos in every schedule, since few faults show without crashes. */
const ALWAYS: ChaosKind = "crashes";
const PERHAPS: readonly ChaosKind[] = [
  "partitions",
  "oneway",
  "disks",
  "skew",
  "pauses",
  "duplicates",
];

export function scheduleOf(seed: number): SimulationOptions {
  const random = new Random(seed);
  return {
    nodes: FEWEST + random.below(MOST - FEWEST + 1),
    loss: random.pick(LOSSES)!,
    seed,
    minutes: MINUTES,
    chaos: [ALWAYS, ...PERHAPS.filter(() => random.chance(0.7))],
  };
}

/** The sums over many schedules. */
export interface Tally {
  schedules: number;
  nodes: number;
  simulatedHours: number;
  doubleLeases: number;
  /** Seeds of the schedules with double leases. */
  readonly double: number[];
  /** Seeds of the schedules that had not converged in time. */
  readonly unhealed: number[];
  /** Seeds of the schedules that cannot converge, because all free space was lost with disks. */
  readonly starved: number[];
}

export const emptyTally = (): Tally => ({
  schedules: 0,
  nodes: 0,
  simulatedHours: 0,
  doubleLeases: 0,
  double: [],
  unhealed: [],
  starved: [],
});

/** Whether no schedule had a double lease and all converged that could. */
export const isSound = ({ double, unhealed }: Tally): boolean =>
  double.length + unhealed.length === 0;

/** Runs one more schedule into the tally. */
export async function runSchedule(seed: number, tally: Tally): Promise<SimulationResult> {
  const options = scheduleOf(seed);
  const result = await simulate(options);
  tally.schedules++;
  tally.nodes += options.nodes;
  tally.simulatedHours += result.simulatedSeconds / 3600;
  tally.doubleLeases += result.doubleLeases;
  if (result.doubleLeases > 0) tally.double.push(seed);
  if (!result.converged) (result.spare > 0 ? tally.unhealed : tally.starved).push(seed);
  return result;
}
