/**
 * Who has what only one can have, when several claim it: the first in an order
 * that is the same everywhere. Kept as claims come and go, in any order.
 */
export class Claims<T> {
  /** Those who claim a thing, in order; there is at least one. */
  readonly #claimants = new Map<string, T[]>();
  readonly #order: (a: T, b: T, key: string) => number;

  /** `order` is negative when `a` comes first, and never 0 for two claimants of one key. */
  constructor(order: (a: T, b: T, key: string) => number) {
    this.#order = order;
  }

  add(key: string, claimant: T): void {
    const all = this.#claimants.get(key);
    if (all) all.splice(this.#place(key, claimant, all), 0, claimant);
    else this.#claimants.set(key, [claimant]);
  }

  delete(key: string, claimant: T): void {
    const all = this.#claimants.get(key);
    const at = all?.indexOf(claimant) ?? -1;
    if (!all || at < 0) return;
    if (all.length > 1) all.splice(at, 1);
    else this.#claimants.delete(key);
  }

  holder(key: string): T | undefined {
    return this.#claimants.get(key)?.[0];
  }

  /** The holder, then the others in order. */
  claimants(key: string): readonly T[] {
    return this.#claimants.get(key) ?? [];
  }

  /** What more than one claims. */
  contested(): string[] {
    return [...this.#claimants].flatMap(([key, { length }]) => (length > 1 ? [key] : []));
  }

  /** How many of `all` come before. */
  #place(key: string, claimant: T, all: readonly T[]): number {
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order(all[middle]!, claimant, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
