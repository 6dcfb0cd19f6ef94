/** Who holds which addresses. No two claims that stand here share one. */
import { overlaps, type Prefix } from "../address.js";

export interface PrefixClaim {
  readonly prefix: Prefix;
  /** What a lookup answers there. */
  readonly index: number;
  /** The peer's; this node has none. */
  readonly name?: string;
}

export class PrefixClaims {
  /** In order of their addresses. */
  readonly #claims: PrefixClaim[] = [];

  /** Two that would share addresses if these went and those came; nothing changes yet. */
  conflict(
    removed: ReadonlySet<PrefixClaim>,
    added: readonly PrefixClaim[],
  ): [PrefixClaim, PrefixClaim] | undefined {
    let wide: PrefixClaim | undefined;
    for (const claim of added.toSorted(inOrder)) {
      // In order, a prefix shares addresses with an earlier one only if it does with the last wide one.
      if (wide && overlaps(wide.prefix, claim.prefix)) return [wide, claim];
      const other = this.#overlapping(claim).find((standing) => !removed.has(standing));
      if (other) return [other, claim].sort(inOrder) as [PrefixClaim, PrefixClaim];
      wide = claim;
    }
    return undefined;
  }

  /** To be asked for conflicts first. */
  replace(removed: Iterable<PrefixClaim>, added: readonly PrefixClaim[]): void {
    for (const claim of removed) this.#claims.splice(this.#place(claim), 1);
    for (const claim of added.toSorted(inOrder)) this.#claims.splice(this.#place(claim), 0, claim);
  }

  [Symbol.iterator](): Iterator<PrefixClaim> {
    return this.#claims.values();
  }

  /** Those that share addresses with this one lie together, around its place. */
  #overlapping({ prefix }: PrefixClaim): PrefixClaim[] {
    const standing = this.#claims;
    const isAt = (i: number) => i in standing && overlaps(standing[i]!.prefix, prefix);
    let first = this.#place({ prefix, index: 0 });
    while (isAt(first - 1)) first--;
    let end = first;
    while (isAt(end)) end++;
    return standing.slice(first, end);
  }

  /** How many come before it. */
  #place(claim: PrefixClaim): number {
    let low = 0;
    let high = this.#claims.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (inOrder(this.#claims[middle]!, claim) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function inOrder({ prefix: a }: PrefixClaim, { prefix: b }: PrefixClaim): number {
  return (
    a.family - b.family || Number(a.base > b.base) - Number(a.base < b.base) || a.length - b.length
  );
}
