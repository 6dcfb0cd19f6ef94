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
 * Eight records are a set, and a flow stands in one of two sets. 16 bits of its
 * hash, its tag, lie apart, the eight of a set side by side: a flow is looked
 * for by comparing eight tags at once. Tag 0 is a free place.
 *
 * A record of an earlier generation of the tables is still its connection's, but
 * where it leads and whether it may is asked again.
 */
import {
  BATCH_NUMBER,
  CLOCK,
  ENCAP_SIZE,
  FLOW_SEED,
  FLOW_SET_BITS,
  FLOW_SIZE,
  FLOW_TAGS,
  FLOWS,
  FLOWS_BY_STATE,
  generation,
  NEXT_SWEPT,
  NOW,
  NOW_CLOCK,
  OUT,
  REVERSED,
  SWEEP_CLOCK,
  SWEPT_AT,
  TIMEOUTS,
} from "../memory";
import { addressesOf, Packet } from "../packet";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import { ICMP, ICMPV6 } from "../wire/protocol";
import { accountHere, hold, isFlooding, isHeavy, outweighs } from "./account";
import { copyHeaders, makeHeaders } from "./peer";

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
  /** Family, protocol, direction: one byte each. */
  kind: u32;
  /** Both ports as they stand in the header; of an echo its identifier, type and code. */
  ports: u32;
  /** Source and destination as they stand in the header; those of IPv4 take the first 8 bytes. */
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
  /** The account that the connection is on (tables/account). */
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

/** Where in `ports` the type of an echo stands, above its identifier. */
export const ECHO_TYPE_SHIFT: u32 = 16;

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

const SET_SIZE: u32 = 8;
const SET_TAGS: u32 = 16;
const DIRECTION_BIT: u32 = 1 << 16;
/** The tables never have this generation. */
const NO_GENERATION: u32 = 0;

/** No record. */
const NONE = changetype<Flow>(0);

export function flowOf(p: Packet): Flow {
  return changetype<Flow>(p.flow);
}

// ------------------------------------------------------------------- by packets

/** Takes what is known of the packet's flow, if that holds still: its peer, its owner, its headers. */
export function recall(p: Packet, direction: u32): void {
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isCurrent(flow) || flow.state >= TIME_WAIT || isExpired(flow)) return;
  pointAt(p, flow);
}

/** The record of the packet's flow, whatever its generation; null if there is none that lives. */
export function seek(p: Packet, direction: u32): Flow {
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isExpired(flow)) return flow;
  forget(flow);
  return NONE;
}

/** From now on the packet goes as its flow does. */
export function pointAt(p: Packet, flow: Flow): void {
  p.flow = changetype<usize>(flow);
  p.peer = flow.peer;
  p.owner = flow.owner;
  p.rule = flow.rule;
  flow.batch = load<u32>(BATCH_NUMBER);
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

/** Both records of a connection that this packet opens; null if there is no place for them. */
export function open(p: Packet, direction: u32, state: u32): Flow {
  const account = direction == OUT ? accountHere(p.family, addressesOf(p)) : p.peer;
  const first = makeRecord(p, account, kindOf(p, direction), p.ports, addressesOf(p), state);
  if (first == NONE) return NONE;
  refresh(p, first);
  const second = makeTwin(p, first);
  if (second == NONE) {
    release(first);
    return NONE;
  }
  first.twin = second;
  first.isFirst = 1;
  second.twin = first;
  allow(first, p.rule);
  count(state, 1);
  return first;
}

/** One record, of a packet that goes on to another peer. */
export function openRelayed(p: Packet, direction: u32): void {
  const flow = makeRecord(p, p.peer, kindOf(p, direction), p.ports, addressesOf(p), RELAYED);
  if (flow == NONE) return;
  flow.isFirst = 1;
  refresh(p, flow);
  count(RELAYED, 1);
  countPacket(p, flow);
}

/** The connection that a packet of these addresses and ports belongs to; where they stand is `addresses`. */
export function findOther(
  family: u32,
  protocol: u32,
  direction: u32,
  ports: u32,
  addresses: usize,
): Flow {
  const flow = find(family | (protocol << 8) | (direction << 16), ports, addresses);
  return flow == NONE || isExpired(flow) ? NONE : flow;
}

/** Puts the VXLAN and Ethernet headers before the IP header at `ip`; gives where they begin. */
export function prependHeaders(p: Packet, ip: usize): usize {
  const start = ip - ENCAP_SIZE;
  if (p.flow) copyHeaders(p.flow + HEADERS, start);
  else makeHeaders(p, start);
  return start;
}

/** The rules of this generation, or none, allow the connection. */
export function allow(flow: Flow, rule: u32): void {
  charge(flow, -1);
  setAllowed(flow, rule);
  setAllowed(flow.twin, rule);
  charge(flow, 1);
}

function setAllowed(flow: Flow, rule: u32): void {
  flow.judged = generation();
  flow.rule = rule;
}

/** Do the rules as they are now allow it? */
export function isAllowed(flow: Flow): bool {
  return flow.judged == generation();
}

export function isCurrent(flow: Flow): bool {
  return flow.generation == generation();
}

// --------------------------------------------------------------- its connection

export function firstOf(flow: Flow): Flow {
  return flow.isFirst ? flow : flow.twin;
}

/** Address of the remembered last SYN of its sender, LAST_SYN_SIZE bytes (tcp-state). */
export const LAST_SYN_SIZE: usize = 10;
export function lastSynAt(flow: Flow): usize {
  const isIn = (flow.kind & DIRECTION_BIT) != 0;
  const inward = changetype<usize>(isIn ? flow : flow.twin) + HEADERS;
  return isIn ? inward : inward + LAST_SYN_SIZE;
}

/**
 * The sender of this flow opened the connection anew. If the other end had opened the old one, the
 * rules judge it again.
 */
export function setFirst(flow: Flow): void {
  if (flow.isFirst) return;
  const twin = flow.twin;
  charge(flow, -1);
  const isOut = directionOf(flow) == OUT;
  const account = isOut ? accountHere(familyOf(flow), flowAddresses(flow)) : flow.peer;
  flow.account = twin.account = <u16>account;
  charge(flow, 1);
  flow.isFirst = 1;
  twin.isFirst = 0;
  flow.judged = twin.judged = NO_GENERATION;
  flow.generation = twin.generation = NO_GENERATION;
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

export function setState(flow: Flow, state: u32): void {
  if (flow.state == state) return;
  count(flow.state, -1);
  charge(flow, -1);
  flow.state = <u8>state;
  flow.twin.state = <u8>state;
  charge(flow, 1);
  count(state, 1);
}

/** Forgets a connection: the next packet opens another one. */
export function forget(flow: Flow): void {
  count(flow.state, -1);
  charge(flow, -1);
  if (flow.twin != NONE) release(flow.twin);
  release(flow);
}

/**
 * The rules deny the connection. Its records stay while packets of the batch point at them; the
 * next batch asks again.
 */
export function cut(flow: Flow): void {
  if (!isPointedAt(flow)) forget(flow);
}

function count(state: u32, difference: i32): void {
  const counter = FLOWS_BY_STATE + (state << 2);
  store<i32>(counter, load<i32>(counter) + difference);
}

/** Counts a connection on its account; only those that a policy decided about count. */
function charge(flow: Flow, n: i32): void {
  if (flow.rule) hold(flow.account, isHalfOpen(flow.state), n);
}

/** No packet of either direction for as long as its state allows. */
function isExpired(flow: Flow): bool {
  const timeout = load<u32>(TIMEOUTS + ((<usize>flow.state) << 2));
  if (idle(flow) <= timeout) return false;
  return flow.twin == NONE || idle(flow.twin) > timeout;
}

function idle(flow: Flow): u32 {
  return load<u32>(NOW) - flow.last;
}

// ---------------------------------------------------------------------- places

/** Multiplying by an odd number spreads the low bits over the high ones, and the shift back again. */
function scramble(h: u64): u64 {
  h *= 0x9e3779b97f4a7c15;
  return h ^ (h >> 32);
}

function hashOf(kind: u32, ports: u32, addresses: usize): u64 {
  let h = scramble(load<u64>(addresses) ^ load<u64>(FLOW_SEED));
  if ((kind & 0xff) == 6) {
    h = scramble(h ^ load<u64>(addresses, 8));
    h = scramble(h ^ load<u64>(addresses, 16));
    h = scramble(h ^ load<u64>(addresses, 24));
  }
  return scramble(h ^ ((<u64>kind) << 32) ^ ports);
}

function tagOf(hash: u64): u32 {
  const tag = <u32>(hash >> 48);
  return tag ? tag : 1;
}

function firstSet(hash: u64): u32 {
  return <u32>hash & setMask();
}

function secondSet(hash: u64): u32 {
  return (<u32>hash ^ ((tagOf(hash) * 0x9e3b) | 1)) & setMask();
}

function setMask(): u32 {
  return (1 << load<u32>(FLOW_SET_BITS)) - 1;
}

function recordAt(index: u32): Flow {
  return changetype<Flow>(FLOWS + index * FLOW_SIZE);
}

function tagPlace(flow: Flow): usize {
  return FLOW_TAGS + (((changetype<usize>(flow) - FLOWS) / FLOW_SIZE) << 1);
}

function find(kind: u32, ports: u32, addresses: usize): Flow {
  const hash = hashOf(kind, ports, addresses);
  const tags = i16x8.splat(<i16>tagOf(hash));
  const flow = findIn(firstSet(hash), tags, kind, ports, addresses);
  return flow != NONE ? flow : findIn(secondSet(hash), tags, kind, ports, addresses);
}

function findIn(set: u32, tags: v128, kind: u32, ports: u32, addresses: usize): Flow {
  let hits = i16x8.bitmask(i16x8.eq(v128.load(FLOW_TAGS + set * SET_TAGS), tags));
  for (; hits; hits &= hits - 1) {
    const flow = recordAt(set * SET_SIZE + <u32>ctz(hits));
    if (isOf(flow, kind, ports, addresses)) return flow;
  }
  return NONE;
}

function isOf(flow: Flow, kind: u32, ports: u32, addresses: usize): bool {
  if (flow.kind != kind || flow.ports != ports) return false;
  const own = flowAddresses(flow);
  if ((kind & 0xff) == 4) return load<u64>(own) == load<u64>(addresses);
  const sources = v128.xor(v128.load(own), v128.load(addresses));
  const destinations = v128.xor(v128.load(own, 16), v128.load(addresses, 16));
  return !v128.any_true(v128.or(sources, destinations));
}

function makeRecord(
  p: Packet,
  account: u32,
  kind: u32,
  ports: u32,
  addresses: usize,
  state: u32,
): Flow {
  const hash = hashOf(kind, ports, addresses);
  const flow = findPlace(hash, account, p.rule != 0);
  if (flow == NONE) return NONE;
  memory.fill(changetype<usize>(flow), 0, FLOW_SIZE);
  flow.kind = kind;
  flow.ports = ports;
  memory.copy(flowAddresses(flow), addresses, (kind & 0xff) == 4 ? 8 : 32);
  flow.state = <u8>state;
  flow.account = <u16>account;
  flow.last = load<u32>(NOW);
  flow.batch = load<u32>(BATCH_NUMBER);
  store<u16>(tagPlace(flow), <u16>tagOf(hash));
  return flow;
}

/** The record of the replies. Where they lead is looked up when the first one comes. */
function makeTwin(p: Packet, first: Flow): Flow {
  const ports = reversePorts(p.protocol, p.ports);
  reverseAddresses(p.family, flowAddresses(first));
  return makeRecord(p, first.account, first.kind ^ DIRECTION_BIT, ports, REVERSED, first.state);
}

function release(flow: Flow): void {
  flow.state = <u8>FREE;
  store<u16>(tagPlace(flow), 0);
}

/** A free place in one of the two sets, or one that a flow is driven from that matters less; null if there is none. */
function findPlace(hash: u64, account: u32, isPoliced: bool): Flow {
  const first = firstSet(hash);
  const second = secondSet(hash);
  const flow = freeIn(first, second);
  if (flow != NONE) return flow;
  const least = giveWay(first, second, account, isPoliced);
  if (least != NONE) forget(least);
  return least;
}

/**
 * Chooses the emptier set: the table is then 3/4 full before both sets of a flow are full, where
 * the first free place would get it only to 1/2. A nearly empty first set is preferred, because it
 * is searched first.
 */
function freeIn(first: u32, second: u32): Flow {
  const NEARLY_EMPTY = 6;
  let set = first;
  let free = freePlaces(first);
  if (popcnt(free) < NEARLY_EMPTY) {
    const others = freePlaces(second);
    if (popcnt(others) > popcnt(free)) {
      set = second;
      free = others;
    }
  }
  return free ? recordAt(set * SET_SIZE + <u32>ctz(free)) : NONE;
}

/** A bit for each. */
function freePlaces(set: u32): i32 {
  return i16x8.bitmask(i16x8.eq(v128.load(FLOW_TAGS + set * SET_TAGS), i16x8.splat(0)));
}

// How early a flow is evicted for a newcomer.
const OVER: u32 = 0;
const OPEN: u32 = 1;
const HALF_OPEN: u32 = 2;
const EXCHANGE: u32 = 3;
const CONNECTION: u32 = 4;
const NEVER: u32 = 5;

/**
 * The flow to evict for a newcomer; the second set is searched if the first would lose a working
 * connection.
 */
function giveWay(first: u32, second: u32, account: u32, isPoliced: bool): Flow {
  const flow = leastIn(first, account, isPoliced);
  const rank = flow == NONE ? NEVER : rankOf(flow, account, isPoliced);
  if (rank <= HALF_OPEN) return flow;
  const other = leastIn(second, account, isPoliced);
  return other != NONE && rankOf(other, account, isPoliced) < rank ? other : flow;
}

/** Among the flows of the set that are evicted earliest, the one that was idle longest. */
function leastIn(set: u32, account: u32, isPoliced: bool): Flow {
  let least = NONE;
  let soonest = NEVER;
  let longest: u32 = 0;
  for (let i: u32 = 0; i < SET_SIZE; i++) {
    const flow = recordAt(set * SET_SIZE + i);
    const rank = rankOf(flow, account, isPoliced);
    if (rank == OVER) return flow;
    if (rank > soonest || rank == NEVER) continue;
    const quiet = quietFor(flow);
    if (rank == soonest && quiet <= longest) continue;
    least = flow;
    soonest = rank;
    longest = quiet;
  }
  return least;
}

/**
 * How early the flow is evicted for a newcomer on this account. A flow without policy loses only
 * its record; a newcomer without policy evicts no other. A policed connection is evicted for its
 * own account while it is half-open, or an exchange of datagrams; for another account only if that
 * holds less, or if the exchange was one packet each way. A flooding party evicts no answered
 * connection of another account.
 */
function rankOf(flow: Flow, account: u32, isPoliced: bool): u32 {
  if (isPointedAt(flow)) return NEVER;
  if (flow.state >= TIME_WAIT || isExpired(flow)) return OVER;
  if (flow.rule == 0) return OPEN;
  if (!isPoliced) return NEVER;
  const holder: u32 = flow.account;
  if (isHalfOpen(flow.state)) return holdsHalfOpen(holder, account) ? NEVER : HALF_OPEN;
  const isOwn = holder == account;
  const isExchange = flow.state <= OTHER_REPLIED;
  if (isExchange && isAnsweredOnce(flow) && (isOwn || !isFlooding(account))) return HALF_OPEN;
  if (isOwn) return isExchange ? EXCHANGE : NEVER;
  if (isFlooding(account) || !isHeavy(holder, account)) return NEVER;
  if (!outweighs(holder, account, 2)) return NEVER;
  return isExchange ? EXCHANGE : CONNECTION;
}

/** Are half-open connections of the first account safe from a newcomer of the other? */
function holdsHalfOpen(holder: u32, account: u32): bool {
  if (holder == account || isFlooding(holder)) return false;
  return isFlooding(account) || !outweighs(holder, account, 1);
}

/** One packet each way, such as a query and its answer: most such exchanges are over then. */
function isAnsweredOnce(flow: Flow): bool {
  return flow.packets + flow.twin.packets <= 2;
}

function quietFor(flow: Flow): u32 {
  return flow.twin == NONE ? idle(flow) : min(idle(flow), idle(flow.twin));
}

function isPointedAt(flow: Flow): bool {
  const batch = load<u32>(BATCH_NUMBER);
  return flow.batch == batch || (flow.twin != NONE && flow.twin.batch == batch);
}

function isHalfOpen(state: u32): bool {
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

// ------------------------------------------------------------------------ time

/**
 * NOW wraps after 2^32 milliseconds (49 days), so a record left alone that long would seem young.
 * Two bounds of 2^30 milliseconds (12 days) prevent it, since no timeout is longer: after 12 days
 * without a batch all connections are forgotten, and no set goes unswept for longer.
 */
const LONGEST: f64 = 1073741824;

/** Sets NOW for a batch; called before any packet points at a record. */
export function takeTime(): void {
  const clock = load<f64>(CLOCK);
  const passed = clock - load<f64>(NOW_CLOCK);
  store<f64>(NOW_CLOCK, clock);
  store<u32>(NOW, <u32>(<u64>clock));
  if (passed > LONGEST) forgetAll();
  else if (clock - load<f64>(SWEEP_CLOCK) > LONGEST) sweepAll();
}

// ---------------------------------------------------------------------- expiry

/** All sets are looked through once in so many milliseconds, in slices of at most so many sets. */
const SWEEP: u32 = 8192;
const SLICE: u32 = 16;

/** Forgets what expired, in the next few sets. Before a batch, when no packet points at anything. */
export function sweep(): void {
  const passed = load<u32>(NOW) - load<u32>(SWEPT_AT);
  const due = <u32>(((<u64>passed) << load<u32>(FLOW_SET_BITS)) / SWEEP);
  if (due == 0) return;
  // What is left of a set's share of the time counts for the next slice; more than a slice is let go.
  const left = due > SLICE ? 0 : passed - <u32>((<u64>due * SWEEP) >> load<u32>(FLOW_SET_BITS));
  store<u32>(SWEPT_AT, load<u32>(NOW) - left);
  const from = load<u32>(NEXT_SWEPT);
  const slice = min(due, SLICE);
  for (let i: u32 = 0; i < slice; i++) sweepSet((from + i) & setMask());
  const next = (from + slice) & setMask();
  store<u32>(NEXT_SWEPT, next);
  if (next < from) store<f64>(SWEEP_CLOCK, load<f64>(CLOCK));
}

/** The same for all sets at once, when much time passed. */
export function expireAll(): void {
  takeTime();
  sweepAll();
}

function sweepAll(): void {
  for (let set: u32 = 0; set <= setMask(); set++) sweepSet(set);
  store<u32>(NEXT_SWEPT, 0);
  store<f64>(SWEEP_CLOCK, load<f64>(CLOCK));
}

function sweepSet(set: u32): void {
  if (isEmpty(set)) return;
  for (let i: u32 = 0; i < SET_SIZE; i++) {
    const flow = recordAt(set * SET_SIZE + i);
    if (flow.state != FREE && isExpired(flow)) forget(flow);
  }
}

function forgetAll(): void {
  for (let set: u32 = 0; set <= setMask(); set++) {
    if (isEmpty(set)) continue;
    for (let i: u32 = 0; i < SET_SIZE; i++) {
      const flow = recordAt(set * SET_SIZE + i);
      if (flow.state != FREE) forget(flow);
    }
  }
}

function isEmpty(set: u32): bool {
  return !v128.any_true(v128.load(FLOW_TAGS + set * SET_TAGS));
}

// ------------------------------------------------------------------------ keys

function kindOf(p: Packet, direction: u32): u32 {
  return p.family | (p.protocol << 8) | (direction << 16);
}

/** Puts them the other way round to REVERSED. */
export function reverseAddresses(family: u32, addresses: usize): void {
  if (family == 4) {
    store<u64>(REVERSED, rotl<u64>(load<u64>(addresses), 32));
  } else {
    v128.store(REVERSED, v128.load(addresses, 16));
    v128.store(REVERSED, v128.load(addresses), 16);
  }
}

/** What stands for the ports of the replies: they change sides, and an echo's type changes. */
export function reversePorts(protocol: u32, ports: u32): u32 {
  if (protocol == ICMP) return ports ^ ((icmp.ECHO ^ icmp.ECHO_REPLY) << ECHO_TYPE_SHIFT);
  if (protocol == ICMPV6) return ports ^ ((icmpv6.ECHO ^ icmpv6.ECHO_REPLY) << ECHO_TYPE_SHIFT);
  return rotl<u32>(ports, 16);
}
