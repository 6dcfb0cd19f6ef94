/** How the next node on a packet's way is asked what becomes of it there, and tells. */
import { z } from "zod";
import { type Told, toldSchema } from "../explain/told.js";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

/** Of a packet that is to be tried: no jumbo frame holds more. */
export const MAX_ASKED_BYTES = 9_216;
/** The longest time that an asking node waits, in milliseconds. */
export const ANSWER_WITHIN = 4_000;

/** A node that was not asked what becomes of a packet, and the node that would have handed it the packet. */
const unaskedSchema = z.strictObject({ node: field.name, from: field.name, why: field.sentence });

export const explainSpec = protocolSpec("explain", [
  z.strictObject({
    type: z.literal("explain-ask"),
    /** Names the question in its answers. */
    n: field.count,
    /** Milliseconds. */
    within: z.int().min(1).max(ANSWER_WITHIN),
    /** From its IP header on. */
    packet: field.base64.max((MAX_ASKED_BYTES / 3) * 4),
    /** It leaves the other's host. Missing: this node sends it the other. */
    leaves: z.literal(true).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("explain-told"),
    n: field.count,
    /** The node that the explanation is of. */
    node: field.name,
    told: toldSchema,
  }),
  z.strictObject({
    type: z.literal("explain-end"),
    n: field.count,
    unasked: unaskedSchema.exactOptional(),
  }),
]);

export type ExplainMessage = MessagesOf<typeof explainSpec>;

export type Unasked = z.infer<typeof unaskedSchema>;
/** What becomes of a packet at a node. */
export type NodeTold = Told & { readonly node: string };
/** What becomes of a packet behind this node: at each that it comes to, and why not at the next. */
export interface Followed {
  readonly further: readonly NodeTold[];
  readonly unasked?: Unasked;
}
