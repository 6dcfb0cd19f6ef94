/** Numbers and objects of rules: the same as before wherever nothing changed. */
import type { Prefix } from "../address.js";
import type { AclRule, Addresses } from "../compile/acl.js";
import type { Place } from "./place.js";
import type { PolicyRules } from "./rules.js";

export class Register {
  readonly places = new Map<number, Place>();
  readonly fresh: number[] = [];
  readonly made = new Map<string, AclRule>();
  readonly numbers = new Map<string, number>();
  readonly #before: PolicyRules;
  #free = 1;

  constructor(before: PolicyRules) {
    this.#before = before;
  }

  numberOf(key: string, place: Place): number {
    const number = this.numbers.get(key) ?? this.#before.numbers.get(key) ?? this.#newNumber();
    this.numbers.set(key, number);
    this.places.set(number, place);
    return number;
  }

  /** A number that has just become free is not given at once: its counter is still of another. */
  #newNumber(): number {
    while (this.#before.places.has(this.#free)) this.#free++;
    this.fresh.push(this.#free);
    return this.#free++;
  }

  asBefore(key: string, rule: AclRule): AclRule {
    const before = this.#before.made.get(key);
    const isSame =
      before && sameAddresses(before.near, rule.near) && sameAddresses(before.far, rule.far);
    const made = isSame ? before : rule;
    this.made.set(key, made);
    return made;
  }
}

const sameAddresses = (a: Addresses, b: Addresses): boolean =>
  samePrefixes(a.in, b.in) && samePrefixes(a.not, b.not);

const samePrefixes = (a: readonly Prefix[], b: readonly Prefix[]): boolean =>
  a === b || (a.length === b.length && a.every((prefix, i) => samePrefix(prefix, b[i]!)));

const samePrefix = (a: Prefix, b: Prefix): boolean =>
  a.family === b.family && a.length === b.length && a.base === b.base;
