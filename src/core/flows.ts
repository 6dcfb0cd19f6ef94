/** The table of flows for the host: its size, the timeouts, and the list of connections. */
import { formatAddress, readAddress } from "../address.js";
import { WeftError } from "../error.js";
import { ICMPS, protocolName } from "../protocol.js";
import { betweenBatches } from "./counters.js";
import type { Core } from "./instance.js";

/** Timeouts of idle flows: those of the RFCs, or the defaults of Linux. */
export type Profile = "rfc" | "linux";

export interface FlowOptions {
  /** Records, a power of two from 64 to 1,048,576; a connection takes two. */
  readonly flows?: number;
  readonly profile?: Profile;
  /** Whether a policed TCP connection may be picked up in its middle, as after a restart. Default: yes. */
  readonly pickUp?: boolean;
  /** Whether workloads of this node reach each other and the outside through the device. Default: no. */
  readonly throughCore?: boolean;
  /** Secret key of the hash, 64 bits. */
  readonly seed?: bigint;
}

export const DEFAULT_FLOWS = 65_536;
export const MIN_FLOWS = 64;
export const MAX_FLOWS = 1_048_576;

const RECORD_BYTES = 128;
const SET = 8;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * The states in the core's order (assembly/conntrack/flow.ts): the name of each, and its timeouts:
 * RFC 4787, 5382 and 5508; the defaults of Linux.
 */
const STATES = [
  { name: "free", rfc: 0, linux: 0 },
  { name: "relayed", rfc: MINUTE, linux: MINUTE },
  { name: "udp-new", rfc: 5 * MINUTE, linux: 30 * SECOND },
  { name: "udp-replied", rfc: 5 * MINUTE, linux: 2 * MINUTE },
  { name: "echo-new", rfc: MINUTE, linux: 30 * SECOND },
  { name: "echo-replied", rfc: MINUTE, linux: 30 * SECOND },
  { name: "other-new", rfc: 5 * MINUTE, linux: 10 * MINUTE },
  { name: "other-replied", rfc: 5 * MINUTE, linux: 10 * MINUTE },
  { name: "syn-sent", rfc: 4 * MINUTE, linux: 2 * MINUTE },
  { name: "syn-received", rfc: 4 * MINUTE, linux: MINUTE },
  { name: "established", rfc: 2 * HOUR + 4 * MINUTE, linux: 5 * DAY },
  { name: "half-closed", rfc: 4 * MINUTE, linux: 2 * MINUTE },
  { name: "closing", rfc: 4 * MINUTE, linux: 30 * SECOND },
  { name: "time-wait", rfc: 4 * MINUTE, linux: 2 * MINUTE },
  { name: "reset", rfc: 4 * MINUTE, linux: 10 * SECOND },
  { name: "mapping", rfc: 2 * MINUTE, linux: 2 * MINUTE },
] as const;

export type FlowState = Exclude<(typeof STATES)[number]["name"], "free">;

/** The names of the states, by number. */
export const FLOW_STATES: readonly string[] = STATES.map(({ name }) => name);
/** The state of a flow from one peer to another, which has one record. */
export const RELAYED = FLOW_STATES.indexOf("relayed");

/** The state of a mapping (assembly/conntrack/mapping.ts), which is no connection. */
export const MAPPING = FLOW_STATES.indexOf("mapping");

/** The states of a protocol begin with this word; those of TCP have none. */
const KIND_OF: Readonly<Record<number, string>> = { 1: "echo", 6: "tcp", 17: "udp", 58: "echo" };
const KINDS = ["udp", "echo", "other"];

/** Whether a flow of the protocol can be in the state of this number. */
export function flowStateFits(state: number, protocol: number): boolean {
  const name = FLOW_STATES[state];
  if (name === undefined || name === "free") return false;
  if (state === RELAYED || state === MAPPING) return true;
  const kind = KINDS.find((one) => name.startsWith(`${one}-`)) ?? "tcp";
  return kind === (KIND_OF[protocol] ?? "other");
}

export const flowBytes = (flows: number): number => flows * RECORD_BYTES;

/** @throws WeftError for a number of records that is not valid */
export function prepareFlows(core: Core, options: FlowOptions): void {
  const { view, layout } = core;
  const flows = options.flows ?? DEFAULT_FLOWS;
  const end = layout.FLOWS + flowBytes(flows) + layout.GUARD_SIZE;
  if (RECORD_BYTES !== layout.FLOW_SIZE || end > core.bytes.length) {
    throw new Error("the core's memory is not as large as its map says: run `npm run build`");
  }
  view.setUint32(layout.FLOW_SET_BITS, Math.log2(flows / SET), true);
  view.setBigUint64(layout.FLOW_SEED, options.seed ?? 0n, true);
  view.setUint32(layout.PICK_UP, options.pickUp === false ? 0 : 1, true);
  view.setUint32(layout.THROUGH_CORE, options.throughCore ? 1 : 0, true);
  setProfile(core, options.profile ?? "rfc");
}

export function checkFlows(flows: number): void {
  if (!Number.isInteger(Math.log2(flows)) || flows < MIN_FLOWS || flows > MAX_FLOWS) {
    throw new WeftError(
      "OPTION",
      `flows is ${flows}`,
      `give a power of two from ${MIN_FLOWS} to ${MAX_FLOWS}`,
    );
  }
}

/** Sets the timeouts of flows. */
export function setProfile({ view, layout }: Core, profile: Profile): void {
  STATES.forEach((state, i) => {
    view.setUint32(layout.TIMEOUTS + i * 4, state[profile], true);
  });
}

/** Number of connections by state; states without any are absent. */
export function countFlows(core: Core): Partial<Record<FlowState, number>> {
  const { view, layout } = core;
  const counts: Partial<Record<FlowState, number>> = {};
  STATES.forEach(({ name }, i) => {
    const count = view.getUint32(layout.FLOWS_BY_STATE + i * 4, true);
    if (count > 0 && name !== "free") counts[name] = count;
  });
  return counts;
}

/** The two ends of a connection's packets. */
export interface FlowEnds {
  readonly src: string;
  /** For an echo both ports are its identifier; 0 for a protocol without ports. */
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
}

const reverse = ({ src, sport, dst, dport }: FlowEnds): FlowEnds => ({
  src: dst,
  sport: dport,
  dst: src,
  dport: sport,
});

/** A connection, in the direction of the packet that opened it. */
export interface FlowView<Rule> extends FlowEnds {
  /** `out` if it was opened from this host's device. */
  readonly direction: "out" | "in";
  /** `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or a number. */
  readonly protocol: string;
  /** The ends with which its packets go on, if they are translated. */
  readonly onward?: FlowEnds;
  readonly state: FlowState;
  /** Whether a policy allowed it, or none applied. */
  readonly verdict: "allowed" | "open";
  /** The rule that allowed it, while it is in force. */
  readonly rule?: Rule;
  readonly packets: number;
  readonly bytes: number;
  readonly replyPackets: number;
  readonly replyBytes: number;
  /** Milliseconds since its last packet. */
  readonly idleMs: number;
}

/** The rule that had the number in that generation of the tables, if it still has it. */
export type RuleOf<Rule> = (number: number, generation: number) => Rule | undefined;

/** All live connections. Each set of records is read between two batches. */
export function readFlows<Rule>(core: Core, ruleOf: RuleOf<Rule>): FlowView<Rule>[] {
  const { view, layout } = core;
  const sets = 1 << view.getUint32(layout.FLOW_SET_BITS, true);
  const found: FlowView<Rule>[] = [];
  for (let set = 0; set < sets; set++) {
    const tags = layout.FLOW_TAGS + set * SET * 2;
    if (view.getBigUint64(tags, true) === 0n && view.getBigUint64(tags + 8, true) === 0n) continue;
    found.push(...betweenBatches(core, () => readSet(core, set, ruleOf)));
  }
  return found;
}

function readSet<Rule>(core: Core, set: number, ruleOf: RuleOf<Rule>): FlowView<Rule>[] {
  const { view, layout } = core;
  const found: FlowView<Rule>[] = [];
  for (let i = set * SET; i < (set + 1) * SET; i++) {
    const at = layout.FLOWS + i * layout.FLOW_SIZE;
    const isThere = view.getUint16(layout.FLOW_TAGS + i * 2, true) !== 0;
    const isConnection = view.getUint8(at + layout.FLOW_STATE) !== MAPPING;
    const isFirst = (view.getUint8(at + layout.FLOW_FLAGS) & layout.IS_FIRST) !== 0;
    if (isThere && isConnection && isFirst) found.push(readFlow(core, at, ruleOf));
  }
  return found.filter((flow) => flow.idleMs <= timeoutOf(core, flow.state));
}

function timeoutOf({ view, layout }: Core, state: FlowState): number {
  const number = STATES.findIndex(({ name }) => name === state);
  return view.getUint32(layout.TIMEOUTS + number * 4, true);
}

function readFlow<Rule>(
  { view, bytes, layout }: Core,
  at: number,
  ruleOf: RuleOf<Rule>,
): FlowView<Rule> {
  const kind = view.getUint32(at + layout.FLOW_KIND, true);
  const protocol = (kind >> 8) & 0xff;
  const size = (kind & 0xff) === 4 ? 4 : 16;
  const address = (from: number) => formatAddress(readAddress(bytes.slice(from, from + size)));
  const isEcho = ICMPS.includes(protocol);
  const ends = (record: number): FlowEnds => {
    const addresses = record + layout.FLOW_ADDRESSES;
    const port = (offset: number) => view.getUint16(record + layout.FLOW_PORTS + offset, false);
    const [src, dst] = [address(addresses), address(addresses + size)];
    return { src, sport: port(0), dst, dport: port(isEcho ? 0 : 2) };
  };
  const twin = view.getUint32(at + layout.FLOW_TWIN, true);
  const isTranslated = (view.getUint8(at + layout.FLOW_FLAGS) & layout.IS_TRANSLATED) !== 0;
  const count = (record: number, field: number) =>
    record === 0 ? 0 : Number(view.getBigUint64(record + field, true));
  const number = view.getUint32(at + layout.FLOW_RULE, true);
  const rule =
    number === 0 ? undefined : ruleOf(number, view.getUint32(at + layout.FLOW_JUDGED, true));
  // NOW, the time of the last batch, wraps; the time since then may be too long for it.
  const now = view.getUint32(layout.NOW, true);
  const since =
    Math.floor(view.getFloat64(layout.CLOCK, true)) -
    Math.floor(view.getFloat64(layout.NOW_CLOCK, true));
  const idle = (record: number) =>
    ((now - view.getUint32(record + layout.FLOW_LAST, true)) >>> 0) + since;
  return {
    direction: (kind >> 16) & 1 ? "in" : "out",
    protocol: protocolName(protocol) ?? `${protocol}`,
    ...ends(at),
    ...(isTranslated && { onward: reverse(ends(twin)) }),
    state: STATES[view.getUint8(at + layout.FLOW_STATE)]!.name as FlowState,
    verdict: number === 0 ? "open" : "allowed",
    ...(rule !== undefined && { rule }),
    packets: count(at, layout.FLOW_PACKETS),
    bytes: count(at, layout.FLOW_BYTES),
    replyPackets: count(twin, layout.FLOW_PACKETS),
    replyBytes: count(twin, layout.FLOW_BYTES),
    idleMs: twin === 0 ? idle(at) : Math.min(idle(at), idle(twin)),
  };
}
