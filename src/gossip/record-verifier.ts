/**
 * Opens envelopes: the one place where a record becomes believed. The proofs of
 * a cluster are one tree of grants, so each grant is verified and kept once.
 */
import type { z } from "zod";
import { WeftError } from "../error.js";
import { evictOldest } from "../evict-oldest.js";
import { nodeId } from "../identity/identity.js";
import { unbundle } from "../lease/bundle.js";
import type { Cluster } from "../lease/genesis.js";
import { flawOfLease, type Grant, isSigned, type Proof, subnetOf } from "../lease/grant.js";
import type { AnyRecord, AttachedRecord } from "./attached-record.js";
import {
  bodySchema,
  type Envelope,
  isRecordSigned,
  type NodeRecord,
  type SignedRecord,
} from "./record.js";
import { NODE, RecordKinds } from "./record-kind.js";

/** Verified grants that are kept. Beyond that, those used longest ago are verified again. */
export const MAX_CACHED_GRANTS = 32_768;

export class RecordVerifier {
  /** Signatures it has verified: nearly all of its work. */
  signaturesVerified = 0;
  readonly #cluster: Cluster;
  readonly #kinds: RecordKinds;
  /** Grants whose signature is right, by that signature, those last used last. */
  readonly #grants = new Map<string, Grant>();

  /** @param kinds those whose bodies are read; records of others are verified and kept unread */
  constructor(cluster: Cluster, kinds = new RecordKinds([])) {
    this.#cluster = cluster;
    this.#kinds = kinds;
  }

  /**
   * The record in an envelope, or the reason why it must not be believed: `RECORD_FORGED` where any
   * node sees that, `RECORD_MALFORMED` where only a node sees it that knows the kind.
   */
  verify(envelope: Envelope): AnyRecord | WeftError {
    const { owner, kind, version } = envelope;
    this.signaturesVerified++;
    if (!isRecordSigned(this.#cluster, envelope)) return forged(owner, "its signature is wrong");
    const bytes = JSON.stringify(envelope).length;
    const record = { id: nodeId(owner), owner, kind, version, envelope, bytes };
    return kind === NODE ? this.#asNode({ ...record, kind }) : this.#asAttached(record);
  }

  #asNode(record: SignedRecord & { kind: typeof NODE }): NodeRecord | WeftError {
    const { owner, envelope } = record;
    const { content, flaw } = read(envelope.body, bodySchema);
    if (!content) return forged(owner, flaw);
    const proofs = unbundle(this.#cluster.genesis.founder, content.leases);
    if (!proofs) return forged(owner, "a proof names a grant that is not there");
    const why = this.#flawOf(owner, proofs);
    if (why) return forged(owner, why);
    const leases = proofs.map((proof) => proof.map((grant) => this.#cached(grant) ?? grant));
    return { ...content, ...record, leases };
  }

  #asAttached(record: SignedRecord): AttachedRecord | WeftError {
    const kind = this.#kinds.get(record.kind);
    if (!kind) return { ...record, content: undefined, isUrgent: false };
    const { body } = record.envelope;
    if (body.length > kind.maxBytes) {
      return malformed(record, `its body is longer than ${kind.maxBytes} bytes`);
    }
    const { content, flaw } = read(body, kind.schema);
    if (content === undefined) return malformed(record, flaw);
    return { ...record, content, isUrgent: kind.isUrgent };
  }

  /** The reason why the claims of `owner` are false; undefined if they are right. */
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

/** The content of a body, or what is wrong with its text. */
function read<T>(
  text: string,
  schema: z.ZodType<T>,
): { readonly content?: T | undefined; readonly flaw: string } {
  try {
    const { data, error } = schema.safeParse(JSON.parse(text));
    const field = error?.issues[0]?.path.join(".") || "body";
    return { content: data, flaw: `its ${field} is not what it must be` };
  } catch {
    return { flaw: "its body is not JSON" };
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

const malformed = ({ kind, owner }: SignedRecord, why: string): WeftError =>
  new WeftError(
    "RECORD_MALFORMED",
    `the record of kind ${kind} of node ${nodeId(owner)} is refused: ${why}`,
    "run the same version of weft there as here",
  );
