/** Where settings come from: the command line or a YAML file. */
import { readFileSync, statSync } from "node:fs";
import { type Document, isMap, isNode, isScalar, isSeq } from "yaml";
import { printable } from "../address.js";
import { bad } from "./read.js";
import { composeYaml, dotted } from "./yaml.js";

const MAX_CONFIG_FILE = 1024 * 1024;
/** An agent reads it again while it runs: this takes it less than a second. */
const MAX_CONFIG_TOKENS = 100_000;

export interface Source {
  readonly values: object;
  /** Names the place of a value, for messages: `--mtu`, or `weft.yaml:3: mtu`. */
  where(path: readonly PropertyKey[]): string;
}

export const commandLine = (values: object): Source => ({
  values,
  where: (path) => `--${path.filter((step) => typeof step !== "number").join(" ")}`,
});

/** Reads a YAML file: a value in it and the same value in a flag mean the same. */
export function yamlFile(file: string): Source {
  const { document, lineOf } = composeYaml(load(file), file, "CONFIG", {
    mostTokens: MAX_CONFIG_TOKENS,
  });
  const at = (offset: number) => `${printable(file)}:${lineOf(offset)}`;

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
