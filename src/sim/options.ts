/** What `npm run sim` and `npm run sim:soak` are told. */
import { parseArgs } from "node:util";
import { WeftError } from "../error.js";
import { CHAOS, type ChaosKind } from "./chaos.js";
import type { Options } from "./simulate.js";

export const MAX_NODES = 4_000;

const USAGE = `--nodes N (25)  --loss P (0, at most 0.9)  --seed S (1)  --minutes M (10)  --chaos ${CHAOS.join(",")}`;

/** @throws WeftError when it cannot be understood */
export function readOptions(args: readonly string[]): Options {
  const values = parsed(args);
  return {
    nodes: number("nodes", values.nodes, { least: 1, most: MAX_NODES, whole: true }),
    loss: number("loss", values.loss, { least: 0, most: 0.9 }),
    seed: number("seed", values.seed, { least: 0, most: 2 ** 32 - 1, whole: true }),
    minutes: number("minutes", values.minutes, { least: 0.1, most: 100_000 }),
    chaos: kinds(values.chaos),
  };
}

function parsed(args: readonly string[]) {
  const option = (preset: string) => ({ type: "string" as const, default: preset });
  try {
    return parseArgs({
      args: [...args],
      options: {
        nodes: option("25"),
        loss: option("0"),
        seed: option("1"),
        minutes: option("10"),
        chaos: option(""),
      },
    }).values;
  } catch (error) {
    throw wrong((error as Error).message);
  }
}

export function number(
  name: string,
  text: string,
  { least, most, whole }: { least: number; most: number; whole?: boolean },
): number {
  const value = Number(text);
  const fits = text.trim() !== "" && value >= least && value <= most;
  if (fits && (!whole || Number.isInteger(value))) return value;
  throw wrong(`--${name} ${text} is not a ${whole ? "whole " : ""}number from ${least} to ${most}`);
}

function kinds(text: string): ChaosKind[] {
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names) {
    if (!CHAOS.some((kind) => kind === name)) throw wrong(`--chaos knows no "${name}"`);
  }
  return CHAOS.filter((kind) => names.includes(kind));
}

const wrong = (what: string): WeftError => new WeftError("USAGE", what, USAGE);
