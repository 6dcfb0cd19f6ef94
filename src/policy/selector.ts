/** Selectors of addresses in the policy document: a prefix, a node, a group. */
import { type Prefix, parsePrefixOrAddress, printable } from "../address.js";
import type { Entry } from "../config/entry.js";
import { nodeName } from "../config/read.js";
import { WeftError } from "../error.js";
import { filled } from "./read.js";

export type Selector =
  | { readonly kind: "prefix"; readonly prefix: Prefix }
  | { readonly kind: "node" | "group"; readonly name: string };

/** By name. */
export type Groups = ReadonlyMap<string, readonly Selector[]>;

/** Most addresses, nodes and groups in one list. */
export const MAX_SELECTORS = 16_384;

export function readSelectors(entry: Entry, groups: Groups): Selector[] {
  return filled(entry, MAX_SELECTORS).map((item) => {
    const selector = item.read(selectorOf);
    if (selector.kind !== "group" || groups.has(selector.name)) return selector;
    throw item.bad(
      `there is no group "${printable(selector.name)}"`,
      groups.size > 0
        ? `add it to groups, or use one of: ${[...groups.keys()].slice(0, 10).join(", ")}`
        : "add it to groups",
    );
  });
}

/** The members of a group: prefixes and nodes. The list may be empty. */
export const readMembers = (entry: Entry): Selector[] => entry.list(MAX_SELECTORS).map(readMember);

function readMember(entry: Entry): Selector {
  const selector = entry.read(selectorOf);
  if (selector.kind !== "group") return selector;
  throw entry.bad("a group cannot be in a group", "name its members here");
}

function selectorOf(text: string): Selector {
  const [kind, name] = text.split(/:(.*)/s);
  if (kind === "node") return { kind, name: nodeName(name ?? "") };
  if (kind === "group") return { kind, name: name ?? "" };
  if (BARE_NAME.test(text)) throw bareName(text);
  return { kind: "prefix", prefix: parsePrefixOrAddress(text) };
}

/** A text without a dot or a colon, which is no address. */
const BARE_NAME = /^[a-z][a-z0-9-]*$/i;

const bareName = (name: string): WeftError =>
  new WeftError(
    "POLICY",
    `"${name}" is not an IP address`,
    `write "node:${name}" for the addresses of that node, or "group:${name}" for those of a group`,
  );
