/** Exit codes of the command, and its error messages. */
import { WeftError } from "../error.js";

export const exit = {
  ok: 0,
  /** An error, or a negative result: a degraded node, a packet that does not go on. */
  failed: 1,
  /** A mistake in the command line, the configuration or a document. */
  usage: 2,
  noAgent: 3,
} as const;

/** Two lines: the problem with its reason, and the remedy. */
const complaint = (what: string, remedy: string): string =>
  `weft: ${oneLine(what)}\n  ${oneLine(remedy)}\n`;

/** Prints the error and returns its exit code. */
export function complain(error: unknown): number {
  if (!(error instanceof WeftError)) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    process.stderr.write(
      complaint(`${name}: ${message}`, "this is a bug in weft; please report it with these lines:"),
    );
    process.stderr.write(`${stack}\n`);
    return exit.failed;
  }
  process.stderr.write(complaint(error.message, error.remedy));
  switch (error.code) {
    case "USAGE":
    case "CONFIG":
    case "ADDRESS":
    case "POLICY":
    case "POLICY_TEST":
    case "NAT":
    case "NAT_TEST":
    case "EXPLAIN":
    case "PCAP":
    case "CAPTURE":
      return exit.usage;
    case "NO_AGENT":
      return exit.noAgent;
    default:
      return exit.failed;
  }
}

const oneLine = (text: string): string => text.replace(/[^\x20-\x7e]+/g, " ");
