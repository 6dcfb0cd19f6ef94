/** How leases are asked for, granted, confirmed and returned. docs/leases.md draws the exchange. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { attestationSchema, nonceSchema } from "../lease/attestation.js";
import { MAX_NETWORKS } from "../lease/genesis.js";
import { MAX_PROOFS_IN_ANSWER, proofSchema } from "../lease/grant.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

/** Grants that one message names. */
export const MAX_GRANTS_IN_MESSAGE = 64;
/** Nodes that one request visits at most. */
export const MAX_VISITED = 256;

/** Ids of the nodes that have seen the request, which is not forwarded to them again. */
const visited = z.array(field.id).max(MAX_VISITED);

export const leaseSpec = protocolSpec("leasing", [
  z.strictObject({
    type: z.literal("lease-request"),
    name: field.name,
    /** Public key of the node that asks for space; another node may have forwarded its request. */
    for: field.publicKey,
    /** Prefixes of the networks in which it lacks a lease. */
    networks: z.array(field.prefix).min(1).max(MAX_NETWORKS),
    /** Signatures of the grants it has. */
    have: z.array(field.signature).max(MAX_GRANTS_IN_MESSAGE),
    visited,
  }),
  z.strictObject({
    type: z.literal("lease-status-query"),
    /** Public key of the node that asks which of its grants count. */
    for: field.publicKey,
    /** Public key of the granter, which attests them. */
    of: field.publicKey,
    nonce: nonceSchema,
    visited,
  }),
  z.strictObject({
    type: z.literal("lease-grant"),
    proofs: z.array(proofSchema).min(1).max(MAX_PROOFS_IN_ANSWER),
  }),
  z.strictObject({ type: z.literal("lease-attestation"), attestation: attestationSchema }),
  z.strictObject({
    type: z.literal("lease-return"),
    /** Signatures of the grants that the sender returns. */
    grants: z.array(field.signature).min(1).max(MAX_GRANTS_IN_MESSAGE),
  }),
  z.strictObject({
    type: z.literal("lease-refusal"),
    for: field.publicKey,
    reason: field.sentence,
    visited,
  }),
]);

export type LeaseMessage = MessagesOf<typeof leaseSpec>;
