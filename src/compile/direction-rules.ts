/** The rules of one direction, and which of them changed lately. */

import { type AclEntry, ENDS } from "./acl-rule.js";
import { AddressField } from "./address-field.js";
import type { AddressClasses } from "./classes.js";
import { differences, type PlacedRule, place } from "./placed-rules.js";

/** Number of changes kept. A copy of the table lacks the last two at most, and those that were undone. */
const REMEMBERED = 4;

export class DirectionRules {
  readonly #classes: AddressClasses;
  list: readonly AclEntry[] = [];
  placed: readonly PlacedRule[] = [];
  readonly ends: readonly AddressField[];
  /** Version of the last change of a rule. */
  version = 0;
  /** Rules added and removed in the last changes, oldest first. */
  #recent: readonly { readonly version: number; readonly changed: readonly PlacedRule[] }[] = [];
  /** The version before those changes. */
  #horizon = 0;

  constructor(classes: AddressClasses) {
    this.#classes = classes;
    this.ends = ENDS.map(() => new AddressField(classes));
  }

  /** Adds new prefixes before it removes old ones, so that those in both keep their classes. */
  update(list: readonly AclEntry[], version: number): void {
    const rules = list.map(({ rule }) => rule);
    const placed = place(rules, this.placed);
    const { removed, added } = differences(this.placed, placed);
    const used = (rules: readonly PlacedRule[]) =>
      rules.flatMap(({ rule: { near, far } }) => [...near.in, ...near.not, ...far.in, ...far.not]);
    this.#classes.useAll(used(added), version);
    const goOnElsewhere = list.some(({ next }, i) => next !== this.list[i]?.next);
    if (removed.length > 0 || added.length > 0 || goOnElsewhere) this.version = version;
    this.#note([...removed, ...added], version);
    this.list = list;
    this.placed = placed;
    this.ends.forEach((field, i) => {
      for (const { rule, bit } of removed) field.remove(rule[ENDS[i]!], bit, version);
      for (const { rule, bit } of added) field.add(rule[ENDS[i]!], bit, version);
    });
    for (const prefix of used(removed)) this.#classes.drop(prefix, version);
  }

  #note(changed: readonly PlacedRule[], version: number): void {
    const [oldest, ...others] = this.#recent;
    if (oldest && others.length + 1 === REMEMBERED) this.#horizon = oldest.version;
    this.#recent = [...this.#recent, { version, changed }].slice(-REMEMBERED);
  }

  /** The rules added or removed after a version; undefined if that is too long ago. */
  changedAfter(version: number): PlacedRule[] | undefined {
    if (version < this.#horizon) return undefined;
    return this.#recent.filter((one) => one.version > version).flatMap(({ changed }) => changed);
  }
}
