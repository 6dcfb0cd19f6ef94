/** Numbers and objects of rules. Rules that did not change keep both. */
import type { Prefix } from "../address.js";
import type { AclRule, Addresses } from "../compile/acl-rule.js";
import type { Place } from "./place.js";
import { samePrefixes } from "./resolver.js";
import type { Rule } from "./rule.js";
import type { PolicyRules } from "./rules.js";

/** A rule, and its form for the core: none while no packet can match it. */
export interface Numbered {
  readonly number: number;
  readonly made: AclRule | undefined;
}

/** The rules of a policy in one direction, or the end of a tier. */
export interface NumberedRules {
  /** In order, keyed by the words of the rule and how often they occurred before. */
  readonly all: ReadonlyMap<string, Numbered>;
  readonly from?: Origin;
}

/** The inputs that a policy's rules were made from. */
export interface Origin {
  readonly rules: readonly Rule[];
  readonly near: readonly Prefix[];
  /** Number of addresses that its rules name. */
  readonly addresses: number;
}

/** The number of each rule, by its part and its key there. */
export type RuleNumbersByPart = readonly (readonly [
  part: string,
  rules: readonly (readonly [rule: string, number: number])[],
])[];

export const ruleNumbersOf = ({ parts }: Pick<PolicyRules, "parts">): RuleNumbersByPart =>
  Array.from(parts, ([part, { all }]) => [
    part,
    Array.from(all, ([rule, it]) => [rule, it.number]),
  ]);

/** Parts in which every rule has its number, and nothing else is known of it. */
export const partsWith = (numbers: RuleNumbersByPart): ReadonlyMap<string, NumberedRules> =>
  new Map(
    numbers.map(([part, rules]) => [
      part,
      { all: new Map(rules.map(([rule, number]) => [rule, { number, made: undefined }])) },
    ]),
  );

export class RuleNumbers {
  readonly places = new Map<number, Place>();
  readonly fresh: number[] = [];
  readonly parts = new Map<string, NumberedRules>();
  readonly #before: PolicyRules;
  #free = 1;

  constructor(before: PolicyRules) {
    this.#before = before;
  }

  before(part: string): NumberedRules | undefined {
    return this.#before.parts.get(part);
  }

  /** @param part key of the policy or tier end that the rule belongs to */
  numberOf(part: string, rule: string): number {
    const known = this.parts.get(part)?.all.get(rule) ?? this.before(part)?.all.get(rule);
    return known?.number ?? this.#newNumber();
  }

  /** A number that became free in this run is not reused yet: its counter still counts the old rule. */
  #newNumber(): number {
    while (this.#before.places.has(this.#free)) this.#free++;
    this.fresh.push(this.#free);
    return this.#free++;
  }

  /** Returns the earlier object if it has the same content. */
  asBefore(part: string, rule: string, made: AclRule): AclRule {
    const before = this.before(part)?.all.get(rule)?.made;
    const isSame =
      before && sameAddresses(before.near, made.near) && sameAddresses(before.far, made.far);
    return isSame ? before : made;
  }
}

const sameAddresses = (a: Addresses, b: Addresses): boolean =>
  samePrefixes(a.in, b.in) && samePrefixes(a.not, b.not);
