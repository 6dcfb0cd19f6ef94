/**
 * What givers took back, by what their records say, so that all nodes know it at
 * once. A giver can take back what it gave, and what was given on of that.
 */
import { markOf, type Proof } from "../lease/grant.js";
import type { NodeRecord } from "./record.js";

export class Takings {
  /** Marks of the grants that were taken back, by the public key of who took them. */
  readonly #marks = new Map<string, ReadonlySet<string>>();

  /** Answers whether a record says something new. */
  learned({ owner, taken = [] }: Pick<NodeRecord, "owner" | "taken">): boolean {
    const known = this.#marks.get(owner);
    if (taken.length === 0) this.#marks.delete(owner);
    else this.#marks.set(owner, new Set(taken));
    return taken.some((mark) => !known?.has(mark));
  }

  /** Whether everything that a record shows was taken back. */
  areAll(leases: readonly Proof[]): boolean {
    return this.#marks.size > 0 && leases.every((proof) => this.in(proof) !== undefined);
  }

  /** The signature of the grant in a proof that was taken back. */
  in(proof: Proof): string | undefined {
    const above = new Set<string>();
    for (const grant of proof) {
      above.add(grant.from);
      const mark = markOf(grant.signature);
      for (const giver of above) if (this.#marks.get(giver)?.has(mark)) return grant.signature;
    }
    return undefined;
  }
}
