/**
 * Who has what only one can have, when several claim it: the first in an order
 * that is the same everywhere. Kept as claims come and go, in any order.
 */
export class Claims<T> {
  readonly #first = new Map<string, T>();
  /** Behind the first, in order; only where there are any. */
  readonly #others = new Map<string, readonly T[]>();
  readonly #order: (a: T, b: T, key: string) => number;

  /** `order` is negative when `a` comes first, and never 0 for two claimants of one key. */
  constructor(order: (a: T, b: T, key: string) => number) {
    this.#order = order;
  }

  add(key: string, claimant: T): void {
    this.#keep(key, [...this.claimants(key), claimant]);
  }

  delete(key: string, claimant: T): void {
    this.#keep(
      key,
      this.claimants(key).filter((other) => other !== claimant),
    );
  }

  holder(key: string): T | undefined {
    return this.#first.get(key);
  }

  /** The holder, then the others in order. */
  claimants(key: string): T[] {
    const first = this.#first.get(key);
    return first === undefined ? [] : [first, ...(this.#others.get(key) ?? [])];
  }

  /** What more than one claims. */
  contested(): Iterable<string> {
    return this.#others.keys();
  }

  #keep(key: string, claimants: T[]): void {
    const [first, ...others] = claimants.sort((a, b) => this.#order(a, b, key));
    if (first === undefined) this.#first.delete(key);
    else this.#first.set(key, first);
    if (others.length === 0) this.#others.delete(key);
    else this.#others.set(key, others);
  }
}
