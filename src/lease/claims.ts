/**
 * Claims decide which of several claimants holds a key that only one can hold: the first in an
 * order that is the same on every node. Claims are added and deleted in any sequence.
 */
export class Claims<T> {
  /** The claimants of each key, in order; never an empty list. */
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

  /** The keys with more than one claimant. */
  contested(): string[] {
    return [...this.#claimants].flatMap(([key, { length }]) => (length > 1 ? [key] : []));
  }

  /** The number of claimants in `all` that come before this one, by binary search. */
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
