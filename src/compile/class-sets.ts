/**
 * The sets of the classes of a field. The set of a class is that of the class above it plus the rules
 * about its own prefix, so the cost does not depend on how deep prefixes are nested.
 */
import type { AddressField } from "./address-field.js";
import { type AddressClasses, NO_CLASS } from "./classes.js";
import { add, has, remove, SET_WORDS } from "./sets.js";

const EMPTY = new Uint32Array(SET_WORDS);

export class ClassSets {
  readonly #field: AddressField;
  readonly #classes: AddressClasses;
  /**
   * The path from NO_CLASS down to the class of the last call: at each level its id, its set, and
   * the rules that exclude it.
   */
  readonly #ids: number[] = [];
  readonly #sets: Uint32Array[] = [];
  readonly #excluding: Uint32Array[] = [];

  constructor(field: AddressField, classes: AddressClasses) {
    this.#field = field;
    this.#classes = classes;
  }

  /** The set of a class, valid until the next call. Cheapest in the order of `Classes.ids`. */
  of(id: number): Uint32Array {
    const way = this.#pathTo(id);
    const known = way.findIndex((one, level) => one !== this.#ids[level]);
    for (let level = known < 0 ? way.length : known; level < way.length; level++) {
      this.#make(level, way[level]!);
    }
    this.#ids.length = way.length;
    return this.#sets[way.length - 1]!;
  }

  /** This class, behind the classes above it that have sets of their own. */
  #pathTo(id: number): number[] {
    const way = [id];
    for (let one = id; one !== NO_CLASS; ) {
      one = this.#classes.parentOf(one);
      if (this.#field.hasOwn(one)) way.push(one);
    }
    return way.reverse();
  }

  #make(level: number, id: number): void {
    this.#sets[level] ??= new Uint32Array(SET_WORDS);
    this.#excluding[level] ??= new Uint32Array(SET_WORDS);
    const [set, excluding] = [this.#sets[level], this.#excluding[level]];
    set.set(this.#sets[level - 1] ?? this.#field.anywhere);
    excluding.set(this.#excluding[level - 1] ?? EMPTY);
    this.#ids[level] = id;
    const named = this.#field.namedBy(id);
    if (!named) return;
    for (const bit of named.in) if (!has(excluding, bit)) add(set, bit);
    for (const bit of named.not) {
      add(excluding, bit);
      remove(set, bit);
    }
  }
}
