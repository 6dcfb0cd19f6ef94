/**
 * An attestation is a granter's signed list of its grants to a node that still count. It answers
 * one status query and repeats the query's nonce, so a node that forwards it can neither change
 * nor replay it.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { canonicalJson } from "../identity/canonical-json.js";
import * as field from "../identity/fields.js";
import type { Identity } from "../identity/identity.js";
import { MAX_PROOFS } from "./bundle.js";
import type { Cluster } from "./genesis.js";

/**
 * Grants that an attestation names: `MAX_PROOFS` in each of four networks. A granter makes no more
 * to one node, but its journal can get earlier ones back after a restore.
 */
export const MAX_ATTESTED = 4 * MAX_PROOFS;

export const nonceSchema = z.string().regex(/^[0-9a-f]{32}$/);

export const attestationSchema = z.strictObject({
  /** Public keys of the granter and of the node that asked. */
  from: field.publicKey,
  to: field.publicKey,
  nonce: nonceSchema,
  /** Signatures of the grants that count. */
  grants: z.array(field.signature).max(MAX_ATTESTED),
  signature: field.signature,
});

export type Attestation = z.infer<typeof attestationSchema>;
type AttestationContent = Omit<Attestation, "from" | "signature">;

export const freshNonce = (): string => randomBytes(16).toString("hex");

export function attest(
  granter: Identity,
  cluster: Cluster,
  content: AttestationContent,
): Attestation {
  const attestation = { ...content, from: granter.publicKey };
  return { ...attestation, signature: granter.sign(signedText(cluster, attestation)) };
}

export const isAttestation = (
  cluster: Cluster,
  { signature, ...attestation }: Attestation,
): boolean =>
  cluster.signatures.verify(attestation.from, signedText(cluster, attestation), signature);

const signedText = ({ id }: Cluster, attestation: Omit<Attestation, "signature">): string =>
  `weft attestation 1\n${canonicalJson({ ...attestation, cluster: id })}`;
