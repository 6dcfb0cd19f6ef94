/**
 * Captured packets (`weft capture`): the first bytes of each as received, and its outcome. The core
 * puts them into a ring, and the host takes them out (src/core/capture.ts). Neither waits for the
 * other; packets that find the ring full are counted.
 *
 * `size` is that of the record and the free bytes behind it; 0 means that the next record is at the
 * beginning of the ring. Of the packet's `length` bytes, `kept` are in the record. An outbound packet
 * has no sender.
 *
 * Stages change headers, so the head of each packet is copied before them, and the ring is filled at
 * the end of the batch, when verdicts are final. Bytes behind the head do not change. Without a
 * capture, all of this costs one load per batch.
 */
import { SOCKADDR_SIZE } from "./linux";
import {
  CAPTURE_ANY,
  CAPTURE_BATCH,
  CAPTURE_DROPPED,
  CAPTURE_END_SIZE,
  CAPTURE_ENDS,
  CAPTURE_FAMILY,
  CAPTURE_FILTERED,
  CAPTURE_HEAD,
  CAPTURE_HEADS,
  CAPTURE_LOST,
  CAPTURE_ON,
  CAPTURE_PROTOCOL,
  CAPTURE_PUT,
  CAPTURE_RECORD,
  CAPTURE_RING,
  CAPTURE_RING_SIZE,
  CAPTURE_SNAPLEN,
  CAPTURE_TAKEN,
  CAPTURE_WANTED,
  CLOCK,
  IN,
  PACKET_COUNT,
} from "./memory";
import { Packet, packetAt } from "./packet";
import { isLaterFragment } from "./stages/parse";
import { NO_PEER, THIS_NODE } from "./tables/peer";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import { SCTP, TCP, UDP } from "./wire/protocol";

/** Written by the core. */
@unmanaged
export class CaptureProgress {
  /** Value of `on` at the beginning of the running batch. */
  batch: u32;
  /** Atomic: bytes put into the ring, modulo 2^32. */
  put: u32;
  /** Atomic: packets that found the ring full. */
  lost: u32;
}

/** Written by the host; the two ends of the filter follow. */
@unmanaged
export class CaptureRequest {
  /** Atomic: 1 during a capture. */
  on: u32;
  /** Atomic: bytes taken out of the ring, modulo 2^32. */
  taken: u32;
  /** Most bytes kept of each packet. */
  snaplen: u32;
  /** 1: only packets that are dropped or refused. */
  dropped: u32;
  /** 1: only packets of this family, this protocol and these ends; each may be CAPTURE_ANY. */
  filtered: u32;
  family: u32;
  protocol: u32;
}

/** An end of a filter. IPv4 takes the first 4 bytes of address and mask; the others are zeros. */
@unmanaged
export class CaptureEnd {
  address: v128;
  mask: v128;
  /** Or CAPTURE_ANY. */
  port: u32;
}

export const CAPTURE_END_MASK: usize = offsetof<CaptureEnd>("mask");
export const CAPTURE_END_PORT: usize = offsetof<CaptureEnd>("port");

@unmanaged
export class CaptureRecord {
  size: u32;
  length: u32;
  /** CLOCK of the batch. */
  time: f64;
  /** Positions in the table of peers. */
  from: u32;
  to: u32;
  verdict: i32;
  rule: u32;
  segmentSize: u32;
  kept: u32;
  direction: u32;
  // The sender's sockaddr follows, then, at CAPTURE_RECORD, the packet.
}

// Offsets for the host.
export const CAPTURED_SIZE: usize = offsetof<CaptureRecord>("size");
export const CAPTURED_LENGTH: usize = offsetof<CaptureRecord>("length");
export const CAPTURED_TIME: usize = offsetof<CaptureRecord>("time");
export const CAPTURED_FROM: usize = offsetof<CaptureRecord>("from");
export const CAPTURED_TO: usize = offsetof<CaptureRecord>("to");
export const CAPTURED_VERDICT: usize = offsetof<CaptureRecord>("verdict");
export const CAPTURED_RULE: usize = offsetof<CaptureRecord>("rule");
export const CAPTURED_SEGMENT_SIZE: usize = offsetof<CaptureRecord>("segmentSize");
export const CAPTURED_KEPT: usize = offsetof<CaptureRecord>("kept");
export const CAPTURED_DIRECTION: usize = offsetof<CaptureRecord>("direction");
export const CAPTURED_SENDER: usize = offsetof<CaptureRecord>();

/** Port of a packet without ports; no filter has this value. */
const NO_PORT: u32 = 0x10000;
/** Alignment of records, so that 16 bytes are copied at a time. */
const ALIGNMENT: u32 = 16;

/** A batch is captured as a whole, or not at all: a new capture begins with the next batch. */
export function latchCapture(): void {
  store<u32>(CAPTURE_BATCH, atomic.load<u32>(CAPTURE_ON));
}

/** Keeps the heads of packets `from`..`to`-1, before any stage behind `parse` and `offload` changes them. */
export function keepHeads(from: u32, to: u32): void {
  if (load<u32>(CAPTURE_BATCH) == 0) return;
  for (let i = from; i < to; i++) {
    const p = packetAt(i);
    // The owner of its destination is not looked up.
    if (p.verdict) p.owner = NO_PEER;
    const wanted = isAskedFor(p);
    store<u32>(CAPTURE_WANTED + i * 4, u32(wanted));
    if (wanted) copyHead(p.ip, CAPTURE_HEADS + i * CAPTURE_HEAD, CAPTURE_HEAD);
  }
}

/** Puts the packets that match the filter into the ring, once each packet of the batch has its verdict. */
export function captureAll(direction: u32): void {
  if (load<u32>(CAPTURE_BATCH) == 0) return;
  const count = load<u32>(PACKET_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    if (load<u32>(CAPTURE_WANTED + i * 4) == 0) continue;
    if (packetAt(i).verdict == 0 && load<u32>(CAPTURE_DROPPED)) continue;
    capture(i, direction);
  }
}

function capture(i: u32, direction: u32): void {
  const p = packetAt(i);
  // The length of a datagram too short for its headers wrapped below zero.
  const length = <u32>max(0, <i32>p.length);
  const kept = min(length, load<u32>(CAPTURE_SNAPLEN));
  const size = (CAPTURE_RECORD + kept + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
  const record = makeRoom(size);
  if (!record) {
    atomic.add<u32>(CAPTURE_LOST, 1);
    return;
  }
  const captured = changetype<CaptureRecord>(record);
  captured.size = size;
  captured.length = length;
  captured.time = load<f64>(CLOCK);
  captured.from = direction == IN ? (p.origin ? p.origin : p.peer) : THIS_NODE;
  captured.to = p.owner;
  captured.verdict = p.verdict;
  captured.rule = p.rule;
  captured.segmentSize = p.segmentSize;
  captured.kept = kept;
  captured.direction = direction;
  if (direction == IN) memory.copy(record + CAPTURED_SENDER, p.sender, SOCKADDR_SIZE);
  const bytes = record + CAPTURE_RECORD;
  copyHead(CAPTURE_HEADS + i * CAPTURE_HEAD, bytes, min(kept, CAPTURE_HEAD));
  if (kept > CAPTURE_HEAD) {
    memory.copy(bytes + CAPTURE_HEAD, p.ip + CAPTURE_HEAD, kept - CAPTURE_HEAD);
  }
  // The record is complete: the host sees this store only after all stores before it.
  atomic.add<u32>(CAPTURE_PUT, size);
}

/** The address of the next record, in one piece; 0 if the host has not taken out enough for it to fit. */
function makeRoom(size: u32): usize {
  const put = load<u32>(CAPTURE_PUT);
  const used = put - atomic.load<u32>(CAPTURE_TAKEN);
  const at = put & (CAPTURE_RING_SIZE - 1);
  const left = CAPTURE_RING_SIZE - at;
  const skipped = size > left ? left : 0;
  if (used + skipped + size > CAPTURE_RING_SIZE) return 0;
  if (!skipped) return CAPTURE_RING + at;
  store<u32>(CAPTURE_RING + at, 0);
  atomic.add<u32>(CAPTURE_PUT, skipped);
  return CAPTURE_RING;
}

/** Copies up to 15 bytes more than `length`: there is room for them on both sides. */
function copyHead(from: usize, to: usize, length: u32): void {
  for (let at: u32 = 0; at < length; at += 16) v128.store(to + at, v128.load(from + at));
}

// ------------------------------------------------------------------ the filter

/** Whether it belongs to the connection of the filter, in either direction. Refused headers match none. */
function isAskedFor(p: Packet): bool {
  if (load<u32>(CAPTURE_FILTERED) == 0) return true;
  if (p.verdict || !allows(CAPTURE_FAMILY, p.family) || !allows(CAPTURE_PROTOCOL, p.protocol)) {
    return false;
  }
  const near = CAPTURE_ENDS;
  const far = CAPTURE_ENDS + CAPTURE_END_SIZE;
  return (
    (isEnd(near, source(p), sourcePort(p)) && isEnd(far, destination(p), destinationPort(p))) ||
    (isEnd(far, source(p), sourcePort(p)) && isEnd(near, destination(p), destinationPort(p)))
  );
}

/** Whether the address is within the end's prefix, and the port is the end's. */
function isEnd(end: usize, address: v128, port: u32): bool {
  const differs = v128.xor(address, v128.load(end));
  if (v128.any_true(v128.and(differs, v128.load(end, CAPTURE_END_MASK)))) return false;
  return allows(end + CAPTURE_END_PORT, port);
}

function allows(word: usize, value: u32): bool {
  const asked = load<u32>(word);
  return asked == CAPTURE_ANY || asked == value;
}

function source(p: Packet): v128 {
  return p.family == 4 ? v128.load32_zero(ipv4.addresses(p.ip)) : v128.load(ipv6.source(p.ip));
}

function destination(p: Packet): v128 {
  return p.family == 4
    ? v128.load32_zero(ipv4.addresses(p.ip) + 4)
    : v128.load(ipv6.destination(p.ip));
}

function sourcePort(p: Packet): u32 {
  return hasPorts(p) ? bswap<u16>(load<u16>(p.ip + p.transport)) : NO_PORT;
}

function destinationPort(p: Packet): u32 {
  return hasPorts(p) ? bswap<u16>(load<u16>(p.ip + p.transport, 2)) : NO_PORT;
}

function hasPorts(p: Packet): bool {
  if (p.protocol != TCP && p.protocol != UDP && p.protocol != SCTP) return false;
  return !isLaterFragment(p) && p.transport + 4 <= p.length;
}
