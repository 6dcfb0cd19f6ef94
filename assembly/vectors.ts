/**
 * The vectors between core and kernel: where recvmmsg puts datagrams, and the
 * lists of what sendmmsg and write take away. They live until the next pass.
 */
import {
  ANSWER_SIZE,
  ANSWERS,
  BATCH,
  DEVICE,
  DEVICE_COUNT,
  DEVICE_SIZE,
  ENCAP_SIZE,
  hostAddress,
  IOVEC_LEN,
  IOVEC_SIZE,
  ipAt,
  MAX_FRAGMENTS,
  MAX_PACKET,
  MAX_WIRE,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  NAME_SIZE,
  RECEIVE,
  RECEIVE_IOVECS,
  RECEIVE_NAMES,
  SOCKADDR_IPV4,
  SOCKADDR_SIZE,
  WIRE,
  WIRE_COUNT,
  WIRE_HEADER_SIZE,
  WIRE_HEADERS,
  WIRE_IOVECS,
  WIRE_PACKETS,
} from "./memory";
import { indexOf, Packet, packetAt } from "./packet";
import { sockaddrLength } from "./tables/peer";

const AF_INET: u32 = 2;

// ------------------------------------------------------------- receiving

/** Points each vector of recvmmsg at its slot: once, when the host's address is known. */
export function prepareReceive(): void {
  for (let i: u32 = 0; i < BATCH; i++) {
    const message = RECEIVE + i * MMSGHDR_SIZE;
    const iovec = RECEIVE_IOVECS + i * IOVEC_SIZE;
    store<u64>(message, hostAddress(RECEIVE_NAMES + i * NAME_SIZE), MMSGHDR_NAME);
    store<u64>(message, hostAddress(iovec), MMSGHDR_IOV);
    store<u64>(message, 1, MMSGHDR_IOVLEN);
    store<u64>(iovec, hostAddress(ipAt(i) - ENCAP_SIZE));
    store<u64>(iovec, ENCAP_SIZE + MAX_PACKET, IOVEC_LEN);
  }
  rearmReceive(BATCH);
}

/** recvmmsg shortens the name lengths; they are set again before it is called again. */
export function rearmReceive(count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(RECEIVE + i * MMSGHDR_SIZE, SOCKADDR_SIZE, MMSGHDR_NAMELEN);
  }
}

export function receivedLength(i: u32): u32 {
  return load<u32>(RECEIVE + i * MMSGHDR_SIZE, MMSGHDR_LEN);
}

/** The underlay address datagram `i` came from, network order; 0 if not IPv4. */
export function receivedFrom(i: u32): u32 {
  const name = RECEIVE_NAMES + i * NAME_SIZE;
  return load<u16>(name) == AF_INET ? load<u32>(name, SOCKADDR_IPV4) : 0;
}

// --------------------------------------------------------------- sending

export function clear(): void {
  store<u32>(WIRE_COUNT, 0);
  store<u32>(DEVICE_COUNT, 0);
}

/** Is there room for whatever one more packet can become? */
export function hasRoom(): bool {
  return load<u32>(WIRE_COUNT) + MAX_FRAGMENTS <= MAX_WIRE;
}

/** Room for the headers of the next datagram, when they do not fit before the packet itself. */
export function madeHeader(): usize {
  return WIRE_HEADERS + load<u32>(WIRE_COUNT) * WIRE_HEADER_SIZE;
}

/** One datagram of `p` for `peer`: `length` bytes at `start`, then `moreLength` at `more` (or none). */
export function pushDatagram(
  p: Packet,
  peer: usize,
  start: usize,
  length: u32,
  more: usize,
  moreLength: u32,
): void {
  const i = load<u32>(WIRE_COUNT);
  const message = WIRE + i * MMSGHDR_SIZE;
  const iovecs = WIRE_IOVECS + i * 2 * IOVEC_SIZE;
  store<u64>(iovecs, hostAddress(start));
  store<u64>(iovecs, length, IOVEC_LEN);
  store<u64>(iovecs, hostAddress(more), IOVEC_SIZE);
  store<u64>(iovecs, moreLength, IOVEC_SIZE + IOVEC_LEN);
  store<u64>(message, hostAddress(peer), MMSGHDR_NAME);
  store<u32>(message, sockaddrLength(peer), MMSGHDR_NAMELEN);
  store<u64>(message, hostAddress(iovecs), MMSGHDR_IOV);
  store<u64>(message, moreLength ? 2 : 1, MMSGHDR_IOVLEN);
  store<u32>(WIRE_PACKETS + i * 4, indexOf(p));
  store<u32>(WIRE_COUNT, i + 1);
}

/** Room for an ICMP answer, virtio-net header first, until `pushWrite` takes it. */
export function answerBuffer(): usize {
  return ANSWERS + load<u32>(DEVICE_COUNT) * ANSWER_SIZE;
}

/** One device write on behalf of `p`. A packet causes at most one, so the list cannot overflow. */
export function pushWrite(p: Packet, start: usize, length: u32): void {
  const i = load<u32>(DEVICE_COUNT);
  const entry = DEVICE + i * DEVICE_SIZE;
  store<u32>(entry, <u32>start);
  store<u32>(entry, length, 4);
  store<u32>(entry, indexOf(p), 8);
  store<u32>(DEVICE_COUNT, i + 1);
}

// ---------------------------------------------------------------- failing

/** The kernel refused datagram `i`: its packet is lost. Gives the next datagram of another packet. */
export function sendFailed(i: u32, reason: i32): u32 {
  const packet = load<u32>(WIRE_PACKETS + i * 4);
  packetAt(packet).verdict = reason;
  const count = load<u32>(WIRE_COUNT);
  do i++;
  while (i < count && load<u32>(WIRE_PACKETS + i * 4) == packet);
  return i;
}

/** The device refused write `i`. */
export function writeFailed(i: u32, reason: i32): void {
  packetAt(load<u32>(DEVICE + i * DEVICE_SIZE, 8)).verdict = reason;
}
