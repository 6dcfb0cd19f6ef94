import { pushSlice, pushWrite, Write, writeAt } from "../device-list";
import {
  CAN_COALESCE_TCP,
  CAN_COALESCE_UDP,
  DEVICE_COUNT,
  MAX_SLICES,
  OFFLOADS,
  OPEN_BITS,
  OPEN_WRITES,
  VIRTIO_SIZE,
} from "../memory";
import { Packet } from "../packet";
import { checksumOffset, headersOf, isUnfinished, isVerified, pseudoSumOf } from "../transport";
import { fold } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { TCP, UDP } from "../wire/protocol";
import * as tcp from "../wire/tcp";
import * as udp from "../wire/udp";
import * as virtio from "../wire/virtio";
import { isFragment } from "./parse";

/** Longest IPv4 packet; the same limit applies to IPv6. */
const MAX_COALESCED: u32 = 65535;

/**
 * Gives the packet to the device: appended to the one before it in its stream, if both are segments of
 * one super-packet, otherwise alone. The order within a stream is kept: a packet that cannot be
 * appended closes the open write of its stream.
 */
export function coalesce(p: Packet): i32 {
  if (isFragment(p)) {
    // It may have no ports to find its stream by. To keep the order, all writes are closed.
    closeAll();
    write(p);
    return 0;
  }
  if (p.protocol != TCP && p.protocol != UDP) {
    write(p);
    return 0;
  }
  const place = OPEN_WRITES + hash(p) * 4;
  const open = load<u32>(place);
  if (open && append(p, open - 1)) return 0;

  const w = write(p);
  if (isUnfinished(p)) virtio.writeNeedsCsum(p.ip - VIRTIO_SIZE, p.transport, checksumOffset(p));
  store<u32>(place, isCoalescable(p) ? openFor(p, w) : 0);
  return 0;
}

/** Closes all writes, so that nothing more is appended to them. */
export function closeAll(): void {
  memory.fill(OPEN_WRITES, 0, (1 << OPEN_BITS) * 4);
}

function write(p: Packet): Write {
  const header = p.ip - VIRTIO_SIZE;
  virtio.writePlain(header);
  return pushWrite(p, header, VIRTIO_SIZE + p.length);
}

/** Opens a write for more packets; returns the entry of OPEN_WRITES: 1 + the number of the write. */
function openFor(p: Packet, w: Write): u32 {
  const at = p.ip + p.transport;
  w.length = p.length;
  w.size = p.length - headersOf(p);
  w.closed = 0;
  w.verified = 0;
  if (p.protocol == TCP) {
    w.nextSequence = tcp.sequence(at) + w.size;
    w.closed = tcp.flags(at) & tcp.PSH;
  }
  return p.write + 1;
}

/** Whether it has payload and nothing that prevents appending: no IP options, no special TCP flags. */
function isCoalescable(p: Packet): bool {
  if (p.transport != (p.family == 4 ? ipv4.IPV4_SIZE : ipv6.IPV6_SIZE)) return false;
  const at = p.ip + p.transport;
  const can = load<u32>(OFFLOADS);
  if (p.protocol == TCP) {
    if ((can & CAN_COALESCE_TCP) == 0 || (tcp.flags(at) & ~tcp.PSH) != tcp.ACK) return false;
  } else {
    if ((can & CAN_COALESCE_UDP) == 0 || udp.storedChecksum(at) == 0) return false;
    if (udp.udpLength(at) != p.length - p.transport) return false;
  }
  return p.length > headersOf(p);
}

/** Appends the payload of `p` to write `i`, if it continues it. */
function append(p: Packet, i: u32): bool {
  const w = writeAt(i);
  if (w.closed || !isSameStream(p, w.head) || !isCoalescable(p)) return false;
  const headers = headersOf(p);
  const payload = p.length - headers;
  if (payload > w.size || w.slices == MAX_SLICES || w.length + payload > MAX_COALESCED)
    return false;

  const at = p.ip + p.transport;
  if (p.protocol == TCP) {
    if (tcp.sequence(at) != w.nextSequence) return false;
    if (!tcp.isAlike(w.head.ip + w.head.transport, at)) return false;
  }
  // A corrupt payload must not get a valid checksum with the whole.
  if (!w.verified) w.verified = u32(isVerified(w.head));
  if (!w.verified || !isVerified(p)) return false;

  pushSlice(i, w, p.ip + headers, payload);
  w.coalesced = 1;
  w.length += payload;
  w.nextSequence += payload;
  if (payload < w.size) w.closed = 1;
  if (p.protocol == TCP && tcp.flags(at) & tcp.PSH) {
    const head = w.head.ip + w.head.transport;
    tcp.setFlags(head, tcp.flags(head) | tcp.PSH);
    w.closed = 1;
  }
  p.write = i;
  return true;
}

/** Completes the heads of all coalesced writes: lengths, checksums, and the size of segments. */
export function finishCoalesced(): void {
  const count = load<u32>(DEVICE_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const w = writeAt(i);
    if (w.coalesced) finishHead(w);
  }
}

function finishHead(w: Write): void {
  const p = w.head;
  const at = p.ip + p.transport;
  const length = w.length - p.transport;
  if (p.family == 4) {
    ipv4.setTotalLength(p.ip, w.length);
    ipv4.setChecksum(p.ip);
  } else {
    ipv6.setTotalLength(p.ip, w.length);
  }
  if (p.protocol == UDP) udp.setUdpLength(at, length);
  store<u16>(at + checksumOffset(p), <u16>fold(pseudoSumOf(p, p.ip, length)));

  const header = p.ip - VIRTIO_SIZE;
  virtio.writeNeedsCsum(header, p.transport, checksumOffset(p));
  virtio.writeGso(header, gsoTypeOf(p), headersOf(p), w.size);
}

function gsoTypeOf(p: Packet): u32 {
  if (p.protocol == UDP) return virtio.GSO_UDP_L4;
  return p.family == 4 ? virtio.GSO_TCPV4 : virtio.GSO_TCPV6;
}

/** Same addresses and ports, and the same TOS, TTL and flags. */
function isSameStream(a: Packet, b: Packet): bool {
  if (a.family != b.family || a.protocol != b.protocol || a.transport != b.transport) return false;
  if (load<u32>(a.ip + a.transport) != load<u32>(b.ip + b.transport)) return false;
  return a.family == 4 ? isSame4(a.ip, b.ip) : isSame6(a.ip, b.ip);
}

function isSame4(a: usize, b: usize): bool {
  return (
    ipv4.source(a) == ipv4.source(b) &&
    ipv4.destination(a) == ipv4.destination(b) &&
    ipv4.tos(a) == ipv4.tos(b) &&
    ipv4.ttl(a) == ipv4.ttl(b) &&
    ipv4.fragment(a) == ipv4.fragment(b)
  );
}

function isSame6(a: usize, b: usize): bool {
  if (ipv6.classAndLabel(a) != ipv6.classAndLabel(b) || ipv6.hopLimit(a) != ipv6.hopLimit(b)) {
    return false;
  }
  const addresses = v128.eq<u64>(v128.load(ipv6.source(a)), v128.load(ipv6.source(b)));
  const others = v128.eq<u64>(v128.load(ipv6.destination(a)), v128.load(ipv6.destination(b)));
  return v128.all_true<u64>(v128.and(addresses, others));
}

/** Hash of addresses and ports. Streams that share an entry only close each other's writes early. */
function hash(p: Packet): u32 {
  const SPREAD: u32 = 0x9e3779b1;
  let h = load<u32>(p.ip + p.transport) * SPREAD;
  if (p.family == 4) h ^= ipv4.source(p.ip) ^ bswap<u32>(ipv4.destination(p.ip));
  else h ^= load<u32>(ipv6.source(p.ip), 12) ^ bswap<u32>(load<u32>(ipv6.destination(p.ip), 12));
  return (h * SPREAD) >> (32 - OPEN_BITS);
}
