/** Reads the command line of `sim` and `sim:soak`. */
import { parseArgs } from "node:util";
import { WeftError } from "../error.js";

type Presets = Readonly<Record<string, string | undefined>>;
type Parsed<P extends Presets> = {
  readonly [name in keyof P]: P[name] extends string ? string : string | undefined;
} & { readonly help?: boolean };

/** The options by name, as given or preset, and `help`. @throws WeftError USAGE */
export function readArguments<P extends Presets>(args: readonly string[], presets: P): Parsed<P> {
  const texts = Object.entries(presets).map(([name, preset]) => [
    name,
    { type: "string" as const, ...(preset !== undefined && { default: preset }) },
  ]);
  const help = { type: "boolean" as const, short: "h" };
  try {
    const options = { ...Object.fromEntries(texts), help };
    return parseArgs({ args: [...args], options }).values as Parsed<P>;
  } catch (error) {
    throw wrong((error as Error).message.replaceAll("\n", " "));
  }
}

/** The number in a text. @throws WeftError USAGE when it is not a number, or out of bounds */
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

export const wrong = (what: string): WeftError => new WeftError("USAGE", what, "see --help");
