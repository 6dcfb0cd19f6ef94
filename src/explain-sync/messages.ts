/** Messages by which a node asks the next node on a packet's path to trace the packet there. */
import { z } from "zod";
import { type TraceReport, traceReportSchema } from "../explain/trace-report.js";
import * as field from "../identity/fields.js";
import { type MessagesOf, protocolSpec } from "../session/protocol.js";

/** Longest traced packet, in bytes: that of a jumbo frame. */
export const MAX_TRACED_BYTES = 9_216;
/** Longest time that a node waits for an answer, in milliseconds. */
export const TRACE_TIMEOUT = 4_000;

/** A node on the path that gave no report: its name, the node before it, and the reason. */
const unaskedSchema = z.strictObject({ node: field.name, from: field.name, why: field.sentence });

export const remoteTraceSpec = protocolSpec("explain", [
  z.strictObject({
    type: z.literal("trace-request"),
    /** Number of the request, repeated in its answers. */
    n: field.count,
    /** Time to answer, in milliseconds. */
    within: z.int().min(1).max(TRACE_TIMEOUT),
    /** The packet from its IP header on. */
    packet: field.base64.max((MAX_TRACED_BYTES / 3) * 4),
    /** The packet leaves the receiver's host. Missing: it comes to the receiver from the sender. */
    leaves: z.literal(true).exactOptional(),
  }),
  z.strictObject({
    type: z.literal("trace-report"),
    n: field.count,
    /** The node that the report is of. */
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
/** The trace of a packet at one node. */
export type NodeReport = TraceReport & { readonly node: string };
/** The traces of a packet behind this node, in order, and the node that gave none, if any. */
export interface RemoteTraceResult {
  readonly further: readonly NodeReport[];
  readonly unasked?: Unasked;
}
