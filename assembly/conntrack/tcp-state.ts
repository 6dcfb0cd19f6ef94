/**
 * How far a TCP connection came, as one sees it who stands between its ends.
 * What each end did is kept in the record of its direction; the state follows
 * from both. Sequence numbers are held against the windows that the ends gave
 * each other (van Rooij, "Real stateful TCP packet filtering", 2001).
 *
 *            acked by the other end       sent            may be sent
 *   ----------------|----------------------|-------------------|----------->
 *          twin.acked                     end               maxEnd
 */
import { Packet } from "../packet";
import * as tcp from "../wire/tcp";
import { setFirst, setState } from "./connection";
import {
  CLOSING,
  ESTABLISHED,
  Flow,
  HALF_CLOSED,
  lastSynAt,
  RESET,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from "./flow";

// What an end did: bits of Flow.side.
/** It sent something that counts. */
const SEEN: u32 = 1;
/** Its SYN was acknowledged. */
const OPENED: u32 = 2;
const FINISHED: u32 = 4;
/** Its FIN was acknowledged. */
const HEARD: u32 = 8;
/** Its SYN had a window scale. */
const SCALED: u32 = 16;
/** Taken up in its middle, or in fragments: what the windows are is not known. */
const LOOSE: u32 = 32;

/** Who has fallen behind by so much may still acknowledge it, however small its window is. */
const LATE_ACK: u32 = 66000;
/** RFC 7323, 2.3. */
const MAX_SCALE: u32 = 14;

/** The flags that say what a segment is. */
const KIND: u32 = tcp.FIN | tcp.SYN | tcp.RST | tcp.ACK;

/**
 * A SYN that passed in a connection under way and changed nothing yet. The receiver's answer
 * decides whether it takes effect.
 */
@unmanaged
class LastSyn {
  sequence: u32;
  /** Bytes of data in it. */
  data: u16;
  window: u16;
  /** Window scale of its option, or NO_SCALE. */
  scale: u8;
  /** NONE, SYN or SYN_ACK. */
  kind: u8;
}
const NONE: u8 = 0;
const SYN: u8 = 1;
const SYN_ACK: u8 = 2;
const NO_SCALE: u8 = 0xff;

function lastSynOf(flow: Flow): LastSyn {
  return changetype<LastSyn>(lastSynAt(flow));
}

export function isSyn(p: Packet): bool {
  return (tcp.flags(p.ip + p.transport) & KIND) == tcp.SYN;
}

/** May a connection be taken up with it, whose beginning nobody saw? */
export function isMiddle(p: Packet): bool {
  return (tcp.flags(p.ip + p.transport) & KIND) == tcp.ACK;
}

/** The first packet of a connection: a SYN, or what `isMiddle`. */
export function openTcp(p: Packet, first: Flow): void {
  if (isSyn(p)) return start(p, first, first.twin);
  first.side = <u8>(SEEN | OPENED);
  first.end = endOf(p);
  first.acked = acknowledgment(p);
  first.twin.acked = first.end;
  setLoose(first);
}

/** From now on nothing is held against its windows. */
export function setLoose(flow: Flow): void {
  flow.side |= <u8>LOOSE;
  flow.twin.side |= <u8>LOOSE;
}

/** Does the segment fit what the connection came to? If so, the connection goes on with it. */
export function advance(p: Packet, own: Flow): bool {
  const other = own.twin;
  const kind = tcp.flags(p.ip + p.transport) & KIND;
  if (kind == tcp.ACK && isSteady(own, other)) return carryOn(p, own, other);
  switch (kind) {
    case tcp.SYN:
    case tcp.SYN | tcp.ACK:
      return meetSyn(p, own, other, kind == tcp.SYN);
    case tcp.RST:
    case tcp.RST | tcp.ACK:
      return meetReset(p, own, other, kind == tcp.RST);
    case tcp.ACK:
    case tcp.FIN | tcp.ACK:
      return meetSegment(p, own, other);
    default:
      return false;
  }
}

// ------------------------------------------------------------------------- SYN

function meetSyn(p: Packet, own: Flow, other: Flow, isFirst: bool): bool {
  if (own.state >= TIME_WAIT) return isFirst && own.isFirst ? reopen(p, own, other) : false;
  return isFirst ? meetFirstSyn(p, own, other) : meetSynAck(p, own, other);
}

/**
 * A SYN opens the connection, also when it is repeated, perhaps with another number, or when the
 * other end opens at the same time. In a connection under way it changes nothing, since it may be
 * forged, but it is remembered. A receiver that has that connection answers with a challenge ACK
 * (RFC 9293, 3.10.7.4); one that no longer has it acknowledges the SYN.
 */
function meetFirstSyn(p: Packet, own: Flow, other: Flow): bool {
  const isUnderWay = (own.side & LOOSE) != 0 || (own.side & other.side & SEEN) != 0;
  if (!isUnderWay) start(p, own, other);
  else if (!isRepeated(p, own)) remember(p, own, SYN);
  return true;
}

function meetSynAck(p: Packet, own: Flow, other: Flow): bool {
  if (acknowledges(p, other, SYN) && !isRepeated(p, own)) return resynchronize(p, own, other);
  if (own.side & LOOSE) return true;
  if ((other.side & SEEN) == 0) return false;
  if ((other.side & OPENED) == 0) {
    if (!opens(acknowledgment(p), other)) return false;
    // A new end has acknowledged nothing yet.
    if ((own.side & SEEN) == 0) start(p, own, other);
    acknowledge(p, own, other, 0, true);
    updateState(own, other);
    return true;
  }
  // The other end's ACK will tell which of two different SYN-ACKs it took.
  const isOpening = (own.side & OPENED) == 0 && acknowledgment(p) == own.acked;
  if (isOpening && !isRepeated(p, own)) remember(p, own, SYN_ACK);
  return true;
}

/** A repeat: its end sent all of this before, and nothing after it. */
function isRepeated(p: Packet, own: Flow): bool {
  return (own.side & SEEN) != 0 && endOf(p) == own.end;
}

function remember(p: Packet, own: Flow, kind: u8): void {
  const segment = p.ip + p.transport;
  const scale = tcp.findScale(segment);
  const syn = lastSynOf(own);
  syn.sequence = tcp.sequence(segment);
  syn.data = <u16>(endOf(p) - syn.sequence - 1);
  syn.window = <u16>tcp.window(segment);
  syn.scale = scale ? <u8>min<u32>(load<u8>(scale), MAX_SCALE) : NO_SCALE;
  syn.kind = kind;
}

/** Does it acknowledge the remembered SYN of the other end, and no more than that SYN carried? */
function acknowledges(p: Packet, other: Flow, kind: u8): bool {
  const syn = lastSynOf(other);
  return syn.kind == kind && acknowledgment(p) - (syn.sequence + 1) <= syn.data;
}

/** Takes the first segment of an end. */
function start(p: Packet, own: Flow, other: Flow): void {
  remember(p, own, SYN);
  take(own, other);
  updateState(own, other);
}

/** Begins an end from its remembered SYN. */
function take(own: Flow, other: Flow): void {
  const syn = lastSynOf(own);
  const isScaled = syn.scale != NO_SCALE;
  own.side = <u8>(SEEN | (isScaled ? SCALED : 0));
  own.scale = isScaled ? syn.scale : 0;
  own.end = syn.sequence + 1 + syn.data;
  own.maxEnd = syn.sequence + 1;
  own.maxWindow = max<u32>(syn.window, 1);
  other.acked = own.end;
  syn.kind = NONE;
}

/** The receiver accepted a SYN as the start of a connection, so the one under way is over. */
function resynchronize(p: Packet, own: Flow, other: Flow): bool {
  take(other, own);
  start(p, own, other);
  acknowledge(p, own, other, 0, true);
  updateState(own, other);
  setFirst(other);
  return true;
}

/** The other end accepted a later SYN-ACK: the state of the earlier one is discarded. */
function takeSynAck(p: Packet, own: Flow, other: Flow): void {
  if ((other.side & OPENED) != 0 || !acknowledges(p, other, SYN_ACK)) return;
  take(other, own);
  own.maxEnd = other.acked + other.maxWindow;
}

/** The same two ends begin anew (RFC 9293, 3.6.1). */
function reopen(p: Packet, own: Flow, other: Flow): bool {
  setState(own, SYN_SENT);
  other.side = 0;
  other.end = 0;
  other.maxEnd = 0;
  other.maxWindow = 0;
  lastSynOf(other).kind = NONE;
  start(p, own, other);
  return true;
}

/** Does this acknowledge the other end's SYN, and nothing that it did not send? */
function opens(ack: u32, other: Flow): bool {
  return ack - other.maxEnd <= other.end - other.maxEnd;
}

// ------------------------------------------------------------------------- RST

/**
 * Only what the receiver waits for closes; what is elsewhere in the window makes
 * it ask back (RFC 5961, 3.2); what is outside is none of the sender's.
 */
function meetReset(p: Packet, own: Flow, other: Flow, isBare: bool): bool {
  const sequence = tcp.sequence(p.ip + p.transport);
  const isRefusal = !isBare && own.state < TIME_WAIT && acknowledges(p, other, SYN);
  if (isRefusal) {
    // Its sender has no connection: neither the one under way nor a new one.
  } else if ((own.side & SEEN) == 0 && (own.side & LOOSE) == 0) {
    // A SYN is refused by acknowledging it (RFC 9293, 3.10.7.3).
    if (isBare || !opens(acknowledgment(p), other)) return false;
  } else if (sequence != other.acked && (sequence != own.end || (own.side & SEEN) == 0)) {
    if (own.side & LOOSE) return true;
    return isInWindow(sequence, sequence, limitOf(own, other), own, other);
  }
  if (own.state < TIME_WAIT) setState(own, RESET);
  return true;
}

// -------------------------------------------------------------- data, ACK, FIN

/** Both ends opened, none wants to end, and their windows are known: nothing but the numbers can change. */
function isSteady(own: Flow, other: Flow): bool {
  const asked = SEEN | OPENED | FINISHED | LOOSE;
  return (own.side & asked) == (SEEN | OPENED) && (other.side & asked) == (SEEN | OPENED);
}

/** What `meetSegment` comes to then. */
function carryOn(p: Packet, own: Flow, other: Flow): bool {
  const segment = p.ip + p.transport;
  const sequence = tcp.sequence(segment);
  const ack = tcp.acknowledgment(segment);
  const end = sequence + p.length - p.transport - tcp.headerLength(segment);
  if (!isInWindow(sequence, end, own.maxEnd, own, other)) return false;
  if (!isOfLate(ack, own, other)) return false;
  const window = max<u32>(tcp.window(segment) << scaleOf(own, other), 1);
  if (isAfter(end, own.end)) own.end = end;
  if (window > own.maxWindow) own.maxWindow = window;
  if (isAfter(ack, own.acked)) own.acked = ack;
  if (isAfter(ack + window, other.maxEnd)) other.maxEnd = ack + window;
  return true;
}

function meetSegment(p: Packet, own: Flow, other: Flow): bool {
  const ack = acknowledgment(p);
  if ((own.side & LOOSE) == 0) {
    if ((own.side & SEEN) == 0) {
      // An end that still has an older connection answers a SYN so, and is then reset (RFC 9293, 3.5.1).
      own.acked = ack;
      return true;
    }
    takeSynAck(p, own, other);
    if ((other.side & SEEN) == 0 || !fits(p, ack, own, other)) return false;
  }
  if (lastSynOf(own).kind == SYN_ACK) lastSynOf(own).kind = NONE;
  const end = endOf(p);
  const isFirst = (own.side & LOOSE ? own.side & SEEN : other.side & OPENED) == 0;
  if ((own.side & SEEN) == 0 || isAfter(end, own.end)) own.end = end;
  own.side |= <u8>(SEEN | (isFinal(p) ? FINISHED : 0) | (own.side & LOOSE ? OPENED : 0));
  acknowledge(p, own, other, scaleOf(own, other), isFirst);
  updateState(own, other);
  return true;
}

function fits(p: Packet, ack: u32, own: Flow, other: Flow): bool {
  const end = endOf(p);
  if ((own.side & FINISHED) != 0 && isAfter(end, own.end)) return false;
  const sequence = tcp.sequence(p.ip + p.transport);
  if (!isInWindow(sequence, end, limitOf(own, other), own, other)) return false;
  if ((other.side & OPENED) == 0) return opens(ack, other);
  return isOfLate(ack, own, other);
}

/** Does it acknowledge what was sent, and nothing that is long over? */
function isOfLate(ack: u32, own: Flow, other: Flow): bool {
  return !isAfter(ack, other.end) && !isAfter(other.end - max(own.maxWindow, LATE_ACK), ack);
}

/**
 * The limit up to which the other end lets it send. Before its own SYN is acknowledged that is the
 * window in the other's SYN: an end that takes data with a SYN answers it at once (RFC 7413,
 * 4.2.2).
 */
function limitOf(own: Flow, other: Flow): u32 {
  return own.side & OPENED ? own.maxEnd : own.maxEnd + other.maxWindow;
}

/** Refuses what lies beyond the limit, or is too old to be requested again. */
function isInWindow(from: u32, end: u32, limit: u32, own: Flow, other: Flow): bool {
  return !isAfter(from, limit) && !isAfter(own.end - other.maxWindow, end);
}

/** Takes what the segment says to the other end: what came, and how much more may. */
function acknowledge(p: Packet, own: Flow, other: Flow, scale: u32, isFirst: bool): void {
  const ack = acknowledgment(p);
  const window = max<u32>(tcp.window(p.ip + p.transport) << scale, 1);
  own.maxWindow = max(own.maxWindow, window);
  if (isFirst || isAfter(ack, own.acked)) own.acked = ack;
  if (isFirst || isAfter(ack + window, other.maxEnd)) other.maxEnd = ack + window;
  if (other.side & SEEN) other.side |= <u8>OPENED;
  if (other.side & FINISHED && ack == other.end) other.side |= <u8>HEARD;
}

/** Windows are shifted only if both ends said that they would (RFC 7323, 2.2). */
function scaleOf(own: Flow, other: Flow): u32 {
  return own.side & other.side & SCALED ? own.scale : 0;
}

/** The state of the connection, from what both ends did. */
function updateState(own: Flow, other: Flow): void {
  if (own.state < TIME_WAIT) setState(own, stateOf(own.side & other.side, own.side | other.side));
}

function stateOf(both: u32, either: u32): u32 {
  if ((both & OPENED) == 0) return both & SEEN ? SYN_RECEIVED : SYN_SENT;
  if (both & HEARD) return TIME_WAIT;
  if (both & FINISHED) return CLOSING;
  return either & FINISHED ? HALF_CLOSED : ESTABLISHED;
}

// -------------------------------------------------------------------- a segment

function acknowledgment(p: Packet): u32 {
  return tcp.acknowledgment(p.ip + p.transport);
}

function isFinal(p: Packet): bool {
  return (tcp.flags(p.ip + p.transport) & tcp.FIN) != 0;
}

/** What comes next after it: SYN and FIN take a number each. */
function endOf(p: Packet): u32 {
  const segment = p.ip + p.transport;
  const flags = tcp.flags(segment);
  const data = p.length - p.transport - tcp.headerLength(segment);
  return tcp.sequence(segment) + data + u32((flags & tcp.SYN) != 0) + u32((flags & tcp.FIN) != 0);
}

/** Modulo 2^32 (RFC 9293, 3.4). */
function isAfter(a: u32, b: u32): bool {
  return <i32>(a - b) > 0;
}
