/**
 * The records of flows. A record holds the decisions about one direction of a connection, so that its
 * next packets need no lookup and no rule, and have their headers ready. The records of both
 * directions refer to each other; the first is that of the packet that opened the connection.
 *
 *   0      4       8           40           44     48     52      56     58      60
 *   +------+-------+-----------+------------+------+------+-------+------+-------+-------+
 *   | kind | ports | addresses | generation | twin | last | batch | peer | owner | state |
 *   +------+-------+-----------+------------+------+------+-------+------+-------+-------+
 *   64                86        88               104                         120      124      128
 *   +-----------------+---------+----------------+---------------------------+--------+--------+
 *   | headers to send | account | packets, bytes | sequence numbers (tcp)    | judged | rule   |
 *   +-----------------+---------+----------------+---------------------------+--------+--------+
 *
 * Packets from the wire get no headers from their record, so it holds the last SYN of both ends in their
 * place (tcp-state); each of two records of one direction holds one: neither needs headers.
 *
 * A record of an earlier generation still belongs to its connection, but its destination is looked up
 * and its rules are applied again.
 */
import { BATCH_NUMBER, ENCAP_SIZE, generation, NOW } from "../memory";
import { CT_ESTABLISHED, Packet } from "../packet";
import { copyHeaders, FIRST_PEER, makeHeaders } from "../tables/peer";
import { DIRECTION_BIT, reversePorts } from "./key";

// The states of a connection, the same in both its records.
export const FREE: u32 = 0;
/** Relayed from one peer to another: one record, with the destination only. */
export const RELAYED: u32 = 1;
/** Without TCP: before and after the first reply. */
export const UDP_NEW: u32 = 2;
export const UDP_REPLIED: u32 = 3;
export const ECHO_NEW: u32 = 4;
export const ECHO_REPLIED: u32 = 5;
export const OTHER_NEW: u32 = 6;
export const OTHER_REPLIED: u32 = 7;
/** TCP (RFC 9293, 3.3.2), both ends together. */
export const SYN_SENT: u32 = 8;
export const SYN_RECEIVED: u32 = 9;
export const ESTABLISHED: u32 = 10;
/** One FIN was sent; both were sent; both were acknowledged. */
export const HALF_CLOSED: u32 = 11;
export const CLOSING: u32 = 12;
export const TIME_WAIT: u32 = 13;
export const RESET: u32 = 14;
/** A mapping (mapping.ts) instead of a connection. */
export const MAPPED: u32 = 15;

// Flags of a record.
export const IS_FIRST: u32 = 1;
/** In both records: packets of the connection are translated (nat). */
export const IS_TRANSLATED: u32 = 2;
/** In both records: the port of its source, of its destination outside is that of a mapping (mapping). */
export const IS_SOURCE_MAPPED: u32 = 4;
export const IS_DESTINATION_MAPPED: u32 = 8;

@unmanaged
export class Flow {
  // Its key (key.ts); IPv4 addresses take the first 8 bytes.
  kind: u32;
  ports: u32;
  addresses: u64;
  addresses8: u64;
  addresses16: u64;
  addresses24: u64;
  /** Generation of the tables that gave its destination. */
  generation: u32;
  /** The record of the other direction; null if it is relayed. */
  twin: Flow;
  /** NOW of its last packet. */
  last: u32;
  /** BATCH_NUMBER of the last batch with a packet that points to it. */
  batch: u32;
  peer: u16;
  /** Owner of the destination. */
  owner: u16;
  state: u8;
  /** Events of its sender, as bits (tcp-state). */
  side: u8;
  /** Window scale of its sender: a number of bits. */
  scale: u8;
  /** A sum of the IS_ bits. */
  flags: u8;
  /** VXLAN and Ethernet headers, 22 bytes. */
  headers: u64;
  headers8: u64;
  headers16: u32;
  headers20: u16;
  /** The account that the connection counts towards (account). */
  account: u16;
  packets: u64;
  bytes: u64;
  /** Sequence number behind everything that its sender sent. */
  end: u32;
  /** Sequence number up to which it may send; until its SYN is acknowledged, the one behind that SYN. */
  maxEnd: u32;
  /** Largest window that its sender announced. */
  maxWindow: u32;
  /** The last acknowledgment of its sender. */
  acked: u32;
  /** Generation of the rules that allowed the connection. */
  judged: u32;
  /** The rule that allowed it, 0 if none applied. */
  rule: u32;
}

const ADDRESSES: usize = offsetof<Flow>("addresses");
const HEADERS: usize = offsetof<Flow>("headers");

// Offsets of the fields that the host reads.
export const FLOW_KIND: usize = offsetof<Flow>("kind");
export const FLOW_PORTS: usize = offsetof<Flow>("ports");
export const FLOW_ADDRESSES: usize = ADDRESSES;
export const FLOW_TWIN: usize = offsetof<Flow>("twin");
export const FLOW_LAST: usize = offsetof<Flow>("last");
export const FLOW_GENERATION: usize = offsetof<Flow>("generation");
export const FLOW_PEER: usize = offsetof<Flow>("peer");
export const FLOW_OWNER: usize = offsetof<Flow>("owner");
export const FLOW_BATCH: usize = offsetof<Flow>("batch");
export const FLOW_STATE: usize = offsetof<Flow>("state");
export const FLOW_SIDE: usize = offsetof<Flow>("side");
export const FLOW_SCALE: usize = offsetof<Flow>("scale");
export const FLOW_FLAGS: usize = offsetof<Flow>("flags");
export const FLOW_PACKETS: usize = offsetof<Flow>("packets");
export const FLOW_BYTES: usize = offsetof<Flow>("bytes");
export const FLOW_ACCOUNT: usize = offsetof<Flow>("account");
export const FLOW_JUDGED: usize = offsetof<Flow>("judged");
export const FLOW_RULE: usize = offsetof<Flow>("rule");

/** No record. */
export const NONE = changetype<Flow>(0);

export function flowOf(p: Packet): Flow {
  return changetype<Flow>(p.flow);
}

/** Whether it is the record of the packet that opened the connection. */
export function isFirst(flow: Flow): bool {
  return (flow.flags & IS_FIRST) != 0;
}

/** Whether its packets are translated: the two keys are not each other's reverse. */
export function isTranslated(flow: Flow): bool {
  return (flow.flags & IS_TRANSLATED) != 0;
}

export function firstOf(flow: Flow): Flow {
  return isFirst(flow) ? flow : flow.twin;
}

export function familyOf(flow: Flow): u32 {
  return flow.kind & 0xff;
}

export function protocolOf(flow: Flow): u32 {
  return (flow.kind >> 8) & 0xff;
}

export function directionOf(flow: Flow): u32 {
  return flow.kind >> 16;
}

/** The ports with which its packets go on. */
export function onwardPorts(flow: Flow): u32 {
  return reversePorts(protocolOf(flow), flow.twin.ports);
}

/** Address of the source address, with the destination behind. */
export function flowAddresses(flow: Flow): usize {
  return changetype<usize>(flow) + ADDRESSES;
}

/** Whether the current rules allow it. */
export function isAllowed(flow: Flow): bool {
  return flow.judged == generation();
}

export function isCurrent(flow: Flow): bool {
  return flow.generation == generation();
}

export function isPointedAt(flow: Flow): bool {
  const batch = load<u32>(BATCH_NUMBER);
  return flow.batch == batch || (flow.twin != NONE && flow.twin.batch == batch);
}

/** Whether the connection cannot do without its records: a policy allowed it, or it is translated. */
export function needsRecords(flow: Flow): bool {
  return flow.rule != 0 || isTranslated(flow);
}

export function isHalfOpen(state: u32): bool {
  switch (state) {
    case RELAYED:
    case UDP_NEW:
    case ECHO_NEW:
    case OTHER_NEW:
    case SYN_SENT:
    case SYN_RECEIVED:
      return true;
    default:
      return false;
  }
}

// ---------------------------------------------------------------- by its packets

/** Gives the packet the destination and the verdict of the flow. */
export function pointAt(p: Packet, flow: Flow): void {
  setFlow(p, flow);
  p.peer = flow.peer;
  p.owner = flow.owner;
  p.rule = flow.rule;
  flow.batch = load<u32>(BATCH_NUMBER);
}

/** Gives the packet its flow, whose decisions are current. */
export function setFlow(p: Packet, flow: Flow): void {
  p.flow = changetype<usize>(flow);
  p.ctState = CT_ESTABLISHED;
}

/** Counts a packet of the flow. */
export function countPacket(p: Packet, flow: Flow): void {
  flow.last = load<u32>(NOW);
  flow.packets += 1;
  flow.bytes += p.length;
}

/** Updates the flow with the destination of the packet. */
export function refresh(p: Packet, flow: Flow): void {
  flow.generation = generation();
  flow.peer = <u16>p.peer;
  flow.owner = <u16>p.owner;
  flow.batch = load<u32>(BATCH_NUMBER);
  if (flow.kind & DIRECTION_BIT || p.owner < FIRST_PEER) return;
  makeHeaders(p, changetype<usize>(flow) + HEADERS);
}

/** Puts the VXLAN and Ethernet headers before the IP header at `ip`; returns their address. */
export function prependHeaders(p: Packet, ip: usize): usize {
  const start = ip - ENCAP_SIZE;
  if (p.ctState == CT_ESTABLISHED && !(flowOf(p).kind & DIRECTION_BIT))
    copyHeaders(p.flow + HEADERS, start);
  else makeHeaders(p, start);
  return start;
}

// ------------------------------------------------------------------ the last SYN

/** Address of the remembered last SYN of its sender, LAST_SYN_SIZE bytes (tcp-state). */
export const LAST_SYN_SIZE: usize = 10;
export function lastSynAt(flow: Flow): usize {
  const isIn = (flow.kind & DIRECTION_BIT) != 0;
  const inward = changetype<usize>(isIn ? flow : flow.twin) + HEADERS;
  return isIn ? inward : inward + LAST_SYN_SIZE;
}
