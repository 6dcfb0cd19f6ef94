/** The sets of rules by class of address, for one direction and one end. */
import type { AddressField } from "./address-field.js";
import { ClassSets } from "./class-sets.js";
import { type AddressClasses, NO_CLASS } from "./classes.js";
import { VALUES } from "./rib.js";
import type { SetAllocator } from "./sets.js";

export class ClassTable {
  /** The set of each class. */
  readonly #words: Uint32Array;
  readonly #allocator: SetAllocator;
  /** By class, the set that is its own. */
  readonly #owned = new Uint32Array(VALUES);
  /** The class above each class, when it was last painted. */
  #parents: Uint16Array = NO_PARENTS;

  /** @param words VALUES words, all zero */
  constructor(words: Uint32Array, allocator: SetAllocator) {
    this.#words = words;
    this.#allocator = allocator;
  }

  clear(): void {
    this.#words.fill(0);
    this.#owned.fill(0);
  }

  /** Makes the set of a class again if it, or the set of the class above it, changed after this version. */
  paint(field: AddressField, classes: AddressClasses, version: number): void {
    const sets = new ClassSets(field, classes);
    const isPainted = new Uint8Array(VALUES);
    const paint = (id: number) => {
      isPainted[id] = 1;
      this.#allocator.release(this.#owned[id]!);
      this.#owned[id] = 0;
      if (field.hasOwn(id)) {
        this.#words[id] = this.#owned[id] = this.#allocator.put(sets.of(id));
      } else this.#words[id] = this.#words[classes.parentOf(id)]!;
    };
    if (field.changedAt(NO_CLASS) > version) paint(NO_CLASS);
    for (const id of classes.ids) {
      const parent = classes.parentOf(id);
      const isElsewhere = parent !== this.#parents[id];
      if (isPainted[parent] || isElsewhere || field.changedAt(id) > version) paint(id);
    }
    this.#parents = classes.parents;
  }
}

const NO_PARENTS = new Uint16Array(VALUES);
