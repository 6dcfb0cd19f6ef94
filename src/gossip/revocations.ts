/**
 * What givers took back, by what their records say, so that all nodes know it at
 * once. A giver can take back what it gave, and what was given on of that.
 */

import { evictOldest } from "../evict-oldest.js";
import { grantHash, type Proof } from "../lease/grant.js";
import type { NodeRecord } from "./record.js";

/** Owners whose marks are kept: those heard last. An owner says its marks again with each renewal. */
export const MAX_REVOKERS = 1024;

export class Revocations {
  /** Marks of the grants that were taken back, by the public key of who took them; who was heard last comes last. */
  readonly #hashes = new Map<string, ReadonlySet<string>>();

  /** Answers whether a record says something new. */
  merge({ owner, revoked = [] }: Pick<NodeRecord, "owner" | "revoked">): boolean {
    const known = this.#hashes.get(owner);
    this.#hashes.delete(owner);
    if (revoked.length > 0) this.#hashes.set(owner, new Set(revoked));
    evictOldest(this.#hashes, MAX_REVOKERS);
    return revoked.some((hash) => !known?.has(hash));
  }

  /** Whether everything that a record shows was taken back. */
  coverAll({ owner, leases }: Pick<NodeRecord, "owner" | "leases">): boolean {
    return (
      this.#hashes.size > 0 &&
      leases.every((proof) => this.revokedGrant(owner, proof) !== undefined)
    );
  }

  /**
   * The signature of the grant by which `holder` lost what a proof of its shows. What was taken
   * back above that, from a node that had given this on, does not matter: it stays the holder's.
   */
  revokedGrant(holder: string, proof: Proof): string | undefined {
    const gift = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
    return proof.find((grant, i) => {
      const hash = grantHash(grant.signature);
      const givers = proof.slice(0, i + 1).map(({ from }) => from);
      return gift >= 0 && i >= gift && givers.some((giver) => this.#hashes.get(giver)?.has(hash));
    })?.signature;
  }
}
