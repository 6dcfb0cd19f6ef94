/** How leases are asked for, granted, confirmed and returned. docs/leases.md draws the exchange. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { attestationSchema, nonceSchema } from "../lease/attestation.js";
import { MAX_NETWORKS } from "../lease/genesis.js";
import { MAX_PROOFS_IN_ANSWER, proofSchema } from "../lease/grant.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

/** Of grants that are let go of at once. */
export const MAX_GIFTS = 64;
/** How many nodes one request for a lease may visit. */
export const MAX_VISITED = 256;

/** Ids of the nodes that need not be asked any more. */
const visited = z.array(field.id).max(MAX_VISITED);

export const leaseSpec = protocolSpec("leasing", [
  z.strictObject({
    type: z.literal("lease-request"),
    name: field.name,
    /** Public key of the node that wants space. Others carry its request on. */
    for: field.publicKey,
    /** The networks in which it lacks some. */
    networks: z.array(field.prefix).min(1).max(MAX_NETWORKS),
    /** Signatures of the gifts it has. */
    have: z.array(field.signature).max(MAX_GIFTS),
    visited,
  }),
  z.strictObject({
    type: z.literal("lease-status-query"),
    /** Public key of the node that asks which of its gifts count, and of the giver that knows. */
    for: field.publicKey,
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
    /** Signatures of the grants that this node has let go of. */
    gifts: z.array(field.signature).min(1).max(MAX_GIFTS),
  }),
  z.strictObject({
    type: z.literal("lease-refusal"),
    for: field.publicKey,
    reason: field.sentence,
    visited,
  }),
]);

export type LeaseMessage = MessagesOf<typeof leaseSpec>;
