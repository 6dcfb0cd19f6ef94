/** Follows a cluster document to the nodes, for `weft policy apply` and `weft nat apply`. */
import { setTimeout as sleep } from "node:timers/promises";
import { isLiving, type NodeProgress, type Progress } from "../document-sync/progress.js";
import { WeftError } from "../error.js";
import { byName } from "./order.js";

/** Seconds for `--wait` without a number. */
export const DEFAULT_WAIT = 60;
const MAX_WAIT = 86_400;
/** Milliseconds for which the command follows without `--wait`, enough in a small cluster. */
const GLANCE_MS = 2_000;
const POLL_MS = 200;
/** Most nodes named in one line. */
const MOST_NAMED = 8;

/** The document that was applied. */
export interface AppliedDocument {
  readonly version: number;
  readonly hash: string;
  /** The verb of its kind, as `policy`. */
  readonly verb: string;
  progress(): Promise<Progress>;
}

/** Seconds to wait, from the value of `--wait`. */
export function waitSeconds(given: string): number {
  const seconds = /^[1-9]\d{0,5}$/.test(given) ? Number(given) : Number.NaN;
  if (seconds <= MAX_WAIT) return seconds;
  throw new WeftError(
    "USAGE",
    `--wait ${given} is not a number of seconds`,
    `give whole seconds from 1 to ${MAX_WAIT}; a file is named before --wait`,
  );
}

/**
 * Prints the progress, and with `seconds` also each change within that time.
 * @param out takes the progress at the end
 * @returns whether all living nodes have the document in force
 */
export async function follow(
  applied: AppliedDocument,
  seconds?: number,
  out: NodeJS.WritableStream = process.stdout,
): Promise<boolean> {
  const deadline = Date.now() + (seconds === undefined ? GLANCE_MS : seconds * 1000);
  let printed = "";
  for (;;) {
    const progress = await applied.progress();
    if (progress.version !== applied.version || progress.hash !== applied.hash) {
      process.stderr.write(`version ${progress.version} has replaced it meanwhile\n`);
      return false;
    }
    const missing = progress.nodes.filter((node) => isLiving(node) && !node.isInForce).sort(byName);
    if (missing.length === 0 || Date.now() >= deadline) {
      out.write(`${summary(progress)}\n`);
      process.stderr.write(absence(progress, applied.verb, seconds));
      return missing.length === 0;
    }
    if (seconds !== undefined && summary(progress) !== printed) {
      printed = summary(progress);
      process.stderr.write(`${printed}; waiting for ${named(missing)}\n`);
    }
    await sleep(Math.min(POLL_MS, Math.max(0, deadline - Date.now())));
  }
}

export const summary = ({ inForce, known }: Progress): string =>
  `in force on ${inForce} of ${known} known nodes`;

function named(nodes: readonly NodeProgress[]): string {
  const names = nodes.slice(0, MOST_NAMED).map(({ name }) => name);
  const rest = nodes.length - names.length;
  return names.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** A line for each node that does not have it. */
function absence({ nodes }: Progress, verb: string, seconds: number | undefined): string {
  const line = (node: NodeProgress) => `not on ${node.name}: ${node.why}\n`;
  const missing = nodes.filter(({ isInForce }) => !isInForce).sort(byName);
  const living = missing.filter(isLiving);
  const after =
    living.length === 0
      ? ""
      : seconds === undefined
        ? `nodes that the mesh reaches get it later: see weft ${verb} get, or wait with --wait\n`
        : `not all had it after ${seconds} seconds\n`;
  return missing.map(line).join("") + after;
}
