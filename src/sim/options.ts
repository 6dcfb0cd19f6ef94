/** The options of `npm run sim`. */
import { number, readArguments, wrong } from "./arguments.js";
import { CHAOS, type ChaosKind, FROM_THE_START, KINDS } from "./chaos.js";
import type { SimulationOptions } from "./simulate.js";

export const MAX_NODES = 4_000;
const PROBABILITY = { least: 0, most: 0.9 };

const kinds = KINDS.map((kind) => `    ${kind.padEnd(15)} ${CHAOS[kind]}`).join("\n");

export const HELP = `npm run sim -- [options]    one simulated cluster, with the real mesh, leases and compiler

  --nodes N      how many nodes, 1 to ${MAX_NODES} (25)
  --loss P       the probability that a segment is lost, 0 to 0.9 (0); several, with commas between:
                 a calm run with each in turn, then the run with the last
  --start-loss P the probability of loss until all nodes have come together (the first of --loss)
  --seed S       the seed of all random numbers: the same seed gives the same trace (1)
  --minutes M    simulated minutes without faults, or of chaos (10)
  --chaos KINDS  kinds of faults, with commas between (none):
${kinds}

Without chaos, or with skew and duplicates alone: all nodes come together, M minutes pass, then 60
new records are followed. With chaos: faults happen for M minutes, then all are repaired, and all nodes
must agree again. Partitions, oneway, crashes and disks begin with the first node, other kinds when all
nodes have come together.

Progress goes to stderr, one line of JSON to stdout; docs/simulation.md describes its fields. The exit
code is 0 when the cluster converged, no lease was used twice and no running node was declared dead;
else it is 1, or 2 for a usage error.

  npm run sim -- --nodes 25 --loss 0.05 --minutes 60 --chaos partitions,crashes,skew
  npm run sim -- --nodes 100 --minutes 60 --chaos pauses,deaths
  npm run sim -- --nodes 100 --minutes 60 --chaos splits
  npm run sim -- --nodes 6 --minutes 2800 --chaos longPartitions,skew
  npm run sim:soak -- --schedules 10000 --seed 1      many small clusters with faults`;

/** The options on the command line; undefined for `--help`. @throws WeftError USAGE when they are not valid */
export function readOptions(args: readonly string[]): SimulationOptions | undefined {
  const values = readArguments(args, {
    nodes: "25",
    loss: "0",
    "start-loss": undefined,
    seed: "1",
    minutes: "10",
    chaos: "",
  });
  if (values.help) return undefined;
  const losses = values.loss.split(",").map((text) => number("loss", text, PROBABILITY));
  const chaos = chosen(values.chaos);
  const hasOthers = losses.length > 1 || values["start-loss"] !== undefined;
  if (hasOthers && chaos.some((kind) => FROM_THE_START.includes(kind))) {
    throw wrong(`several values of --loss cannot be used with ${FROM_THE_START.join(", ")}`);
  }
  return {
    nodes: number("nodes", values.nodes, { least: 1, most: MAX_NODES, whole: true }),
    loss: losses.at(-1)!,
    ...(losses.length > 1 && { before: losses.slice(0, -1) }),
    ...(values["start-loss"] !== undefined && {
      startLoss: number("start-loss", values["start-loss"], PROBABILITY),
    }),
    seed: number("seed", values.seed, { least: 0, most: 2 ** 32 - 1, whole: true }),
    minutes: number("minutes", values.minutes, { least: 0.1, most: 100_000 }),
    chaos,
  };
}

function chosen(text: string): ChaosKind[] {
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names) {
    if (!KINDS.some((kind) => kind === name)) {
      throw wrong(`--chaos has no kind "${name}", only ${KINDS.join(", ")}`);
    }
  }
  return KINDS.filter((kind) => names.includes(kind));
}
