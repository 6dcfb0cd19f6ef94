/** How the next node on a packet's way is asked what becomes of it there, and tells. */
import { z } from "zod";
import { type TraceReport, traceReportSchema } from "../explain/trace-report.js";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

/** Of a packet that is to be tried: no jumbo frame holds more. */
export const MAX_TRACED_BYTES = 9_216;
/** The longest time that an asking node waits, in milliseconds. */
export const TRACE_TIMEOUT = 4_000;

/** A node that was not asked what becomes of a packet, and the node that would have handed it the packet. */
const unaskedSchema = z.strictObject({ node: field.name, from: field.name, why: field.sentence });

export const remoteTraceSpec = protocolSpec("explain", [
  z.strictObject({
    type: z.literal("trace-request"),
    /** Names the question in its answers. */
    n: field.count,
    /** Milliseconds. */
    within: z.int().min(1).max(TRACE_TIMEOUT),
    /** From its IP header on. */
    packet: field.base64.max((MAX_TRACED_BYTES / 3) * 4),
    /** It leaves the other's host. Missing: this node sends it the other. */
    leaves: z.literal(true).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("trace-report"),
    n: field.count,
    /** The node that the explanation is of. */
    node: field.name,
    report: traceReportSchema,
  }),
  z.strictObject({
    type: z.literal("trace-end"),
    n: field.count,
    unasked: unaskedSchema.exactOptional(),
  }),
]);

export type RemoteTraceMessage = MessagesOf<typeof remoteTraceSpec>;

export type Unasked = z.infer<typeof unaskedSchema>;
/** What becomes of a packet at a node. */
export type NodeReport = TraceReport & { readonly node: string };
/** What becomes of a packet behind this node: at each that it comes to, and why not at the next. */
export interface RemoteTraceResult {
  readonly further: readonly NodeReport[];
  readonly unasked?: Unasked;
}
