/**
 * The messages for sendmmsg. Each carries one datagram, or a train: datagrams of
 * one size and TOS to one peer, the last perhaps shorter, which the kernel takes
 * apart (UDP_SEGMENT). They live until the next pass.
 */
import {
  CAN_TRAIN,
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_ROOM,
  CMSG_TYPE,
  hostAddress,
  IOVEC_LEN,
  IOVEC_SIZE,
  MAX_PIECES,
  MAX_SEGMENTS,
  MAX_TRAIN,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  OFFLOADS,
  SEGMENT_COUNT,
  TRAIN_SIZE,
  TRAINS,
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

const SOL_UDP: u32 = 17;
const UDP_SEGMENT: u32 = 103;
const IPPROTO_IP: u32 = 0;
const IP_TOS: u32 = 1;
const IPPROTO_IPV6: u32 = 41;
const IPV6_TCLASS: u32 = 67;
/** The largest UDP payload on IPv4: the kernel builds the train as one packet first. */
const MAX_TRAIN_BYTES: u32 = 65507;
const IOVECS_SIZE: u32 = 2 * IOVEC_SIZE;

/** What we know of a message beyond what the kernel is told. */
@unmanaged
class Train {
  peer: u32;
  /** Bytes of each datagram but the last. */
  size: u32;
  /** Its first segment, and how many: each has two iovecs. */
  first: u32;
  segments: u32;
  bytes: u32;
  /** A shorter datagram ended it. */
  closed: u32;
  /** TOS or traffic class of its datagrams. */
  tos: u32;
}

function trainAt(i: u32): Train {
  return changetype<Train>(TRAINS + i * TRAIN_SIZE);
}

/** Is there room for whatever one more packet can become? */
export function hasRoom(): bool {
  return load<u32>(SEGMENT_COUNT) + MAX_PIECES <= MAX_SEGMENTS;
}

/** Room for the headers of the next datagram, when they do not fit before the packet itself. */
export function madeHeader(): usize {
  return WIRE_HEADERS + load<u32>(SEGMENT_COUNT) * WIRE_HEADER_SIZE;
}

/** One datagram of `p` to its peer: `length` bytes at `start`, then `moreLength` at `more`. */
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
  if (!joinTrain(p, i, length + moreLength)) startTrain(p, i, length + moreLength);
}

function joinTrain(p: Packet, segment: u32, size: u32): bool {
  const count = load<u32>(WIRE_COUNT);
  if (count == 0 || (load<u32>(OFFLOADS) & CAN_TRAIN) == 0) return false;
  const train = trainAt(count - 1);
  if (train.closed || train.peer != p.peer || size > train.size) return false;
  if (train.tos != p.outerTos) return false;
  // Its slices must stand side by side; what is cut for the device takes room between them.
  if (train.first + train.segments != segment) return false;
  if (train.segments == MAX_TRAIN || train.bytes + size > MAX_TRAIN_BYTES) return false;
  train.segments++;
  train.bytes += size;
  train.closed = u32(size < train.size);
  if (train.segments == 2) announceTrain(count - 1, train.size);
  store<u64>(WIRE + (count - 1) * MMSGHDR_SIZE, train.segments * 2, MMSGHDR_IOVLEN);
  return true;
}

function startTrain(p: Packet, segment: u32, size: u32): void {
  const i = load<u32>(WIRE_COUNT);
  const train = trainAt(i);
  train.peer = p.peer;
  train.size = size;
  train.first = segment;
  train.segments = 1;
  train.bytes = size;
  train.closed = 0;
  train.tos = p.outerTos;
  writeMessage(i, p.peer, segment, train.tos);
  store<u32>(WIRE_COUNT, i + 1);
}

/** A message of one datagram. */
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

/** The kernel's own TOS is 0. */
function announceTos(i: u32, isIPv4: bool, tos: u32): void {
  const control = isIPv4
    ? addControl(i, IPPROTO_IP, IP_TOS, 4)
    : addControl(i, IPPROTO_IPV6, IPV6_TCLASS, 4);
  store<u32>(control, tos);
}

/** Tells the kernel to cut message `i` into datagrams of `size` bytes; wrong for a single one. */
function announceTrain(i: u32, size: u32): void {
  store<u16>(addControl(i, SOL_UDP, UDP_SEGMENT, 2), <u16>size);
}

/** One more control message of message `i`; gives where its data goes, 8 bytes at most. */
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

export function isTrain(i: u32): bool {
  return trainAt(i).segments > 1;
}

/**
 * The kernel would not take message `i` as a train: from there on every
 * datagram goes by itself. Laid out from the end, so that no train is written
 * over before it was read: message number k never stands before its train.
 */
export function splitTrains(i: u32): void {
  const count = load<u32>(WIRE_COUNT);
  let next = i;
  for (let t = i; t < count; t++) next += trainAt(t).segments;
  store<u32>(WIRE_COUNT, next);
  for (let t = count; t > i; t--) {
    const train = trainAt(t - 1);
    const peer = train.peer;
    const first = train.first;
    const tos = train.tos;
    for (let s = train.segments; s > 0; s--) {
      next--;
      writeMessage(next, peer, first + s - 1, tos);
      const single = trainAt(next);
      single.peer = peer;
      single.first = first + s - 1;
      single.segments = 1;
      single.tos = tos;
    }
  }
}

/** The kernel refused message `i`: the packets it carried something of are lost. */
export function sendFailed(i: u32, reason: i32): void {
  const train = trainAt(i);
  for (let s: u32 = 0; s < train.segments; s++) packetOf(train.first + s).verdict = reason;
}

function packetOf(segment: u32): Packet {
  return changetype<Packet>(<usize>load<u32>(WIRE_PACKETS + segment * 4));
}
