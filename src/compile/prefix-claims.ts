/** The owners of prefixes. No two claims here overlap. */
import { overlaps, type Prefix } from "../address.js";

export interface PrefixClaim {
  readonly prefix: Prefix;
  /** Result of a lookup in it. */
  readonly index: number;
  /** The peer's name; undefined for this node. */
  readonly name?: string;
}

export class PrefixClaims {
  /** In order of their addresses. */
  readonly #claims: PrefixClaim[] = [];

  /** Returns two claims that would overlap after this change; it changes nothing. */
  conflict(
    removed: ReadonlySet<PrefixClaim>,
    added: readonly PrefixClaim[],
  ): [PrefixClaim, PrefixClaim] | undefined {
    let wide: PrefixClaim | undefined;
    for (const claim of added.toSorted(inOrder)) {
      // In sorted order, a prefix overlaps an earlier one only if it overlaps the last wide one.
      if (wide && overlaps(wide.prefix, claim.prefix)) return [wide, claim];
      const other = this.#overlapping(claim).find((standing) => !removed.has(standing));
      if (other) return [other, claim].sort(inOrder) as [PrefixClaim, PrefixClaim];
      wide = claim;
    }
    return undefined;
  }

  /** Call `conflict` first. */
  replace(removed: Iterable<PrefixClaim>, added: readonly PrefixClaim[]): void {
    for (const claim of removed) this.#claims.splice(this.#place(claim), 1);
    for (const claim of added.toSorted(inOrder)) this.#claims.splice(this.#place(claim), 0, claim);
  }

  [Symbol.iterator](): Iterator<PrefixClaim> {
    return this.#claims.values();
  }

  /** The claims that overlap this one; they are adjacent, around its position. */
  #overlapping({ prefix }: PrefixClaim): PrefixClaim[] {
    const standing = this.#claims;
    const isAt = (i: number) => i in standing && overlaps(standing[i]!.prefix, prefix);
    let first = this.#place({ prefix, index: 0 });
    while (isAt(first - 1)) first--;
    let end = first;
    while (isAt(end)) end++;
    return standing.slice(first, end);
  }

  /** The number of claims before it. */
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
