/** How the command ends, and what it says when it fails. */
import { WeftError } from "../error.js";

export const exit = {
  ok: 0,
  /** It failed, or the answer is no: a degraded node, a packet that does not go on. */
  failed: 1,
  /** The command line, the configuration or a document is wrong. */
  usage: 2,
  noAgent: 3,
} as const;

/** Two lines: what is wrong and why; what to do. */
const complaint = (what: string, remedy: string): string =>
  `weft: ${oneLine(what)}\n  ${oneLine(remedy)}\n`;

/** Says what went wrong and answers with the exit code for it. */
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
