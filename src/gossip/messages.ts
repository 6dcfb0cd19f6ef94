/** How records are compared, asked for and sent. */
import { z } from "zod";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";
import { BUCKET_DIGITS, BUCKETS } from "./digest-tree.js";
import { envelopeSchema, MAX_VERSION } from "./record.js";
import { recordKindName } from "./record-kind.js";

/** Of keys in a `want`, of versions in a `versions` or `have`. */
export const MAX_IDS = 256;
export const MAX_RECORDS_IN_MESSAGE = 64;

/** An end of a range of ids: nothing means it is open. */
const bound = z.union([field.id, z.literal("")]);

const version = z.int().min(1).max(MAX_VERSION);

/** A version of a record: the owner's id, the kind, the number. */
const versionSchema = z.tuple([field.id, recordKindName, version]);

/** A record, whatever its version: the owner's id, and the kind. */
const keySchema = z.tuple([field.id, recordKindName]);

/** A version of a record of the kind `node`, by its owner's id. */
export const nodeVersionSchema = z.tuple([field.id, version]);

export type Version = z.infer<typeof versionSchema>;
export type RecordKey = z.infer<typeof keySchema>;
export type NodeVersion = z.infer<typeof nodeVersionSchema>;

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
  z.strictObject({ type: z.literal("want"), keys: z.array(keySchema).max(MAX_IDS) }),
  z.strictObject({
    type: z.literal("records"),
    records: z.array(envelopeSchema).max(MAX_RECORDS_IN_MESSAGE),
  }),
]);

export type GossipMessage = MessagesOf<typeof gossipSpec>;
