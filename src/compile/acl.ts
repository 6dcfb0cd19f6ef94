/**
 * The access lists of a node, in the shape of the table that the core searches (`assembly/tables/acl.ts`
 * draws it). Each rule has a bit, and each value of a field has the set of rules that the field does
 * not exclude. Each part notes the version of its last change: a copy of the table
 * (`src/compile/acl-table.ts`) writes only what it lacks, when it is the spare one.
 */
import { WeftError } from "../error.js";
import type { AclRules } from "./acl-rule.js";
import { AddressClasses } from "./classes.js";
import { DirectionRules } from "./direction-rules.js";
import { Rib, routeList } from "./rib.js";
import { MAX_RULES } from "./sets.js";

export class Acl {
  /** Number of changes; a table that was never painted has version 0. */
  version = 0;
  readonly classes = new AddressClasses();
  readonly ribs = { 4: new Rib(4), 6: new Rib(6) };
  readonly directions = [0, 1].map(() => new DirectionRules(this.classes));

  /**
   * Replaces the rules. The same objects as before keep their bits if possible.
   * @throws WeftError ACL_FULL; then nothing has changed
   */
  update(rules: AclRules): void {
    for (const list of rules) if (list.length > MAX_RULES) throw tooMany(list.length);
    const before = this.directions.map(({ list }) => list);
    try {
      this.#apply(rules);
    } catch {
      // New prefixes are added before old ones are removed; without the old ones there may be room.
      this.#apply([[], []]);
      this.#applyOrRestore(rules, [before[0]!, before[1]!]);
    }
  }

  #applyOrRestore(rules: AclRules, before: AclRules): void {
    try {
      this.#apply(rules);
    } catch (error) {
      this.#apply([[], []]);
      this.#apply(before);
      throw error;
    }
  }

  #apply(rules: AclRules): void {
    this.version++;
    this.directions.forEach((direction, i) => {
      direction.update(rules[i]!, this.version);
    });
    const changes = this.classes.takeChanges();
    for (const family of [4, 6] as const) {
      const of = changes.filter(({ prefix }) => prefix.family === family);
      this.ribs[family].apply(routeList(family, of));
    }
  }
}

const tooMany = (count: number): WeftError =>
  new WeftError(
    "ACL_FULL",
    `${count} rules are more than the ${MAX_RULES} that each direction can have`,
    "use fewer rules: one rule may name many addresses and ports",
  );
