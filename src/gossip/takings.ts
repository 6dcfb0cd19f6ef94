/**
 * What givers took back, by what their records say, so that all nodes know it at
 * once. A giver can take back what it gave, and what was given on of that.
 */
import { markOf, type Proof } from "../lease/grant.js";
import { dropOldest } from "../oldest.js";
import type { NodeRecord } from "./record.js";

/** Owners whose marks are kept: those heard last. An owner says its marks again with each renewal. */
export const MAX_TAKERS = 1024;

export class Takings {
  /** Marks of the grants that were taken back, by the public key of who took them; who was heard last comes last. */
  readonly #marks = new Map<string, ReadonlySet<string>>();

  /** Answers whether a record says something new. */
  learned({ owner, taken = [] }: Pick<NodeRecord, "owner" | "taken">): boolean {
    const known = this.#marks.get(owner);
    this.#marks.delete(owner);
    if (taken.length > 0) this.#marks.set(owner, new Set(taken));
    dropOldest(this.#marks, MAX_TAKERS);
    return taken.some((mark) => !known?.has(mark));
  }

  /** Whether everything that a record shows was taken back. */
  areAll({ owner, leases }: Pick<NodeRecord, "owner" | "leases">): boolean {
    return this.#marks.size > 0 && leases.every((proof) => this.from(owner, proof) !== undefined);
  }

  /**
   * The signature of the grant by which `holder` lost what a proof of its shows. What was taken
   * back above that, from a node that had given this on, does not matter: it stays the holder's.
   */
  from(holder: string, proof: Proof): string | undefined {
    const gift = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
    return proof.find((grant, i) => {
      const mark = markOf(grant.signature);
      const givers = proof.slice(0, i + 1).map(({ from }) => from);
      return gift >= 0 && i >= gift && givers.some((giver) => this.#marks.get(giver)?.has(mark));
    })?.signature;
  }
}
