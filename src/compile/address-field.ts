/** The rules of one direction by the addresses of one end, with the version of the last change of each class. */
import type { Prefix } from "../address.js";
import type { Addresses } from "./acl-rule.js";
import { type AddressClasses, NO_CLASS } from "./classes.js";
import { VALUES } from "./rib.js";
import { add, remove, SET_WORDS } from "./sets.js";

/** The rules that name a prefix, as bits. */
interface Named {
  readonly in: Set<number>;
  readonly not: Set<number>;
}

export class AddressField {
  readonly #classes: AddressClasses;
  readonly #anywhere = new Uint32Array(SET_WORDS);
  #anywhereChanged = 0;
  /** By class: the rules that name its prefix. */
  readonly #named = new Map<number, Named>();
  readonly #changed = new Uint32Array(VALUES);

  constructor(classes: AddressClasses) {
    this.#classes = classes;
  }

  add({ in: inside, not }: Addresses, bit: number, version: number): void {
    if (inside.length === 0) this.#setAnywhere(add, bit, version);
    for (const prefix of inside) this.#namedAt(prefix, version).in.add(bit);
    for (const prefix of not) this.#namedAt(prefix, version).not.add(bit);
  }

  remove({ in: inside, not }: Addresses, bit: number, version: number): void {
    if (inside.length === 0) this.#setAnywhere(remove, bit, version);
    for (const prefix of inside) this.#namedAt(prefix, version).in.delete(bit);
    for (const prefix of not) this.#namedAt(prefix, version).not.delete(bit);
  }

  /** The rules that match any address here. */
  get anywhere(): Uint32Array {
    return this.#anywhere;
  }

  /** The rules that name the prefix of a class. */
  namedBy(id: number): Named | undefined {
    return this.#named.get(id);
  }

  /** Version of the last change of this class's own rules. It affects the classes that it covers too. */
  changedAt(id: number): number {
    if (id === NO_CLASS) return this.#anywhereChanged;
    return Math.max(this.#changed[id]!, this.#classes.changed[id]!);
  }

  /** Whether this class has its own set; otherwise it uses that of the nearest class above it. */
  hasOwn(id: number): boolean {
    const named = this.#named.get(id);
    return id === NO_CLASS || (named !== undefined && named.in.size + named.not.size > 0);
  }

  #setAnywhere(change: typeof add, bit: number, version: number): void {
    change(this.#anywhere, bit);
    this.#anywhereChanged = version;
  }

  #namedAt(prefix: Prefix, version: number): Named {
    const id = this.#classes.idOf(prefix);
    this.#changed[id] = version;
    const named = this.#named.get(id) ?? { in: new Set(), not: new Set() };
    this.#named.set(id, named);
    return named;
  }
}
