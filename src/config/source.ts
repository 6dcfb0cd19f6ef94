/** Where settings come from: the command line or a YAML file. */
import { readFileSync, statSync } from "node:fs";
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { printable } from "../address.js";
import { bad } from "./read.js";

const MAX_CONFIG_FILE = 1024 * 1024;

export interface Source {
  readonly values: object;
  /** Names the place of a value, for messages: `--mtu`, or `weft.yaml:3: mtu`. */
  where(path: readonly PropertyKey[]): string;
}

export const commandLine = (values: object): Source => ({
  values,
  where: (path) => `--${path.filter((step) => typeof step !== "number").join(" ")}`,
});

/**
 * Reads a YAML file. Every scalar stays the text it is (the "failsafe" schema),
 * so a value in the file and the same value in a flag mean the same: YAML's own
 * numbers would turn `010` into 10 before anyone could object.
 */
export function yamlFile(file: string): Source {
  const lines = new LineCounter();
  const document = parseDocument(load(file), {
    schema: "failsafe",
    lineCounter: lines,
    prettyErrors: false,
  });
  const at = (offset: number) => `${printable(file)}:${lines.linePos(offset).line}`;

  const [problem] = [...document.errors, ...document.warnings];
  if (problem) {
    throw bad(
      `${at(problem.pos[0])}: ${printable(problem.message)}`,
      'mend the YAML on that line; an address in brackets needs quotes: "[2001:db8::1]:4789"',
    );
  }
  const values: unknown = document.toJS() ?? {};
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw bad(`${at(0)}: this is not a list of settings`, "write KEY: VALUE, one a line");
  }
  return { values, where: (path) => `${at(offset(document, path))}: ${dotted(path)}` };
}

/** Where the key or list item at `path` begins. What is not there stands where its parent does. */
function offset(document: Document, path: readonly PropertyKey[]): number {
  if (path.length === 0) return 0;
  const above = path.slice(0, -1);
  const step = path.at(-1);
  const parent = above.length > 0 ? document.getIn(above, true) : document.contents;
  const pair = isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === step);
  const node = pair ? pair.key : isSeq(parent) ? parent.items[Number(step)] : undefined;
  return isNode(node) && node.range ? node.range[0] : offset(document, above);
}

function load(file: string): string {
  try {
    if (statSync(file).size <= MAX_CONFIG_FILE) return readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw bad(
      `the configuration file ${printable(file)} ${code === "ENOENT" ? "does not exist" : `cannot be read (${code})`}`,
      "give the path of a readable YAML file with --config",
    );
  }
  throw bad(
    `the configuration file ${printable(file)} is larger than ${MAX_CONFIG_FILE} bytes`,
    "give a file with weft's settings only",
  );
}

/** `["static-peer", 0, "mac"]` -> `static-peer[0].mac` */
const dotted = (path: readonly PropertyKey[]): string =>
  path
    .map((step, i) => (typeof step === "number" ? `[${step}]` : `${i ? "." : ""}${String(step)}`))
    .join("");
