/** How `weft policy apply` follows a policy to the nodes of the cluster. */
import { setTimeout as sleep } from "node:timers/promises";
import { isLiving, type NodeProgress, type Progress } from "../document-sync/progress.js";
import { WeftError } from "../error.js";
import { policyProgress } from "../http/client.js";
import { byName } from "./order.js";

/** Seconds, where `--wait` is given without a number, and at most. */
export const DEFAULT_WAIT = 60;
const MAX_WAIT = 86_400;
/** How long the command looks on without `--wait`, in milliseconds: in a small cluster that is enough. */
const GLANCE_MS = 2_000;
const POLL_MS = 200;
/** Nodes that are named in one line. */
const MOST_NAMED = 8;

/** The policy that was applied. */
export interface AppliedPolicy {
  readonly version: number;
  readonly hash: string;
}

/** Seconds to wait, as given after `--wait`. */
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
 * Prints how far it has come, and with `seconds` what changes until then.
 * @returns whether all living nodes have it in force
 */
export async function follow(
  socket: string,
  applied: AppliedPolicy,
  seconds?: number,
): Promise<boolean> {
  const deadline = Date.now() + (seconds === undefined ? GLANCE_MS : seconds * 1000);
  let said = "";
  for (;;) {
    const progress = await policyProgress(socket);
    if (progress.version !== applied.version || progress.hash !== applied.hash) {
      process.stderr.write(`version ${progress.version} has taken its place meanwhile\n`);
      return false;
    }
    const missing = progress.nodes.filter((node) => isLiving(node) && !node.isInForce).sort(byName);
    if (missing.length === 0 || Date.now() >= deadline) {
      process.stdout.write(`${summary(progress)}\n`);
      process.stderr.write(absence(progress, seconds));
      return missing.length === 0;
    }
    if (seconds !== undefined && summary(progress) !== said) {
      said = summary(progress);
      process.stderr.write(`${said}; waiting for ${named(missing)}\n`);
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

/** A line for each node that has not got it. */
function absence({ nodes }: Progress, seconds: number | undefined): string {
  const line = (node: NodeProgress) => `not on ${node.name}: ${node.why}\n`;
  const missing = nodes.filter(({ isInForce }) => !isInForce).sort(byName);
  const living = missing.filter(isLiving);
  const after =
    living.length === 0
      ? ""
      : seconds === undefined
        ? "it comes to those that the mesh reaches: see weft policy get, or wait with --wait\n"
        : `not all had it after ${seconds} seconds\n`;
  return missing.map(line).join("") + after;
}
