/** The JSON of the API. Other programs rely on these shapes. */

import type { Offloads } from "../config/config.js";
import type { Capture, CapturedPacket, CaptureOptions } from "../core/capture.js";
import type { RuleTraffic } from "../core/counters.js";
import type { FlowView } from "../core/flows.js";
import type { Progress } from "../document-sync/progress.js";
import type { DocumentInForce } from "../documents/in-force.js";
import type { Coverage, Unseen } from "../explain/coverage.js";
import type { Question } from "../explain/question.js";
import type { TraceOutcome } from "../explain/trace-report.js";
import type { Unasked } from "../explain-sync/messages.js";
import type { LogState } from "../logging/log.js";
import type { NatSection } from "../nat/document.js";
import type { ServiceRow } from "../nat/service-rows.js";
import type { Place } from "../policy/place.js";
import type { Refusals } from "../session/admission-control.js";

export interface Status {
  readonly name: string;
  readonly healthy: boolean;
  /** Reasons why the node is not healthy: one sentence each. */
  readonly problems: readonly string[];
  /** Hints for the operator that do not make the node unhealthy: one sentence each. */
  readonly notes: readonly string[];
  /** The packets of workloads that the core sees; `notes` has a sentence for those that it does not. */
  readonly coverage: Coverage;
  readonly network: readonly string[];
  /** An overlay address of the node, the IPv4 one if it has both; null until it has a lease. */
  readonly address: string | null;
  /** Every overlay address of the node: one of each family the cluster network has. */
  readonly addresses: readonly string[];
  readonly leases: readonly string[];
  readonly mac: string;
  readonly vni: number;
  /** MTU of the overlay device, in bytes. */
  readonly mtu: number;
  readonly underlay: string;
  /** Offloads in use. */
  readonly offloads: Offloads;
  readonly peers: number;
  /** State of the agent's log; a log that cannot be written does not make the node unhealthy. */
  readonly log: LogState;
  readonly policy: DocumentStatus;
  /** Of the document of address translation. */
  readonly nat: DocumentStatus;
}

/** The document of a kind in force on this node, and the number of nodes that have the newest known one. */
export interface DocumentStatus {
  /** 0 without a document; null while it is not known whether there is one, and no packet passes. */
  readonly version: number | null;
  /** First 16 hex digits of the text's SHA-256. */
  readonly hash: string | null;
  /** The newest known version. `inForce` of `known` nodes, this one included, report it in force. */
  readonly newest: number;
  readonly inForce: number;
  readonly known: number;
}

export interface PeerRow {
  readonly name: string;
  /** `ip:port` of the next hop: the endpoint of the peer's own packets, or that of the relaying peer. */
  readonly endpoint: string;
  readonly mac: string;
  readonly leases: readonly string[];
  /** Whether no path to it has answered a probe yet: packets for it are dropped (`no-path`). */
  readonly noPath?: boolean | undefined;
  /**
   * `established`, `no-mesh`, `connecting`, `unreachable` or `dead`; `static` for a peer without an
   * agent. A node that is not a peer any more and whose leases are reserved: `left`, `dead` or `left-out`.
   */
  readonly state: string;
  /** Start of that state, ISO 8601; null for `established` and `static`, or if it is not known. */
  readonly since: string | null;
  /** The node's id; a static peer has none. */
  readonly id?: string;
  /** The cluster documents that it reports in force: of the kinds `policy` and `nat`. */
  readonly documents?: readonly DocumentInForce[];
  /** `direct`, or `via NAME`; `none` for a node that is not a peer any more. */
  readonly path: string;
  /** Milliseconds; null before the first measurement. */
  readonly rttMs: number | null;
  /** Share of recent probes that were not answered, 0 to 1; null if none was sent. */
  readonly loss: number | null;
  /** Largest packet that reaches it through the overlay, in bytes; null if it is not a peer any more. */
  readonly mtu: number | null;
}

export interface RouteRow {
  readonly prefix: string;
  readonly peer: string;
  readonly via: string;
}

export interface LeaseRow {
  readonly subnet: string;
  /** Name of the node that holds it, or for which it is reserved; its id if the name is not known. */
  readonly owner: string;
  /** ISO 8601; null if it does not expire, or is only reserved. */
  readonly expires: string | null;
  /**
   * The owner's state, as in `peers`; `self` for this node; `unseen` if this node granted it and no
   * record shows it.
   */
  readonly state: string;
  /** Start of that state, as in `peers`. */
  readonly since: string | null;
  /** Whether no member uses it: it stays reserved for its owner until that node is forgotten. */
  readonly isReserved: boolean;
}

/** Packets in one direction. received = delivered + answered + the sum of dropped. */
export interface DirectionCounters {
  readonly received: number;
  readonly delivered: number;
  /** Sum of answeredBy. */
  readonly answered: number;
  readonly answeredBy: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface InwardCounters extends DirectionCounters {
  /** Delivered packets that went on to another node. */
  readonly relayed: number;
  /** Control datagrams passed to the mesh; they do not count as packets. */
  readonly control: number;
  /** Control datagrams lost because the mesh was too slow: from known senders, and from all others. */
  readonly controlDropped: number;
  readonly controlDroppedUnknown: number;
}

export interface Counters {
  /** From the device to the wire. */
  readonly out: DirectionCounters;
  /** From the wire to the device, or to another node. */
  readonly in: InwardCounters;
  /** The rules of the policy that concern this node, including those that matched no packet. */
  readonly rules: readonly (Place & RuleTraffic)[];
  /** Connections to the mesh port closed before they proved the cluster secret, by reason. */
  readonly meshRefused: Readonly<Refusals>;
}

/** A backend of a service with a check. */
export interface CheckRow {
  readonly service: string;
  /** `ADDRESS:PORT` */
  readonly to: string;
  readonly isUp: boolean;
}

/** A connection. */
export type FlowRow = Omit<FlowView<never>, "rule"> & {
  /** The rule that allowed it, as `web ingress 0`; null if none applies. */
  readonly rule: string | null;
};

/** An explanation by another node. */
export interface ExplainedThere
  extends Omit<TraceOutcome, "direction" | "packet" | "datagrams" | "packets"> {
  readonly node: string;
}

/** The fate of a packet at its first node, and at each further node in order. */
export interface Explained extends TraceOutcome {
  /** Set when another node holds the source: its name. All fields but `further` are its report. */
  readonly node?: string;
  /**
   * For a packet that leaves a host: the node that holds its source; null if none does, and the packet
   * is explained as one of this host.
   */
  readonly owner?: string | null;
  readonly further: readonly ExplainedThere[];
  /** The reason why the next node could not be asked. */
  readonly unasked?: Unasked;
}

/** A line of a capture: a packet with its bytes in hex, or the number of packets lost so far. */
export type CaptureLine = CapturedRow | { readonly lost: number };
export type CapturedRow = Omit<CapturedPacket<Place>, "bytes"> & { readonly bytes: string };

/** The cluster's document of a kind. */
export interface DocumentView {
  readonly version: number;
  /** SHA-256 of the text. */
  readonly digest: string;
  /** The node on which it was applied; the name is null if that node is gone. */
  readonly author: { readonly id: string; readonly name: string | null };
  /** JSON with the line numbers of the applied file. */
  readonly text: string;
}

/** The result of applying or trying a policy. */
export interface PolicyReport {
  /** null if the policy was only tried. */
  readonly version: number | null;
  /** First 16 hex digits of the text's SHA-256; null if the policy was only tried. */
  readonly hash: string | null;
  /** Number of rules on this node, ends of tiers included. */
  readonly rules: { readonly egress: number; readonly ingress: number };
  /** Named nodes that are not known: the policy has no addresses for them. */
  readonly absent: readonly string[];
  /** Named prefixes that no packet of the overlay has; at most 20. */
  readonly outside: readonly OutsideRow[];
  /** Packets of this node's workloads that weft does not see, so that no rule applies to them. */
  readonly unseen: readonly Unseen[];
}

/** The result of applying or trying a document of address translation. */
export interface NatReport {
  /** null if the document was only tried. */
  readonly version: number | null;
  /** First 16 hex digits of the text's SHA-256; null if the document was only tried. */
  readonly hash: string | null;
  /** Number of entries of each section. */
  readonly rules: Readonly<Record<NatSection, number>>;
  /** Named nodes that are not known. */
  readonly absent: readonly string[];
  /** Entries without effect as the nodes are now: a sentence each, at most 20. */
  readonly notes: readonly string[];
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
  /** Checks only; nothing changes. */
  readonly dryRun: boolean;
  /** Restarts the version at 1 if there is no next version. */
  readonly resetVersion: boolean;
}

/** Requests to an agent. */
export interface Control extends Readings {
  flows(): readonly FlowRow[];
  /** The services, and the ports that this node publishes. */
  services(): readonly ServiceRow[];
  /** The backends that this node checks. */
  checks(): readonly CheckRow[];
  /**
   * Captures until it is stopped.
   * @throws WeftError CAPTURE_BUSY during another capture, CAPTURE for options that are not valid
   */
  capture(options: CaptureOptions): Pick<Capture<Place>, "take" | "lost" | "stop">;
  policy(): DocumentView | null;
  /** Returns which of the known nodes have the newest policy in force. */
  policyProgress(): Progress;
  /**
   * Rejects with a WeftError EXPLAIN for a packet that cannot exist.
   * @param here asks no other node
   */
  explain(question: Question, options: { readonly here: boolean }): Promise<Explained>;
  /**
   * Makes the text the policy of the cluster, or checks it only.
   * @param text YAML or JSON
   * @throws WeftError; the policy in force then stays
   */
  applyPolicy(text: string, options: ApplyOptions): PolicyReport | Promise<PolicyReport>;
  nat(): DocumentView | null;
  /** Returns which of the known nodes have the newest document of address translation in force. */
  natProgress(): Progress;
  /** Parameters and errors as those of `applyPolicy`. */
  applyNat(text: string, options: ApplyOptions): NatReport | Promise<NatReport>;
  /**
   * Takes back the subnets of a node that is gone for good.
   * @returns the subnets
   * @throws WeftError with the reason
   */
  forget(name: string, options: { readonly force: boolean }): readonly string[];
}
