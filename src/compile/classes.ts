/**
 * The prefixes in rules. Each is a class: the addresses whose longest such prefix it is. The class of
 * an address determines all prefixes that it lies in: its own and those that cover it. Class 0 has the
 * addresses in none.
 */
import { covers, type Prefix } from "../address.js";
import { WeftError } from "../error.js";
import { NO_ROUTE, VALUES } from "./rib.js";

/** The class of addresses in no prefix of a rule. */
export const NO_CLASS = 0;

interface AddressClass {
  readonly prefix: Prefix;
  readonly id: number;
  users: number;
}

export class AddressClasses {
  readonly #byPrefix = new Map<string, AddressClass>();
  /** Classes by family and address, each before those it covers; removed ones stay until the next sort. */
  #order: AddressClass[] = [];
  #isSorted = true;
  /** Computed on demand. */
  #links: { readonly ids: number[]; readonly parents: Uint16Array } | undefined;
  readonly #free: number[] = [];
  #used = 1;
  /** Version at which an id last changed its class. */
  readonly changed = new Uint32Array(VALUES);
  /** Changes that the routes from addresses to classes lack. */
  #changes: { prefix: Prefix; value: number }[] = [];

  /**
   * Adds one use of each of these prefixes.
   * @throws WeftError ACL_FULL; then nothing has changed
   */
  useAll(prefixes: readonly Prefix[], version: number): void {
    let used = 0;
    try {
      for (; used < prefixes.length; used++) this.#use(prefixes[used]!, version);
    } catch (error) {
      for (const prefix of prefixes.slice(0, used)) this.drop(prefix, version);
      throw error;
    }
  }

  #use(prefix: Prefix, version: number): void {
    const known = this.#byPrefix.get(keyOf(prefix));
    if (known) {
      known.users++;
      return;
    }
    if (this.#byPrefix.size >= VALUES - 1) throw full();
    const id = this.#free.pop() ?? this.#used++;
    const made = { prefix, id, users: 1 };
    this.#byPrefix.set(keyOf(prefix), made);
    this.#order.push(made);
    this.#isSorted = false;
    this.#links = undefined;
    this.#changes.push({ prefix, value: id });
    this.changed[id] = version;
  }

  /** Removes one use of the prefix. */
  drop(prefix: Prefix, version: number): void {
    const known = this.#byPrefix.get(keyOf(prefix))!;
    if (--known.users > 0) return;
    this.#byPrefix.delete(keyOf(prefix));
    this.#isSorted = false;
    this.#links = undefined;
    this.#free.push(known.id);
    this.changed[known.id] = version;
    this.#changes.push({ prefix, value: NO_ROUTE });
  }

  idOf(prefix: Prefix): number {
    return this.#byPrefix.get(keyOf(prefix))!.id;
  }

  /** All ids but NO_CLASS, each before those it covers. */
  get ids(): readonly number[] {
    return this.#linked().ids;
  }

  /** By id: the class of the nearest prefix that covers its own, or NO_CLASS. */
  get parents(): Uint16Array {
    return this.#linked().parents;
  }

  /** One entry of `parents`. */
  parentOf(id: number): number {
    return this.#linked().parents[id]!;
  }

  /** Changes of the routes from addresses to classes since the last call. */
  takeChanges(): readonly { readonly prefix: Prefix; readonly value: number }[] {
    const last = new Map(this.#changes.map((change) => [keyOf(change.prefix), change]));
    this.#changes = [];
    return [...last.values()];
  }

  #linked(): { readonly ids: number[]; readonly parents: Uint16Array } {
    if (this.#links) return this.#links;
    const parents = new Uint16Array(VALUES);
    const above: AddressClass[] = [];
    for (const one of this.#sorted()) {
      while (above.length > 0 && !covers(above.at(-1)!.prefix, one.prefix)) above.pop();
      parents[one.id] = above.at(-1)?.id ?? NO_CLASS;
      above.push(one);
    }
    this.#links = { ids: this.#order.map(({ id }) => id), parents };
    return this.#links;
  }

  #sorted(): AddressClass[] {
    if (this.#isSorted) return this.#order;
    this.#order = this.#order
      .filter(({ users }) => users > 0)
      .sort((a, b) => inOrder(a.prefix, b.prefix));
    this.#isSorted = true;
    return this.#order;
  }
}

const keyOf = ({ family, base, length }: Prefix): string => `${family} ${length} ${base}`;

const inOrder = (a: Prefix, b: Prefix): number =>
  a.family - b.family || (a.base < b.base ? -1 : a.base > b.base ? 1 : a.length - b.length);

const full = (): WeftError =>
  new WeftError(
    "ACL_FULL",
    `the rules name more than ${VALUES - 1} different prefixes`,
    "use fewer, or wider ones",
  );
