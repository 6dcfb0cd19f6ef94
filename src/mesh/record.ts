/**
 * A record: what one node says of itself. Signed by its owner, so anybody can
 * carry it and nobody can change it.
 */
import { z } from "zod";
import { WeftError } from "../error.js";
import type { Cluster } from "../lease/genesis.js";
import { flaw, proofSchema } from "../lease/grant.js";
import { canonical } from "./canonical.js";
import * as field from "./fields.js";
import { type Identity, nodeId, verified } from "./identity.js";

/** A version every second for 68 years. */
export const MAX_VERSION = 2 ** 31 - 1;
export const MAX_LEASES = 16;
export const MAX_RECORD_BYTES = 16 * 1024;
export const MAX_VNI = 2 ** 24 - 1;
export { LEASE_TTL } from "../lease/fence.js";

const saidSchema = z.strictObject({
  /** The owner's public key. */
  owner: field.publicKey,
  version: z.int().min(1).max(MAX_VERSION),
  name: field.name,
  /** Where to dial the owner's mesh port. */
  mesh: field.endpoint,
  /** Where to send VXLAN. */
  vtep: field.endpoint,
  mac: field.mac,
  vni: z.int().min(1).max(MAX_VNI),
  /** The proof of each lease. */
  leases: z.array(proofSchema).min(1).max(MAX_LEASES),
  /** When this was said, in milliseconds since the epoch, by the owner's clock. */
  renewed: z.int().min(0),
  /** The owner has stopped. Its leases stay its own. */
  withdrawn: z.boolean(),
});

export const recordSchema = saidSchema.extend({ signature: field.signature });

/** A record before it is signed. */
export type Said = z.infer<typeof saidSchema>;
export type NodeRecord = z.infer<typeof recordSchema>;

export const signRecord = (owner: Identity, cluster: Cluster, said: Said): NodeRecord => ({
  ...said,
  signature: owner.sign(signedText(cluster, said)),
});

/** The reason why a well-formed record must not be believed, or nothing. */
export function disbelief(cluster: Cluster, record: NodeRecord): WeftError | undefined {
  const { signature, ...said } = record;
  if (JSON.stringify(record).length > MAX_RECORD_BYTES) return bad(record, "it is too large");
  if (!verified(said.owner, signedText(cluster, said), signature)) {
    return bad(record, "its signature is wrong");
  }
  for (const proof of said.leases) {
    const why = flaw(cluster, said.owner, proof);
    if (why) return bad(record, `it claims ${proof.at(-1)?.prefix}, but ${why}`);
  }
  return undefined;
}

export const ownerId = ({ owner }: NodeRecord): string => nodeId(owner);

/** Whether all that changed from one record of an owner to the next is that it was renewed. */
export const isRenewal = (old: NodeRecord, young: NodeRecord): boolean =>
  unrenewed(old) === unrenewed(young);

const unrenewed = ({ version: _, renewed: __, signature: ___, ...rest }: NodeRecord): string =>
  canonical(rest);

const signedText = ({ id }: Cluster, said: Said): string =>
  `weft record 1\n${canonical({ ...said, cluster: id })}`;

const bad = (record: NodeRecord, why: string): WeftError =>
  new WeftError(
    "RECORD_FORGED",
    `the record of ${record.name} (${ownerId(record)}) is not to be believed: ${why}`,
    "find out what runs at the address it came from; if it is not yours, change the cluster secret",
  );
