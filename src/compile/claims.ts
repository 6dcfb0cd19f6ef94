/** Who holds which addresses. No two claims that stand here share one. */
import { overlaps, type Prefix } from "../address.js";

export interface Claim {
  readonly prefix: Prefix;
  /** What a lookup answers there. */
  readonly index: number;
  /** The peer's; this node has none. */
  readonly name?: string;
}

export class Claims {
  /** In order of their addresses. */
  readonly #standing: Claim[] = [];

  /** Two that would share addresses if these went and those came; nothing changes yet. */
  conflict(gone: ReadonlySet<Claim>, come: readonly Claim[]): [Claim, Claim] | undefined {
    let wide: Claim | undefined;
    for (const claim of come.toSorted(inOrder)) {
      // In order, a prefix shares addresses with an earlier one only if it does with the last wide one.
      if (wide && overlaps(wide.prefix, claim.prefix)) return [wide, claim];
      const other = this.#overlapping(claim).find((standing) => !gone.has(standing));
      if (other) return [other, claim].sort(inOrder) as [Claim, Claim];
      wide = claim;
    }
    return undefined;
  }

  /** To be asked for conflicts first. */
  exchange(gone: Iterable<Claim>, come: readonly Claim[]): void {
    for (const claim of gone) this.#standing.splice(this.#place(claim), 1);
    for (const claim of come.toSorted(inOrder)) this.#standing.splice(this.#place(claim), 0, claim);
  }

  [Symbol.iterator](): Iterator<Claim> {
    return this.#standing.values();
  }

  /** Those that share addresses with this one lie together, around its place. */
  #overlapping({ prefix }: Claim): Claim[] {
    const standing = this.#standing;
    const isAt = (i: number) => i in standing && overlaps(standing[i]!.prefix, prefix);
    let first = this.#place({ prefix, index: 0 });
    while (isAt(first - 1)) first--;
    let end = first;
    while (isAt(end)) end++;
    return standing.slice(first, end);
  }

  /** How many come before it. */
  #place(claim: Claim): number {
    let low = 0;
    let high = this.#standing.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (inOrder(this.#standing[middle]!, claim) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function inOrder({ prefix: a }: Claim, { prefix: b }: Claim): number {
  return (
    a.family - b.family || Number(a.base > b.base) - Number(a.base < b.base) || a.length - b.length
  );
}
