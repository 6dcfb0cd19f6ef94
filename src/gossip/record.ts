/**
 * A record holds what its owner publishes about one subject, its kind. The owner signs it, so any node
 * can pass it on and none can change it. Owner, kind and version stand outside of the body, so that a
 * record which is not newer than the one held is never verified or parsed.
 */
import { z } from "zod";
import * as field from "../identity/fields.js";
import type { Identity } from "../identity/identity.js";
import { bundle, bundleSchema, MAX_PROOFS } from "../lease/bundle.js";
import { type Cluster, MAX_NETWORKS } from "../lease/genesis.js";
import { MAX_REVOKED_IN_RECORD, type Proof } from "../lease/grant.js";
import { MAX_BODY_BYTES, NODE, recordKindName } from "./record-kind.js";

/** A version every second for 68 years. */
export const MAX_VERSION = 2 ** 31 - 1;
export const MAX_LEASES = MAX_PROOFS;
export const MAX_VNI = 2 ** 24 - 1;
/** How often a node says anew what it said, in milliseconds. */
export const RENEW_EVERY = 3600_000;
export { LEASE_TTL } from "../lease/fence.js";

export const envelopeSchema = z.strictObject({
  /** The owner's public key. */
  owner: field.publicKey,
  kind: recordKindName,
  version: z.int().min(1).max(MAX_VERSION),
  /** The JSON text of a body. */
  body: field.line(MAX_BODY_BYTES),
  signature: field.signature,
});

/** The body of a record of the kind `node`. */
export const bodySchema = z.strictObject({
  name: field.name,
  /** Where to dial the owner's mesh port. */
  mesh: field.endpoint,
  /** Where to send VXLAN. */
  vtep: field.endpoint,
  mac: field.mac,
  vni: z.int().min(1).max(MAX_VNI),
  /** Drawn when the owner's run began: probes name it, so that those for an earlier run are refused. */
  epoch: field.epoch,
  /** The proof of each lease. */
  leases: bundleSchema,
  /** When this was said, in milliseconds since the epoch, by the owner's clock. */
  renewed: field.time,
  /** The owner has stopped. Its leases stay its own. */
  withdrawn: z.boolean(),
  /** Free space of the owner in each network of the genesis, in that order: log2 of the leases in its largest block. Absent: none. */
  free: z.array(z.int().min(0).max(128).nullable()).max(MAX_NETWORKS).exactOptional(),
  /** Marks of the grants, the owner's or below one of its own, that it took back. Absent: none. */
  revoked: z.array(field.shortHash).max(MAX_REVOKED_IN_RECORD).exactOptional(),
  /** Congestion marks on outer headers reach the packets inside (RFC 6040). Absent: they are lost. */
  ecn: z.literal(true).exactOptional(),
});

export type Envelope = z.infer<typeof envelopeSchema>;
export type Body = z.infer<typeof bodySchema>;

/** The content of a node record. */
export type RecordContent = Readonly<Omit<Body, "leases">> & { readonly leases: readonly Proof[] };

/** The fields that records of all kinds have once their signature is verified. */
export interface SignedRecord {
  /** The owner's node id. */
  readonly id: string;
  /** The owner's public key. */
  readonly owner: string;
  readonly kind: string;
  readonly version: number;
  /** As it came, to be sent on. */
  readonly envelope: Envelope;
  /** Its size in a message. */
  readonly bytes: number;
}

/** The record that makes its owner a member: its content is verified, the proofs of its leases included. */
export type NodeRecord = RecordContent & SignedRecord & { readonly kind: typeof NODE };

export const isNodeRecord = (record: SignedRecord): record is NodeRecord => record.kind === NODE;

/** The record's owner, for people: the name that it chose, and the id that it cannot choose. */
export const nameAndId = ({ name, id }: Pick<NodeRecord, "name" | "id">): string =>
  `${name} (${id})`;

/** A record of the kind `node`. */
export function signRecord(
  owner: Identity,
  cluster: Cluster,
  version: number,
  said: RecordContent,
): Envelope {
  const body: Body = { ...said, leases: bundle(said.leases) };
  return signBody(owner, cluster, { kind: NODE, version, body: JSON.stringify(body) });
}

export function signBody(
  owner: Identity,
  cluster: Cluster,
  { kind, version, body }: Pick<Envelope, "kind" | "version" | "body">,
): Envelope {
  const sealed = { owner: owner.publicKey, kind, version, body };
  return { ...sealed, signature: owner.sign(signedText(cluster, sealed)) };
}

/** Whether its owner has sealed it, for this cluster. */
export const isRecordSigned = (cluster: Cluster, envelope: Envelope): boolean =>
  cluster.signatures.verify(envelope.owner, signedText(cluster, envelope), envelope.signature);

/** Whether nothing that packets depend on changed from one node record of an owner to the next. */
export const isRenewal = (old: NodeRecord, young: NodeRecord): boolean =>
  contentKey(old) === contentKey(young);

const contentKey = ({
  id,
  owner,
  version,
  envelope,
  bytes,
  renewed,
  free,
  ...rest
}: NodeRecord): string => JSON.stringify(rest);

const signedText = (
  { id }: Cluster,
  { owner, kind, version, body }: Omit<Envelope, "signature">,
): string => `weft record 3\n${id}\n${owner}\n${kind}\n${version}\n${body}`;
