/** Which addresses selectors mean: a node is what it holds at the moment. */
import { formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";
import type { PolicyDocument } from "./document.js";
import { DIRECTIONS } from "./rule.js";
import type { Selector } from "./selector.js";

/** The prefixes that each node holds, by its name. */
export type Members = ReadonlyMap<string, readonly Prefix[]>;

/** Addresses that selectors mean, those of a group as often as it is named. */
export const MAX_ADDRESSES = 1_000_000;

const NOBODY: readonly Prefix[] = [];

export class Resolver {
  readonly #members: Members;
  #met = 0;
  readonly #groups = new Map<string, readonly Prefix[]>();

  constructor(groups: PolicyDocument["groups"], members: Members) {
    this.#members = members;
    for (const [name, selectors] of groups) this.#groups.set(name, this.resolve(selectors));
  }

  /**
   * Each prefix once. A node that is not there holds none.
   * @throws WeftError POLICY_FULL
   */
  resolve(selectors: readonly Selector[]): readonly Prefix[] {
    if (selectors.length === 0) return NOBODY;
    if (selectors.length === 1) return this.#addressesOf(selectors[0]!);
    return distinct(selectors.flatMap((selector) => this.#addressesOf(selector)));
  }

  #addressesOf(selector: Selector): readonly Prefix[] {
    const addresses = this.#lookUp(selector);
    this.#met += addresses.length;
    if (this.#met <= MAX_ADDRESSES) return addresses;
    throw new WeftError(
      "POLICY_FULL",
      `the policies name more than ${MAX_ADDRESSES} addresses, those of a group wherever it is named`,
      "use wider prefixes, or one rule in place of many that name the same groups",
    );
  }

  #lookUp(selector: Selector): readonly Prefix[] {
    if (selector.kind === "prefix") return [selector.prefix];
    const known = selector.kind === "node" ? this.#members : this.#groups;
    return known.get(selector.name) ?? [];
  }
}

export function distinct(prefixes: readonly Prefix[]): readonly Prefix[] {
  return [...new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix])).values()];
}

/** The nodes that a document means by name: when what they hold changes, so do its rules. */
export function namedNodes(document: PolicyDocument): ReadonlySet<string> {
  const policies = document.tiers.flatMap((tier) => tier.policies);
  const rules = DIRECTIONS.flatMap((way) => policies.flatMap((policy) => policy[way] ?? []));
  const lists = [
    ...document.groups.values(),
    ...policies.map(({ applies }) => applies),
    ...rules.flatMap(({ peers, notPeers }) => [peers ?? [], notPeers]),
  ];
  const names = lists.flatMap((list) =>
    list.flatMap((selector) => (selector.kind === "node" ? [selector.name] : [])),
  );
  return new Set(names);
}

/** Those of them that nobody has seen: the document means no addresses by them. */
export const absentNodes = (document: PolicyDocument, members: Members): string[] =>
  [...namedNodes(document)].filter((name) => !members.has(name)).sort();
