/** What an agent tells about itself. These shapes are the JSON of the API: others rely on them. */

import type { Offloads } from "../config/config.js";
import type { Capture, CapturedPacket, CaptureOptions } from "../core/capture.js";
import type { RuleTraffic } from "../core/counters.js";
import type { FlowView } from "../core/flows.js";
import type { Progress } from "../document-sync/progress.js";
import type { DocumentInForce } from "../documents/in-force.js";
import type { Question } from "../explain/question.js";
import type { TraceOutcome } from "../explain/trace-report.js";
import type { Unasked } from "../explain-sync/messages.js";
import type { LogState } from "../logging/log.js";
import type { Place } from "../policy/place.js";
import type { Refusals } from "../session/admission-control.js";

export interface Status {
  readonly name: string;
  readonly healthy: boolean;
  /** What keeps the node from being healthy: one sentence each. */
  readonly problems: readonly string[];
  /** Things that an operator may want to change though the node is healthy: one sentence each. */
  readonly notes: readonly string[];
  readonly network: readonly string[];
  /** The node's own overlay address, the IPv4 one where it has both; null until it has a lease. */
  readonly address: string | null;
  /** Every overlay address of the node: one of each family the cluster network has. */
  readonly addresses: readonly string[];
  readonly leases: readonly string[];
  readonly mac: string;
  readonly vni: number;
  /** MTU of the overlay device, in bytes. */
  readonly mtu: number;
  readonly underlay: string;
  /** What is in use. */
  readonly offloads: Offloads;
  readonly peers: number;
  /** Whether the agent's log is written; it does not count as a problem of the network. */
  readonly log: LogState;
  readonly policy: PolicyStatus;
}

/** The policy in force here, and on how many nodes the newest that is known here is. */
export interface PolicyStatus {
  /** 0 for none; null while none is in force: then no packet passes. */
  readonly version: number | null;
  /** The first 16 hex digits of the text's SHA-256. */
  readonly hash: string | null;
  /** Of `known` nodes, this one included, so many have version `newest` in force, as they say themselves. */
  readonly newest: number;
  readonly inForce: number;
  readonly known: number;
}

export interface PeerRow {
  readonly name: string;
  /** `ip:port` that packets for it are sent to: where its own come from, or that of the peer they go through. */
  readonly endpoint: string;
  readonly mac: string;
  readonly leases: readonly string[];
  /** No path to it has answered a probe yet: packets for it are dropped (`no-path`). */
  readonly noPath?: boolean | undefined;
  /**
   * `established`, `no-mesh`, `connecting`, `unreachable` or `dead`; `static` for a peer without an
   * agent. Of a node that is no peer any more, and whose leases are reserved: `left`, `dead` or `left-out`.
   */
  readonly state: string;
  /** Since when it is so, ISO 8601; null where it is established or static, or where this agent does not know. */
  readonly since: string | null;
  /** The node's id; a static peer has none. */
  readonly id?: string;
  /** The cluster documents that it has in force, as it says itself: of kind `policy`, so far. */
  readonly documents?: readonly DocumentInForce[];
  /** `direct`, or `via NAME`; `none` for a node that is no peer any more. */
  readonly path: string;
  /** Milliseconds; null while unmeasured. */
  readonly rttMs: number | null;
  /** The part of the probes sent of late that was not answered, 0 to 1; null where none was sent. */
  readonly loss: number | null;
  /** The largest packet that reaches it through the overlay, in bytes; null for a node that is no peer any more. */
  readonly mtu: number | null;
}

export interface RouteRow {
  readonly prefix: string;
  readonly peer: string;
  readonly via: string;
}

export interface LeaseRow {
  readonly subnet: string;
  /** Name of the node that has it, or for which it is reserved; its id where the name is not known. */
  readonly owner: string;
  /** ISO 8601; null when it does not expire, or is only reserved. */
  readonly expires: string | null;
  /**
   * The owner's state, as in `peers`; `self` for this node; `unseen` where this node gave it and no
   * record shows it.
   */
  readonly state: string;
  /** Since when, as in `peers`. */
  readonly since: string | null;
  /** No member uses it: it is kept for its owner until that is forgotten. */
  readonly isReserved: boolean;
}

/** Packets in one direction. received = delivered + answered + the sum of dropped. */
export interface DirectionCounters {
  readonly received: number;
  readonly delivered: number;
  /** The sum of answeredBy. */
  readonly answered: number;
  readonly answeredBy: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface InwardCounters extends DirectionCounters {
  /** Of the delivered, those that went on to another node. */
  readonly relayed: number;
  /** Control datagrams handed to the mesh; they do not count as packets. */
  readonly control: number;
  /** Control datagrams lost because the mesh was too slow: of known senders, and of all others. */
  readonly controlDropped: number;
  readonly controlDroppedUnknown: number;
}

export interface Counters {
  /** From the device to the wire. */
  readonly out: DirectionCounters;
  /** From the wire to the device, or to another node. */
  readonly in: InwardCounters;
  /** Of the policy, as far as this node has to do with it: those that met nothing as well. */
  readonly rules: readonly (Place & RuleTraffic)[];
  /** Connections to the mesh port that were ended before they showed the cluster secret, by reason. */
  readonly meshRefused: Readonly<Refusals>;
}

/** A connection. */
export type FlowRow = Omit<FlowView<never>, "rule"> & {
  /** The rule that allowed it, as `web ingress 0`; null where no rule had anything to say. */
  readonly rule: string | null;
};

/** By another node, of this name. */
export interface ExplainedThere
  extends Omit<TraceOutcome, "direction" | "packet" | "datagrams" | "packets"> {
  readonly node: string;
}

/** The fate of a packet: at the node where it begins, and at those that it comes to after it, in turn. */
export interface Explained extends TraceOutcome {
  /** Where another node has the source: that one. The packet begins there, and it says all but `further`. */
  readonly node?: string;
  /**
   * Of a packet that leaves a host: the node that has its source, or null where none has, and the
   * packet is tried as one of this host.
   */
  readonly owner?: string | null;
  readonly further: readonly ExplainedThere[];
  /** It goes on to a node that could not be asked: why. */
  readonly unasked?: Unasked;
}

/** A line of a capture: a packet, its bytes in hex, or how many were lost so far. */
export type CaptureLine = CapturedRow | { readonly lost: number };
export type CapturedRow = Omit<CapturedPacket<Place>, "bytes"> & { readonly bytes: string };

/** The cluster's policy. */
export interface PolicyView {
  readonly version: number;
  /** SHA-256 of the text. */
  readonly digest: string;
  /** The node on which it was applied; the name is null when that one is gone. */
  readonly author: { readonly id: string; readonly name: string | null };
  /** JSON, with the lines of the file that was applied. */
  readonly text: string;
}

/** What became of a policy, or would become of it. */
export interface PolicyReport {
  /** null when it was only tried. */
  readonly version: number | null;
  /** The first 16 hex digits of the text's SHA-256; null when it was only tried. */
  readonly hash: string | null;
  /** On this node, ends of tiers included. */
  readonly rules: { readonly egress: number; readonly ingress: number };
  /** Nodes that it names and nobody has seen: they stand for no addresses. */
  readonly absent: readonly string[];
  /** Prefixes that it names and that no packet of the overlay has; at most 20. */
  readonly outside: readonly OutsideRow[];
}

export interface OutsideRow {
  /** `web applies`, `web ingress 0`, `group db` */
  readonly where: string;
  readonly prefix: string;
}

export interface Readings {
  status(): Status;
  peers(): readonly PeerRow[];
  routes(): readonly RouteRow[];
  leases(): readonly LeaseRow[];
  counters(): Counters;
}

export interface ApplyOptions {
  /** Nothing changes. */
  readonly dryRun: boolean;
  /** Where there is no next version, it begins again. */
  readonly resetVersion: boolean;
}

/** What an agent can be told to do. */
export interface Control extends Readings {
  flows(): readonly FlowRow[];
  /**
   * Captures until it is stopped.
   * @throws WeftError CAPTURE_BUSY when that is under way already, CAPTURE when the options cannot be
   */
  capture(options: CaptureOptions): Pick<Capture<Place>, "take" | "lost" | "stop">;
  policy(): PolicyView | null;
  /** Tells which of the known nodes have the newest policy in force. */
  policyProgress(): Progress;
  /**
   * Rejects with a WeftError EXPLAIN when no such packet can be.
   * @param here no other node is asked
   */
  explain(question: Question, options: { readonly here: boolean }): Promise<Explained>;
  /**
   * Makes it the cluster's policy, or says what would come of that.
   * @param text YAML or JSON
   * @throws WeftError; then what is in force stays in force
   */
  applyPolicy(text: string, options: ApplyOptions): PolicyReport | Promise<PolicyReport>;
  /**
   * Takes back the subnets of a node that is gone for good.
   * @returns the subnets
   * @throws WeftError with what is in the way
   */
  forget(name: string, options: { readonly force: boolean }): readonly string[];
}
