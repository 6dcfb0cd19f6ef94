/** What two nodes say to each other. JSON, one message a frame; every field is checked, no field is extra. */
import { z } from "zod";
import { type Told, toldSchema } from "../explain/told.js";
import { genesisSchema, MAX_NETWORKS } from "../lease/genesis.js";
import { MAX_GIVEN, proofSchema } from "../lease/grant.js";
import { nonceSchema, wordSchema } from "../lease/word.js";
import * as field from "./fields.js";
import { MAX_RELAYS } from "./probe.js";
import { envelopeSchema, MAX_VERSION } from "./record.js";
import { MAX_PART_TEXT, MAX_PARTS, sealSchema } from "./sealed-policy.js";
import { BRANCH_DIGITS, BRANCHES } from "./summary.js";

export const PROTOCOL = 3;
export const MAX_MESSAGE_BYTES = 64 * 1024;
/** Of ids in an `ask`, of pairs in a `versions`, `heard` or `doubt`. */
export const MAX_IDS = 256;
export const MAX_RECORDS_IN_MESSAGE = 64;
/** Of grants that are let go of at once. */
export const MAX_GIFTS = 64;
/** Of paths in an `offer`. */
export const MAX_PATHS = 64;
/** How many nodes one request for a lease may visit. */
export const MAX_SEEN = 256;
/** Of a packet that is to be tried: no jumbo frame holds more. */
export const MAX_ASKED_BYTES = 9_216;
/** How long who asks what becomes of a packet waits, in milliseconds. */
export const ANSWER_WITHIN = 4_000;

const count = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
/** An end of a range of ids: nothing means it is open. */
const bound = z.union([field.id, z.literal("")]);

const version = z.tuple([field.id, z.int().min(1).max(MAX_VERSION)]);

const base64 = z.string().regex(/^[A-Za-z0-9+/]+={0,2}$/);

/** A node that was not asked what becomes of a packet, and who would have handed it the packet. */
const unaskedSchema = z.strictObject({ node: field.name, from: field.name, why: field.sentence });

const messageSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("hello"),
    protocol: count,
    key: field.publicKey,
    instance: field.id,
    signature: field.signature,
  }),
  z.strictObject({ type: z.literal("cluster"), genesis: genesisSchema }),
  z.strictObject({ type: z.literal("digest"), digest: z.string().regex(/^[0-9a-f]{64}$/) }),
  z.strictObject({
    type: z.literal("branches"),
    branches: z.string().regex(new RegExp(`^[0-9a-f]{${BRANCHES * BRANCH_DIGITS}}$`)),
  }),
  z.strictObject({
    type: z.literal("versions"),
    /** The range of ids this page speaks for: from `after`, not included, to `until`, included. */
    after: bound,
    until: bound,
    versions: z.array(version).max(MAX_IDS),
  }),
  z.strictObject({ type: z.literal("heard"), versions: z.array(version).max(MAX_IDS) }),
  z.strictObject({ type: z.literal("ask"), ids: z.array(field.id).max(MAX_IDS) }),
  z.strictObject({
    type: z.literal("records"),
    records: z.array(envelopeSchema).max(MAX_RECORDS_IN_MESSAGE),
  }),
  z.strictObject({
    type: z.literal("lease-request"),
    name: field.name,
    /** Public key of the node that wants space. Others carry its request on. */
    for: field.publicKey,
    /** The networks in which it lacks some. */
    networks: z.array(field.prefix).min(1).max(MAX_NETWORKS),
    /** Signatures of the gifts it has. */
    have: z.array(field.signature).max(MAX_GIFTS),
    /** Ids of the nodes that need not be asked any more. */
    seen: z.array(field.id).max(MAX_SEEN),
  }),
  z.strictObject({
    type: z.literal("lease-question"),
    /** Public key of the node that asks which of its gifts count, and of the giver that knows. */
    for: field.publicKey,
    of: field.publicKey,
    nonce: nonceSchema,
    seen: z.array(field.id).max(MAX_SEEN),
  }),
  z.strictObject({
    type: z.literal("lease-grant"),
    proofs: z.array(proofSchema).min(1).max(MAX_GIVEN),
  }),
  z.strictObject({ type: z.literal("lease-word"), word: wordSchema }),
  z.strictObject({
    type: z.literal("lease-return"),
    /** Signatures of the grants that this node has let go of. */
    gifts: z.array(field.signature).min(1).max(MAX_GIFTS),
  }),
  z.strictObject({
    type: z.literal("lease-refusal"),
    for: field.publicKey,
    reason: field.sentence,
    seen: z.array(field.id).max(MAX_SEEN),
  }),
  z.strictObject({ type: z.literal("doubt"), versions: z.array(version).max(MAX_IDS) }),
  z.strictObject({ type: z.literal("seek"), ids: z.array(field.id).min(1).max(MAX_IDS) }),
  z.strictObject({
    type: z.literal("offer"),
    paths: z
      .array(
        z.strictObject({
          to: field.id,
          /** The members between the offering one and `to`, in turn. Missing: there is no path any more. */
          path: z
            .array(field.id)
            .max(MAX_RELAYS - 1)
            .exactOptional(),
        }),
      )
      .min(1)
      .max(MAX_PATHS),
  }),
  z.strictObject({ type: z.literal("policy-heard"), seal: sealSchema }),
  /** The sender holds no policy. `certain`: it knows that the cluster has none. */
  z.strictObject({ type: z.literal("policy-none"), isCertain: z.boolean() }),
  z.strictObject({
    type: z.literal("policy-ask"),
    digest: field.digest,
    part: z
      .int()
      .min(0)
      .max(MAX_PARTS - 1),
  }),
  z.strictObject({
    type: z.literal("policy-part"),
    digest: field.digest,
    part: z
      .int()
      .min(0)
      .max(MAX_PARTS - 1),
    /** Base64. */
    bytes: base64.max(MAX_PART_TEXT),
  }),
  z.strictObject({
    type: z.literal("explain-ask"),
    /** Names the question in its answers. */
    n: count,
    /** Milliseconds. */
    within: z.int().min(1).max(ANSWER_WITHIN),
    /** From its IP header on. */
    packet: base64.max((MAX_ASKED_BYTES / 3) * 4),
    /** It leaves the other's host. Missing: this node sends it the other. */
    leaves: z.literal(true).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("explain-told"),
    n: count,
    /** Whose words they are. */
    node: field.name,
    told: toldSchema,
  }),
  z.strictObject({
    type: z.literal("explain-end"),
    n: count,
    unasked: unaskedSchema.exactOptional(),
  }),
  z.strictObject({ type: z.literal("ping"), n: count }),
  /** `time`: what its sender's clock says. */
  z.strictObject({ type: z.literal("pong"), n: count, time: field.time }),
  z.strictObject({ type: z.literal("bye"), code: field.code, reason: field.sentence }),
]);

/** The kinds of message there are. */
export const KINDS = messageSchema.options.map(({ shape }) => shape.type.value);

export type Message = z.infer<typeof messageSchema>;
export type MessageOf<T extends Message["type"]> = Extract<Message, { type: T }>;

export type Unasked = z.infer<typeof unaskedSchema>;
/** What becomes of a packet at a node. */
export type NodeTold = Told & { readonly node: string };
/** What becomes of a packet behind this node: at each that it comes to, and why not at the next. */
export interface Followed {
  readonly further: readonly NodeTold[];
  readonly unasked?: Unasked;
}

/** Nothing when the text is not a message of ours. */
export function parseMessage(text: string): Message | undefined {
  if (text.length > MAX_MESSAGE_BYTES) return undefined;
  try {
    return messageSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
