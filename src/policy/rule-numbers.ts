/** Numbers and objects of rules: the same as before wherever nothing changed. */
import type { Prefix } from "../address.js";
import type { AclRule, Addresses } from "../compile/acl.js";
import type { Place } from "./place.js";
import { samePrefixes } from "./resolver.js";
import type { Rule } from "./rule.js";
import type { PolicyRules } from "./rules.js";

/** A rule, and what the core is given for it: nothing if no packet can meet it today. */
export interface Numbered {
  readonly number: number;
  readonly made: AclRule | undefined;
}

/** What a policy says of one direction, or the end of a tier. */
export interface NumberedRules {
  /** In order; by what a rule says, and how often it was said before. */
  readonly all: ReadonlyMap<string, Numbered>;
  readonly from?: Origin;
}

/** What a policy's part was made from. */
export interface Origin {
  readonly rules: readonly Rule[];
  readonly near: readonly Prefix[];
  /** As many as its rules name. */
  readonly addresses: number;
}

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

  /** @param part whose numbers the rule has */
  numberOf(part: string, rule: string): number {
    const known = this.parts.get(part)?.all.get(rule) ?? this.before(part)?.all.get(rule);
    return known?.number ?? this.#newNumber();
  }

  /** A number that has just become free is not given at once: its counter is still of another. */
  #newNumber(): number {
    while (this.#before.places.has(this.#free)) this.#free++;
    this.fresh.push(this.#free);
    return this.#free++;
  }

  /** The same object as before, if it says the same. */
  asBefore(part: string, rule: string, made: AclRule): AclRule {
    const before = this.before(part)?.all.get(rule)?.made;
    const isSame =
      before && sameAddresses(before.near, made.near) && sameAddresses(before.far, made.far);
    return isSame ? before : made;
  }
}

const sameAddresses = (a: Addresses, b: Addresses): boolean =>
  samePrefixes(a.in, b.in) && samePrefixes(a.not, b.not);
