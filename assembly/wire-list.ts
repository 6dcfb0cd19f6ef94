/**
 * The messages for sendmmsg. Each has one datagram, or a GSO batch: datagrams of one size and TOS to
 * one peer, the last perhaps shorter, which the kernel separates (UDP_SEGMENT). They are valid until
 * the next pass.
 */
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  IOVEC_LEN,
  IOVEC_SIZE,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_TCLASS,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  SOL_UDP,
  UDP_SEGMENT,
} from "./linux";
import {
  CAN_GSO,
  CMSG_ROOM,
  GSO_BATCH_SIZE,
  GSO_BATCHES,
  hostAddress,
  MAX_GSO,
  MAX_PIECES,
  MAX_SEGMENTS,
  OFFLOADS,
  SEGMENT_COUNT,
  WIRE,
  WIRE_CONTROLS,
  WIRE_COUNT,
  WIRE_HEADER_SIZE,
  WIRE_HEADERS,
  WIRE_IOVECS,
  WIRE_PACKETS,
} from "./memory";
import { Packet } from "./packet";
import { isIPv4, peerAt, sockaddrLength } from "./tables/peer";

/** Largest UDP payload on IPv4: the kernel builds the GSO batch as one packet first. */
const MAX_GSO_BYTES: u32 = 65507;
const IOVECS_SIZE: u32 = 2 * IOVEC_SIZE;

/** Data of a message that the kernel does not have. */
@unmanaged
class GsoBatch {
  peer: u32;
  /** Bytes of each datagram but the last. */
  size: u32;
  /** Its first segment, and their number; each has two iovecs. */
  first: u32;
  segments: u32;
  bytes: u32;
  /** Whether a shorter datagram ended it. */
  closed: u32;
  /** TOS or traffic class of its datagrams. */
  tos: u32;
}

function gsoBatchAt(i: u32): GsoBatch {
  return changetype<GsoBatch>(GSO_BATCHES + i * GSO_BATCH_SIZE);
}

/** Whether there is room for one more packet, whatever it becomes. */
export function hasRoom(): bool {
  return load<u32>(SEGMENT_COUNT) + MAX_PIECES <= MAX_SEGMENTS;
}

/** Room for the headers of the next datagram, if they do not fit before the packet itself. */
export function madeHeader(): usize {
  return WIRE_HEADERS + load<u32>(SEGMENT_COUNT) * WIRE_HEADER_SIZE;
}

/** Adds one datagram of `p` to its peer: `length` bytes at `start`, then `moreLength` at `more`. */
export function pushDatagram(
  p: Packet,
  start: usize,
  length: u32,
  more: usize,
  moreLength: u32,
): void {
  const i = load<u32>(SEGMENT_COUNT);
  const iovecs = WIRE_IOVECS + i * IOVECS_SIZE;
  store<u64>(iovecs, hostAddress(start));
  store<u64>(iovecs, length, IOVEC_LEN);
  store<u64>(iovecs, hostAddress(more), IOVEC_SIZE);
  store<u64>(iovecs, moreLength, IOVEC_SIZE + IOVEC_LEN);
  store<u32>(WIRE_PACKETS + i * 4, <u32>changetype<usize>(p));
  store<u32>(SEGMENT_COUNT, i + 1);
  if (!extendGsoBatch(p, i, length + moreLength)) startGsoBatch(p, i, length + moreLength);
}

function extendGsoBatch(p: Packet, segment: u32, size: u32): bool {
  const count = load<u32>(WIRE_COUNT);
  if (count == 0 || (load<u32>(OFFLOADS) & CAN_GSO) == 0) return false;
  const batch = gsoBatchAt(count - 1);
  if (batch.closed || batch.peer != p.peer || size > batch.size) return false;
  if (batch.tos != p.outerTos) return false;
  // Its slices must be adjacent; packets cut for the device take room between them.
  if (batch.first + batch.segments != segment) return false;
  if (batch.segments == MAX_GSO || batch.bytes + size > MAX_GSO_BYTES) return false;
  batch.segments++;
  batch.bytes += size;
  batch.closed = u32(size < batch.size);
  if (batch.segments == 2) announceGso(count - 1, batch.size);
  store<u64>(WIRE + (count - 1) * MMSGHDR_SIZE, batch.segments * 2, MMSGHDR_IOVLEN);
  return true;
}

function startGsoBatch(p: Packet, segment: u32, size: u32): void {
  const i = load<u32>(WIRE_COUNT);
  const batch = gsoBatchAt(i);
  batch.peer = p.peer;
  batch.size = size;
  batch.first = segment;
  batch.segments = 1;
  batch.bytes = size;
  batch.closed = 0;
  batch.tos = p.outerTos;
  writeMessage(i, p.peer, segment, batch.tos);
  store<u32>(WIRE_COUNT, i + 1);
}

/** Writes a message of one datagram. */
function writeMessage(i: u32, peer: u32, segment: u32, tos: u32): void {
  const message = WIRE + i * MMSGHDR_SIZE;
  const record = peerAt(peer);
  store<u64>(message, hostAddress(record), MMSGHDR_NAME);
  store<u32>(message, sockaddrLength(record), MMSGHDR_NAMELEN);
  store<u64>(message, hostAddress(WIRE_IOVECS + segment * IOVECS_SIZE), MMSGHDR_IOV);
  store<u64>(message, 2, MMSGHDR_IOVLEN);
  store<u64>(message, hostAddress(WIRE_CONTROLS + i * CMSG_ROOM), MMSGHDR_CONTROL);
  store<u64>(message, 0, MMSGHDR_CONTROLLEN);
  if (tos) announceTos(i, isIPv4(record), tos);
}

/** A TOS of 0 is the kernel's default and needs no control message. */
function announceTos(i: u32, isIPv4: bool, tos: u32): void {
  const control = isIPv4
    ? addControl(i, IPPROTO_IP, IP_TOS, 4)
    : addControl(i, IPPROTO_IPV6, IPV6_TCLASS, 4);
  store<u32>(control, tos);
}

/** Makes the kernel cut message `i` into datagrams of `size` bytes; not for a single datagram. */
function announceGso(i: u32, size: u32): void {
  store<u16>(addControl(i, SOL_UDP, UDP_SEGMENT, 2), <u16>size);
}

/** Adds a control message to message `i`; returns the address of its data, 8 bytes at most. */
function addControl(i: u32, level: u32, type: u32, size: u32): usize {
  const message = WIRE + i * MMSGHDR_SIZE;
  const before = load<u64>(message, MMSGHDR_CONTROLLEN);
  const control = WIRE_CONTROLS + i * CMSG_ROOM + <usize>before;
  store<u64>(control, CMSG_DATA + size);
  store<u32>(control, level, CMSG_LEVEL);
  store<u32>(control, type, CMSG_TYPE);
  store<u64>(message, before + CMSG_DATA + 8, MMSGHDR_CONTROLLEN);
  return control + CMSG_DATA;
}

export function isGsoBatch(i: u32): bool {
  return gsoBatchAt(i).segments > 1;
}

/**
 * The kernel refused message `i` as a GSO batch: from there on every datagram gets its own message.
 * They are written from the end, so that no GSO batch is overwritten before it is read: message number
 * k is never before its GSO batch.
 */
export function splitGsoBatches(i: u32): void {
  const count = load<u32>(WIRE_COUNT);
  let next = i;
  for (let t = i; t < count; t++) next += gsoBatchAt(t).segments;
  store<u32>(WIRE_COUNT, next);
  for (let t = count; t > i; t--) {
    const batch = gsoBatchAt(t - 1);
    const peer = batch.peer;
    const first = batch.first;
    const tos = batch.tos;
    for (let s = batch.segments; s > 0; s--) {
      next--;
      writeMessage(next, peer, first + s - 1, tos);
      const single = gsoBatchAt(next);
      single.peer = peer;
      single.first = first + s - 1;
      single.segments = 1;
      single.tos = tos;
    }
  }
}

/** The kernel refused message `i`: all packets with a part in it are lost. */
export function sendFailed(i: u32, reason: i32): void {
  const batch = gsoBatchAt(i);
  for (let s: u32 = 0; s < batch.segments; s++) packetOf(batch.first + s).verdict = reason;
}

function packetOf(segment: u32): Packet {
  return changetype<Packet>(<usize>load<u32>(WIRE_PACKETS + segment * 4));
}
