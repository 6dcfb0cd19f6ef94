/**
 * Opens envelopes: the one place where a record becomes believed. The proofs of
 * a cluster are one tree of grants, so each grant is verified and kept once.
 */
import { WeftError } from "../error.js";
import { evictOldest } from "../evict-oldest.js";
import { nodeId } from "../identity/identity.js";
import { unbundle } from "../lease/bundle.js";
import type { Cluster } from "../lease/genesis.js";
import { flawOfLease, type Grant, isSigned, type Proof, subnetOf } from "../lease/grant.js";
import { type Body, bodySchema, type Envelope, isRecordSigned, type NodeRecord } from "./record.js";

/** Grants that are kept. Who makes up more costs the others the time to verify theirs again. */
export const MAX_CACHED_GRANTS = 32_768;

export class RecordVerifier {
  /** Signatures it has verified: nearly all of its work. */
  signaturesVerified = 0;
  readonly #cluster: Cluster;
  /** Grants whose signature is right, by that signature, those last used last. */
  readonly #grants = new Map<string, Grant>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** The record in an envelope, or the reason why it must not be believed. */
  verify(envelope: Envelope): NodeRecord | WeftError {
    const { owner, version } = envelope;
    this.signaturesVerified++;
    if (!isRecordSigned(this.#cluster, envelope)) return forged(owner, "its signature is wrong");
    const body = read(envelope.body);
    if (typeof body === "string") return forged(owner, body);
    const proofs = unbundle(this.#cluster.genesis.founder, body.leases);
    if (!proofs) return forged(owner, "a proof names a grant that is not there");
    const why = this.#flawOf(owner, proofs);
    if (why) return forged(owner, why);
    const leases = proofs.map((proof) => proof.map((grant) => this.#cached(grant) ?? grant));
    const bytes = JSON.stringify(envelope).length;
    return { ...body, id: nodeId(owner), owner, version, leases, envelope, bytes };
  }

  /** What is wrong with what `owner` claims, or nothing. */
  #flawOf(owner: string, proofs: readonly Proof[]): string | undefined {
    for (const proof of proofs) {
      const why = flawOfLease(this.#cluster, owner, proof, (grant) => this.#isSigned(grant));
      if (why) return `it claims ${subnetOf(proof)}, but ${why}`;
    }
    const subnets = proofs.map(subnetOf);
    return new Set(subnets).size < subnets.length ? "it claims a subnet twice" : undefined;
  }

  #isSigned(grant: Grant): boolean {
    if (this.#cached(grant)) return true;
    this.signaturesVerified++;
    if (!isSigned(this.#cluster, grant)) return false;
    this.#grants.set(grant.signature, grant);
    evictOldest(this.#grants, MAX_CACHED_GRANTS);
    return true;
  }

  /** The one of the kept that says the same. */
  #cached(grant: Grant): Grant | undefined {
    const kept = this.#grants.get(grant.signature);
    if (!kept || !same(kept, grant)) return undefined;
    this.#grants.delete(kept.signature);
    this.#grants.set(kept.signature, kept);
    return kept;
  }
}

/** The body, or what is wrong with its text. */
function read(text: string): Body | string {
  try {
    const { data, error } = bodySchema.safeParse(JSON.parse(text));
    return data ?? `its ${error?.issues[0]?.path.join(".") || "body"} is not what it must be`;
  } catch {
    return "its body is not JSON";
  }
}

const same = (a: Grant, b: Grant): boolean =>
  a.prefix === b.prefix &&
  a.from === b.from &&
  a.to === b.to &&
  a.sequence === b.sequence &&
  a.round === b.round &&
  a.signature === b.signature;

const forged = (owner: string, why: string): WeftError =>
  new WeftError(
    "RECORD_FORGED",
    `the record of node ${nodeId(owner)} is not to be believed: ${why}`,
    "find out what runs at the address it came from; if it is not yours, change the cluster secret",
  );
