/** How records are compared, asked for and sent. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";
import { BUCKET_DIGITS, BUCKETS } from "./digest-tree.js";
import { envelopeSchema, MAX_VERSION } from "./record.js";

/** Of ids in an `ask`, of pairs in a `versions` or `heard`. */
export const MAX_IDS = 256;
export const MAX_RECORDS_IN_MESSAGE = 64;

/** An end of a range of ids: nothing means it is open. */
const bound = z.union([field.id, z.literal("")]);

/** Of the record of one node. */
export const versionSchema = z.tuple([field.id, z.int().min(1).max(MAX_VERSION)]);

export type Version = z.infer<typeof versionSchema>;

const versions = z.array(versionSchema).max(MAX_IDS);

export const gossipSpec = protocolSpec("gossip", [
  z.strictObject({ type: z.literal("digest"), digest: field.digest }),
  z.strictObject({
    type: z.literal("buckets"),
    buckets: z.string().regex(new RegExp(`^[0-9a-f]{${BUCKETS * BUCKET_DIGITS}}$`)),
  }),
  z.strictObject({
    type: z.literal("versions"),
    /** The range of ids this page speaks for: from `after`, not included, to `until`, included. */
    after: bound,
    until: bound,
    versions,
  }),
  z.strictObject({ type: z.literal("have"), versions }),
  z.strictObject({ type: z.literal("want"), ids: z.array(field.id).max(MAX_IDS) }),
  z.strictObject({
    type: z.literal("records"),
    records: z.array(envelopeSchema).max(MAX_RECORDS_IN_MESSAGE),
  }),
]);

export type GossipMessage = MessagesOf<typeof gossipSpec>;
