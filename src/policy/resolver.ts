/** Resolves selectors to prefixes: a node stands for the leases that it holds now. */
import type { Prefix } from "../address.js";
import { WeftError } from "../error.js";
import type { PolicyDocument } from "./document.js";
import { DIRECTIONS } from "./rule.js";
import type { Selector } from "./selector.js";

/** The prefixes that each node holds, by its name. */
export type Members = ReadonlyMap<string, readonly Prefix[]>;

/**
 * Most addresses that the rules of one node name. Those of a group count wherever it is named, and
 * those that a policy protects count once for each of its rules. This bounds the cost of compiling.
 */
export const MAX_ADDRESSES = 1_000_000;

const NO_PREFIXES: readonly Prefix[] = [];

export class Resolver {
  readonly #members: Members;
  #addressCount = 0;
  readonly #groups = new Map<string, readonly Prefix[]>();

  constructor(groups: PolicyDocument["groups"], members: Members) {
    this.#members = members;
    for (const [name, selectors] of groups) this.#groups.set(name, this.resolve(selectors));
  }

  /** Addresses resolved so far. */
  get addressCount(): number {
    return this.#addressCount;
  }

  /** Whether all selectors resolved here mean the same to the other resolver. */
  agrees(other: Resolver): boolean {
    return sameMeanings(this.#members, other.#members) && sameMeanings(this.#groups, other.#groups);
  }

  /**
   * Returns each prefix once. An unknown node has none.
   * @throws WeftError POLICY_FULL
   */
  resolve(selectors: readonly Selector[]): readonly Prefix[] {
    if (selectors.length === 0) return NO_PREFIXES;
    if (selectors.length === 1) return this.#addressesOf(selectors[0]!);
    return distinct(selectors.flatMap((selector) => this.#addressesOf(selector)));
  }

  #addressesOf(selector: Selector): readonly Prefix[] {
    const addresses = this.#lookUp(selector);
    this.count(addresses.length);
    return addresses;
  }

  /**
   * Adds to the number of addresses.
   * @throws WeftError POLICY_FULL above MAX_ADDRESSES
   */
  count(addresses: number): void {
    this.#addressCount += addresses;
    if (this.#addressCount <= MAX_ADDRESSES) return;
    throw new WeftError(
      "POLICY_FULL",
      `the policies name more than ${MAX_ADDRESSES} addresses, those of a group wherever it is named, those they apply to once for each rule`,
      "use wider prefixes, or one rule in place of many that name the same groups",
    );
  }

  #lookUp(selector: Selector): readonly Prefix[] {
    if (selector.kind === "prefix") return [selector.prefix];
    const known = selector.kind === "node" ? this.#members : this.#groups;
    return known.get(selector.name) ?? [];
  }
}

const sameMeanings = (
  a: ReadonlyMap<string, readonly Prefix[]>,
  b: ReadonlyMap<string, readonly Prefix[]>,
): boolean =>
  a.size === b.size &&
  [...a].every(([name, prefixes]) => {
    const others = b.get(name);
    return others !== undefined && samePrefixes(prefixes, others);
  });

export const samePrefixes = (a: readonly Prefix[], b: readonly Prefix[]): boolean =>
  a === b || (a.length === b.length && a.every((prefix, i) => samePrefix(prefix, b[i]!)));

const samePrefix = (a: Prefix, b: Prefix): boolean =>
  a.family === b.family && a.length === b.length && a.base === b.base;

export function distinct(prefixes: readonly Prefix[]): readonly Prefix[] {
  return [...new Map(prefixes.map((prefix) => [keyOf(prefix), prefix])).values()];
}

const keyOf = ({ family, base, length }: Prefix): string => `${family} ${length} ${base}`;

/** The nodes that a document names: when their leases change, its rules change. */
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

/** The leases of the nodes that a document names. */
export const heldByNamed = (named: ReadonlySet<string>, members: Members): Members =>
  new Map([...members].filter(([name]) => named.has(name)));

/** The named nodes that are not members, for which the document has no addresses. */
export const absentNodes = (named: ReadonlySet<string>, members: Members): string[] =>
  [...named].filter((name) => !members.has(name)).sort();
