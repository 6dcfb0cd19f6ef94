/** The sources of settings: the command line or a YAML file. */
import { printable } from "../address.js";
import { type RegularFile, readRegularFile, whyUnreadable } from "../files/regular-file.js";
import { bad } from "./read.js";
import type { Pair, TreeNode } from "./tree.js";
import { dotted, parseYaml } from "./yaml.js";

const MAX_CONFIG_FILE = 1024 * 1024;
/** Most tokens. A running agent reads the file again; this many take less than a second. */
const MAX_CONFIG_TOKENS = 100_000;

export interface SettingSource {
  readonly values: object;
  /** Names the place of a value, for messages: `--mtu`, or `weft.yaml:3: mtu`. */
  where(path: readonly PropertyKey[]): string;
}

export const commandLine = (values: object): SettingSource => ({
  values,
  where: (path) => `--${path.filter((step) => typeof step !== "number").join(" ")}`,
});

/** Reads a YAML file. A value in it means the same as in a flag. */
export function yamlFile(file: string): SettingSource {
  const { root, lineOf } = parseYaml(load(file), file, "CONFIG", MAX_CONFIG_TOKENS);
  const at = (offset: number) => `${printable(file)}:${lineOf(offset)}`;
  const twice = (offset: number, key: string) =>
    bad(`${at(offset)}: ${printable(key)}: it occurs twice`, "keep one of the two");

  const values = isEmpty(root) ? {} : plainOf(root, twice);
  if (typeof values !== "object" || Array.isArray(values)) {
    throw bad(`${at(0)}: this is not a list of settings`, "write KEY: VALUE, one a line");
  }
  return { values, where: (path) => `${at(offsetOf(root, path))}: ${dotted(path)}` };
}

const isEmpty = (root: TreeNode): boolean => root.kind === "text" && root.text === "";

type Value = string | readonly Value[] | { readonly [key: string]: Value };

function plainOf(node: TreeNode, twice: (offset: number, key: string) => Error): Value {
  if (node.kind === "text") return node.text;
  if (node.kind === "list") return node.items.map((item) => plainOf(item, twice));
  const values = new Map<string, Value>();
  for (const { at, key, value } of node.pairs) {
    if (values.has(key)) throw twice(at, key);
    values.set(key, plainOf(value, twice));
  }
  return Object.fromEntries(values);
}

/** Offset at which the key or list item at `path` begins; for a missing one, that of its parent. */
function offsetOf(root: TreeNode, path: readonly PropertyKey[]): number {
  let node: TreeNode | undefined = root;
  let at = 0;
  for (const step of path) {
    const pair: Pair | undefined =
      node?.kind === "map" ? node.pairs.find(({ key }) => key === step) : undefined;
    node = pair?.value ?? (node?.kind === "list" ? node.items[Number(step)] : undefined);
    at = pair?.at ?? node?.at ?? at;
  }
  return at;
}

function load(file: string): string {
  const { bytes, stats } = open(file);
  const name = `the configuration file ${printable(file)}`;
  const user = process.geteuid?.();
  if (stats.uid !== 0 && stats.uid !== user) {
    throw bad(
      `${name} belongs to user ${stats.uid}, who can change it`,
      `run: chown ${user} ${printable(file)}`,
    );
  }
  if ((stats.mode & 0o022) !== 0) {
    throw bad(
      `${name} can be changed by others than its owner`,
      `run: chmod go-w ${printable(file)}`,
    );
  }
  return bytes.toString();
}

function open(file: string): RegularFile {
  try {
    return readRegularFile(file, MAX_CONFIG_FILE);
  } catch (error) {
    throw bad(
      `the configuration file ${printable(file)} ${whyUnreadable(error, MAX_CONFIG_FILE)}`,
      "give the path of a readable YAML file with --config",
    );
  }
}
