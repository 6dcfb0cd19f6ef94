/**
 * The state of a TCP connection, seen from between its ends. The record of each direction has the
 * events of its sender; the state follows from both. Sequence numbers are checked against the windows
 * that the ends announced (van Rooij, "Real stateful TCP packet filtering", 2001).
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
  isFirst,
  lastSynAt,
  RESET,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from "./flow";

// Events of an end: bits of Flow.side.
/** It sent a segment that was accepted. */
const SEEN: u32 = 1;
/** Its SYN was acknowledged. */
const OPENED: u32 = 2;
const FINISHED: u32 = 4;
/** Its FIN was acknowledged. */
const FIN_ACKED: u32 = 8;
/** Its SYN had a window scale. */
const SCALED: u32 = 16;
/** Picked up in its middle, or in fragments: its windows are not known. */
const LOOSE: u32 = 32;

/** Bytes that an acknowledgment may lag behind, however small the window is. */
const LATE_ACK: u32 = 66000;
/** Largest window scale (RFC 7323, 2.3). */
const MAX_SCALE: u32 = 14;

/** The flags that determine the kind of a segment. */
const KIND: u32 = tcp.FIN | tcp.SYN | tcp.RST | tcp.ACK;

/**
 * A SYN that passed in an established connection and changed nothing yet. It takes effect only if the
 * receiver's reply accepts it.
 */
@unmanaged
class LastSyn {
  sequence: u32;
  /** Bytes of its data. */
  data: u16;
  window: u16;
  /** Its window scale, or NO_SCALE. */
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

/** Whether a connection may be picked up from this segment, without its beginning. */
export function isMiddle(p: Packet): bool {
  return (tcp.flags(p.ip + p.transport) & KIND) == tcp.ACK;
}

/** Handles the first packet of a connection: a SYN, or one of `isMiddle`. */
export function openTcp(p: Packet, first: Flow): void {
  if (isSyn(p)) return start(p, first, first.twin);
  first.side = <u8>(SEEN | OPENED);
  first.end = endOf(p);
  first.acked = acknowledgment(p);
  first.twin.acked = first.end;
  setLoose(first);
}

/** Stops checking sequence numbers against its windows. */
export function setLoose(flow: Flow): void {
  flow.side |= <u8>LOOSE;
  flow.twin.side |= <u8>LOOSE;
}

/**
 * Forgets the sequence numbers of a connection that went on unseen: the next segment of each end sets
 * them. A FIN is the last that its end sends, so its number stays.
 */
export function forgetNumbers(flow: Flow): void {
  if ((flow.side & FINISHED) == 0) flow.side &= <u8>~SEEN;
  flow.side |= <u8>LOOSE;
}

/** Whether the segment fits the state of the connection. If so, it advances the state. */
export function advance(p: Packet, own: Flow): bool {
  const other = own.twin;
  const kind = tcp.flags(p.ip + p.transport) & KIND;
  if (kind == tcp.ACK && isSteady(own, other)) return handleSteady(p, own, other);
  switch (kind) {
    case tcp.SYN:
    case tcp.SYN | tcp.ACK:
      return handleSyn(p, own, other, kind == tcp.SYN);
    case tcp.RST:
    case tcp.RST | tcp.ACK:
      return handleReset(p, own, other, kind == tcp.RST);
    case tcp.ACK:
    case tcp.FIN | tcp.ACK:
      return handleSegment(p, own, other);
    default:
      return false;
  }
}

// ------------------------------------------------------------------------- SYN

function handleSyn(p: Packet, own: Flow, other: Flow, isOpening: bool): bool {
  if (own.state >= TIME_WAIT) return isOpening && isFirst(own) ? reopen(p, own, other) : false;
  return isOpening ? handleFirstSyn(p, own, other) : handleSynAck(p, own, other);
}

/**
 * A SYN opens the connection, also when it is repeated, perhaps with another number, or when the other
 * end opens at the same time. In an established connection it may be forged, so it changes nothing and
 * is remembered. A receiver that has that connection replies with a challenge ACK (RFC 9293, 3.10.7.4);
 * one that no longer has it acknowledges the SYN.
 */
function handleFirstSyn(p: Packet, own: Flow, other: Flow): bool {
  const isUnderWay = (own.side & LOOSE) != 0 || (own.side & other.side & SEEN) != 0;
  if (!isUnderWay) start(p, own, other);
  else if (!isRepeated(p, own)) remember(p, own, SYN);
  return true;
}

function handleSynAck(p: Packet, own: Flow, other: Flow): bool {
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
  // The other end's ACK shows which of two different SYN-ACKs it accepted.
  const isOpening = (own.side & OPENED) == 0 && acknowledgment(p) == own.acked;
  if (isOpening && !isRepeated(p, own)) remember(p, own, SYN_ACK);
  return true;
}

/** Whether it repeats a segment: its end sent all of it before, and nothing after it. */
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

/** Whether it acknowledges the remembered SYN of the other end, and no more than that SYN had. */
function acknowledges(p: Packet, other: Flow, kind: u8): bool {
  const syn = lastSynOf(other);
  return syn.kind == kind && acknowledgment(p) - (syn.sequence + 1) <= syn.data;
}

/** Initializes an end from its first segment. */
function start(p: Packet, own: Flow, other: Flow): void {
  remember(p, own, SYN);
  take(own, other);
  updateState(own, other);
}

/** Initializes an end from its remembered SYN. */
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

/** The receiver accepted a SYN as the beginning of a connection, so the previous one is over. */
function resynchronize(p: Packet, own: Flow, other: Flow): bool {
  take(other, own);
  start(p, own, other);
  acknowledge(p, own, other, 0, true);
  updateState(own, other);
  setFirst(other);
  return true;
}

/** The other end accepted a later SYN-ACK: the state of the earlier one is dropped. */
function takeSynAck(p: Packet, own: Flow, other: Flow): void {
  if ((other.side & OPENED) != 0 || !acknowledges(p, other, SYN_ACK)) return;
  take(other, own);
  own.maxEnd = other.acked + other.maxWindow;
}

/** The same two ends open a new connection (RFC 9293, 3.6.1). */
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

/** Whether this acknowledges the other end's SYN, and nothing that the other end did not send. */
function opens(ack: u32, other: Flow): bool {
  return ack - other.maxEnd <= other.end - other.maxEnd;
}

// ------------------------------------------------------------------------- RST

/**
 * A reset closes the connection only at the exact sequence number that the receiver expects. Elsewhere
 * in the window the receiver replies with a challenge ACK (RFC 5961, 3.2); outside of it the reset does
 * not fit.
 */
function handleReset(p: Packet, own: Flow, other: Flow, isBare: bool): bool {
  const sequence = tcp.sequence(p.ip + p.transport);
  const isRefusal = !isBare && own.state < TIME_WAIT && acknowledges(p, other, SYN);
  if (isRefusal) {
    // Its sender has no connection: neither the one under way nor a new one.
  } else if ((own.side & SEEN) == 0 && (own.side & LOOSE) == 0) {
    // A SYN is refused by a reset that acknowledges it (RFC 9293, 3.10.7.3).
    if (isBare || !opens(acknowledgment(p), other)) return false;
  } else if (sequence != other.acked && (sequence != own.end || (own.side & SEEN) == 0)) {
    if (own.side & LOOSE) return true;
    return isInWindow(sequence, sequence, limitOf(own, other), own, other);
  }
  if (own.state < TIME_WAIT) setState(own, RESET);
  return true;
}

// -------------------------------------------------------------- data, ACK, FIN

/** Whether both ends are open, no FIN was sent, and the windows are known: only numbers can change. */
function isSteady(own: Flow, other: Flow): bool {
  const asked = SEEN | OPENED | FINISHED | LOOSE;
  return (own.side & asked) == (SEEN | OPENED) && (other.side & asked) == (SEEN | OPENED);
}

/** `handleSegment` for a steady connection. */
function handleSteady(p: Packet, own: Flow, other: Flow): bool {
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

function handleSegment(p: Packet, own: Flow, other: Flow): bool {
  const ack = acknowledgment(p);
  if ((own.side & LOOSE) == 0) {
    if ((own.side & SEEN) == 0) {
      // An end that still has an older connection replies to a SYN so, and is then reset (RFC 9293, 3.5.1).
      own.acked = ack;
      return true;
    }
    takeSynAck(p, own, other);
    if ((other.side & SEEN) == 0 || !fits(p, ack, own, other)) return false;
  }
  if (lastSynOf(own).kind == SYN_ACK) lastSynOf(own).kind = NONE;
  const end = endOf(p);
  const isFirstAck = (own.side & LOOSE ? own.side & SEEN : other.side & OPENED) == 0;
  if ((own.side & SEEN) == 0 || isAfter(end, own.end)) own.end = end;
  own.side |= <u8>(SEEN | (isFinal(p) ? FINISHED : 0) | (own.side & LOOSE ? OPENED : 0));
  acknowledge(p, own, other, scaleOf(own, other), isFirstAck);
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

/** Whether it acknowledges data that was sent, and not long ago. */
function isOfLate(ack: u32, own: Flow, other: Flow): bool {
  return !isAfter(ack, other.end) && !isAfter(other.end - max(own.maxWindow, LATE_ACK), ack);
}

/**
 * The sequence number up to which the other end lets it send. Before its own SYN is acknowledged that
 * is the window in the other's SYN: an end that accepts data with a SYN acknowledges it at once (RFC
 * 7413, 4.2.2).
 */
function limitOf(own: Flow, other: Flow): u32 {
  return own.side & OPENED ? own.maxEnd : own.maxEnd + other.maxWindow;
}

/** False beyond the limit, and for data too old to be requested again. */
function isInWindow(from: u32, end: u32, limit: u32, own: Flow, other: Flow): bool {
  return !isAfter(from, limit) && !isAfter(own.end - other.maxWindow, end);
}

/** Applies acknowledgment and window of the segment to the other end. */
function acknowledge(p: Packet, own: Flow, other: Flow, scale: u32, isFirstAck: bool): void {
  const ack = acknowledgment(p);
  const window = max<u32>(tcp.window(p.ip + p.transport) << scale, 1);
  own.maxWindow = max(own.maxWindow, window);
  if (isFirstAck || isAfter(ack, own.acked)) own.acked = ack;
  if (isFirstAck || isAfter(ack + window, other.maxEnd)) other.maxEnd = ack + window;
  if (other.side & SEEN) other.side |= <u8>OPENED;
  if (other.side & FINISHED && ack == other.end) other.side |= <u8>FIN_ACKED;
}

/** Windows are shifted only if both ends sent the option (RFC 7323, 2.2). */
function scaleOf(own: Flow, other: Flow): u32 {
  return own.side & other.side & SCALED ? own.scale : 0;
}

/** Computes the state of the connection from the events of both ends. */
function updateState(own: Flow, other: Flow): void {
  if (own.state < TIME_WAIT) setState(own, stateOf(own.side & other.side, own.side | other.side));
}

function stateOf(both: u32, either: u32): u32 {
  if ((both & OPENED) == 0) return both & SEEN ? SYN_RECEIVED : SYN_SENT;
  if (both & FIN_ACKED) return TIME_WAIT;
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

/** Sequence number behind it: SYN and FIN take one each. */
function endOf(p: Packet): u32 {
  const segment = p.ip + p.transport;
  const flags = tcp.flags(segment);
  const data = p.length - p.transport - tcp.headerLength(segment);
  return tcp.sequence(segment) + data + u32((flags & tcp.SYN) != 0) + u32((flags & tcp.FIN) != 0);
}

/** Whether `a` is after `b`, modulo 2^32 (RFC 9293, 3.4). */
function isAfter(a: u32, b: u32): bool {
  return <i32>(a - b) > 0;
}
