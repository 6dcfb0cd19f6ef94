/**
 * The flows: what was decided for a connection, and how far it came. Each
 * direction has a record, so that its next packets need no lookup and no rule,
 * and find their headers ready. The two name each other: the first is that of
 * the packet that opened the connection.
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
 * Incoming packets need no headers to send, so the record of that direction holds the last SYN of
 * both ends in their place (tcp-state).
 *
 *
 * A record of an earlier generation of the tables is still its connection's, but
 * where it leads and whether it may is asked again.
 */
import { BATCH_NUMBER, ENCAP_SIZE, generation, NOW } from "../memory";
import { CT_ESTABLISHED, Packet } from "../packet";
import { copyHeaders, makeHeaders } from "../tables/peer";
import { DIRECTION_BIT } from "./key";

// The states of a connection, in both its records.
export const FREE: u32 = 0;
/** On its way from one peer to another: only where it leads is kept, in one record. */
export const RELAYED: u32 = 1;
/** Without TCP: nothing came back yet, something did. */
export const UDP_NEW: u32 = 2;
export const UDP_REPLIED: u32 = 3;
export const ECHO_NEW: u32 = 4;
export const ECHO_REPLIED: u32 = 5;
export const OTHER_NEW: u32 = 6;
export const OTHER_REPLIED: u32 = 7;
/** TCP (RFC 9293, 3.3.2), both ends seen together. */
export const SYN_SENT: u32 = 8;
export const SYN_RECEIVED: u32 = 9;
export const ESTABLISHED: u32 = 10;
/** One end will send no more; both said so; both were heard. */
export const HALF_CLOSED: u32 = 11;
export const CLOSING: u32 = 12;
export const TIME_WAIT: u32 = 13;
export const RESET: u32 = 14;

@unmanaged
export class Flow {
  // Its key (key.ts); the addresses of IPv4 take the first 8 bytes.
  kind: u32;
  ports: u32;
  addresses: u64;
  addresses8: u64;
  addresses16: u64;
  addresses24: u64;
  /** Of the tables that said where it leads and that it may. */
  generation: u32;
  /** The other direction's record; null if it is relayed. */
  twin: Flow;
  /** NOW of its last packet. */
  last: u32;
  /** BATCH_NUMBER of the last batch that pointed at it. */
  batch: u32;
  peer: u16;
  /** Whose the destination is. */
  owner: u16;
  state: u8;
  /** What its sender did (tcp-state). */
  side: u8;
  /** By how many bits its sender shifts its windows. */
  scale: u8;
  /** 1: the record of the packet that opened the connection. */
  isFirst: u8;
  /** VXLAN and Ethernet headers, 22 bytes. */
  headers: u64;
  headers8: u64;
  headers16: u32;
  headers20: u16;
  /** The account that the connection is on (account). */
  account: u16;
  packets: u64;
  bytes: u64;
  /** What comes next after all its sender sent. */
  end: u32;
  /** As far as the other end lets it send; until its SYN is acknowledged, what comes next after that alone. */
  maxEnd: u32;
  /** The largest window its sender gave. */
  maxWindow: u32;
  /** The last that its sender acknowledged. */
  acked: u32;
  /** Generation of the rules that allowed the connection. */
  judged: u32;
  /** The rule that did, 0 if none had to. */
  rule: u32;
}

const ADDRESSES: usize = offsetof<Flow>("addresses");
const HEADERS: usize = offsetof<Flow>("headers");

// Where the host finds what it lists.
export const FLOW_KIND: usize = offsetof<Flow>("kind");
export const FLOW_PORTS: usize = offsetof<Flow>("ports");
export const FLOW_ADDRESSES: usize = ADDRESSES;
export const FLOW_TWIN: usize = offsetof<Flow>("twin");
export const FLOW_LAST: usize = offsetof<Flow>("last");
export const FLOW_STATE: usize = offsetof<Flow>("state");
export const FLOW_IS_FIRST: usize = offsetof<Flow>("isFirst");
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

export function firstOf(flow: Flow): Flow {
  return flow.isFirst ? flow : flow.twin;
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

/** Where source and destination stand, side by side. */
export function flowAddresses(flow: Flow): usize {
  return changetype<usize>(flow) + ADDRESSES;
}

/** Do the rules as they are now allow it? */
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

/** From now on the packet goes as its flow does. */
export function pointAt(p: Packet, flow: Flow): void {
  setFlow(p, flow);
  p.peer = flow.peer;
  p.owner = flow.owner;
  p.rule = flow.rule;
  flow.batch = load<u32>(BATCH_NUMBER);
}

/** It is the packet's flow, and what was decided for it holds. */
export function setFlow(p: Packet, flow: Flow): void {
  p.flow = changetype<usize>(flow);
  p.ctState = CT_ESTABLISHED;
}

/** One more packet went as the flow does. */
export function countPacket(p: Packet, flow: Flow): void {
  flow.last = load<u32>(NOW);
  flow.packets += 1;
  flow.bytes += p.length;
}

/** Where the packet goes, its flow does. */
export function refresh(p: Packet, flow: Flow): void {
  flow.generation = generation();
  flow.peer = <u16>p.peer;
  flow.owner = <u16>p.owner;
  flow.batch = load<u32>(BATCH_NUMBER);
  if (flow.kind & DIRECTION_BIT) return;
  makeHeaders(p, changetype<usize>(flow) + HEADERS);
}

/** Puts the VXLAN and Ethernet headers before the IP header at `ip`; gives where they begin. */
export function prependHeaders(p: Packet, ip: usize): usize {
  const start = ip - ENCAP_SIZE;
  if (p.ctState == CT_ESTABLISHED) copyHeaders(p.flow + HEADERS, start);
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
