/**
 * The grants that their granters revoked, as their records say, so that all nodes know it at once. A
 * granter can revoke what it granted, and what was granted on from that.
 */

import { evictOldest } from "../evict-oldest.js";
import { grantHash, type Proof } from "../lease/grant.js";
import type { NodeRecord } from "./record.js";

/** Owners whose revocations are kept, those heard last. Each renewal of a record repeats them. */
export const MAX_REVOKERS = 1024;

export class Revocations {
  /** Hashes of revoked grants by the revoker's public key; the revoker heard last comes last. */
  readonly #hashes = new Map<string, ReadonlySet<string>>();

  /** Takes the revocations of a record. @returns whether one of them is new */
  merge({ owner, revoked = [] }: Pick<NodeRecord, "owner" | "revoked">): boolean {
    const known = this.#hashes.get(owner);
    this.#hashes.delete(owner);
    if (revoked.length > 0) this.#hashes.set(owner, new Set(revoked));
    evictOldest(this.#hashes, MAX_REVOKERS);
    return revoked.some((hash) => !known?.has(hash));
  }

  /** Whether all leases of a record are revoked. */
  coverAll({ owner, leases }: Pick<NodeRecord, "owner" | "leases">): boolean {
    return (
      this.#hashes.size > 0 &&
      leases.every((proof) => this.revokedGrant(owner, proof) !== undefined)
    );
  }

  /**
   * The signature of the revoked grant by which `holder` lost the lease of a proof. A grant revoked
   * further up, from a node that had already granted this on, does not count: the lease stays.
   */
  revokedGrant(holder: string, proof: Proof): string | undefined {
    const own = proof.findLastIndex(({ from, to }) => to === holder && from !== holder);
    return proof.find((grant, i) => {
      const hash = grantHash(grant.signature);
      const granters = proof.slice(0, i + 1).map(({ from }) => from);
      return (
        own >= 0 && i >= own && granters.some((granter) => this.#hashes.get(granter)?.has(hash))
      );
    })?.signature;
  }
}
