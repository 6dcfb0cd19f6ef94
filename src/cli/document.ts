/** The parts that the verbs about cluster documents share: options, files, and comments before a text. */
import { Option } from "commander";
import { printable } from "../address.js";
import { yamlLibrary } from "../config/yaml-library.js";
import type { Progress } from "../document-sync/progress.js";
import { WeftError } from "../error.js";
import { whyUnreadable } from "../files/regular-file.js";
import type { DocumentView } from "../http/view.js";
import { DEFAULT_WAIT, summary, waitSeconds } from "./document-wait.js";
import { inputName, readInput, STDIN } from "./input.js";
import { byName } from "./order.js";

export interface ApplyFlags {
  readonly socket: string;
  readonly dryRun?: boolean;
  readonly resetVersion?: boolean;
  /** Seconds. */
  readonly wait?: number;
}

export const applyOptions = (): Option[] => [
  new Option("--dry-run", "check it only; nothing changes"),
  new Option(
    "--reset-version",
    "where no version is left: refuse the last one, begin again at the first",
  ),
  new Option(
    "--wait [SECONDS]",
    `wait until all living nodes have it in force; exit 1 if not within ${DEFAULT_WAIT}, or SECONDS`,
  )
    .preset(String(DEFAULT_WAIT))
    .argParser(waitSeconds),
];

/** A kind of document as the command reads it. */
export interface DocumentFile {
  /** Code of the errors. */
  readonly code: string;
  /** Most characters. */
  readonly most: number;
  /** The remedy for a longer one. */
  readonly shorten: string;
}

/** Reads a file, a pipe or stdin. A character takes up to three bytes; their number is checked later. */
export async function loadDocument(
  file: string,
  { code, most, shorten }: DocumentFile,
): Promise<string> {
  try {
    return (await readInput(file, 3 * most)).toString("utf8");
  } catch (error) {
    const isLong = (error as NodeJS.ErrnoException).code === "EFBIG";
    throw new WeftError(
      code,
      `${printable(inputName(file))} ${whyUnreadable(error, 3 * most)}`,
      isLong ? shorten : "give the path of a readable file, or - for stdin",
    );
  }
}

/** @throws WeftError USAGE if two files are both stdin */
export function refuseStdinTwice(one: string, other: string | undefined): void {
  if (one !== STDIN || other !== STDIN) return;
  throw new WeftError("USAGE", "stdin can be read once only", "give a file for one of the two");
}

/** The document as YAML, after comments with its version and its progress. */
export function withHeading({ version, author, text }: DocumentView, progress: Progress): string {
  const missing = progress.nodes.filter(({ isInForce }) => !isInForce).sort(byName);
  const heading = [
    `version ${version}, applied on ${author.name ?? author.id}`,
    summary(progress),
    ...missing.map(({ name, why }) => `not on ${name}: ${why}`),
  ];
  return `${heading.map((line) => `# ${line}\n`).join("")}${yamlLibrary().stringify(JSON.parse(text))}`;
}
