/**
 * The peers: the destination of each tunnel, and the headers of its frames, made once
 * (src/compile/peers.ts) and copied for each packet.
 *
 *   0          28        32                        54     55    56    60         64        160    192
 *   +----------+---------+-------+----------------+------+-----+-----+----------+---------+------+
 *   | sockaddr | its     | VXLAN | inner Ethernet | TOS  | TOS | MTU | is it    | senders | 0    |
 *   |          | length  | header| header         | kept | set |     | verified |         |      |
 *   +----------+---------+-------+----------------+------+-----+-----+----------+---------+------+
 *
 * The sockaddr is the destination of packets to the peer; its length is 0 while no path to the peer is
 * known. Senders are the endpoints of its own packets, 24 bytes each: family, port and IPv4 address as
 * in a sockaddr_in, or family and port, four zeros and the IPv6 address. Port 0 means any port. Unused
 * ones are zeros. An outer header has the bits of the inner TOS that are kept, and the bits that are
 * set: no ECN for a peer that may not combine it (RFC 6040, 4.1), and the DSCP from the configuration.
 */
import {
  AF_INET,
  AF_INET6,
  SOCKADDR_IPV4,
  SOCKADDR_IPV6,
  SOCKADDR_PORT,
  SOCKADDR_SCOPE,
  Sockaddr,
} from "../linux";
import {
  CLOCK,
  ENCAP_SIZE,
  HINTS,
  HINTS_PUT,
  MAX_PEERS,
  MAX_SENDERS,
  PATH_MTU,
  PATH_MTU_HINT,
  PATH_MTU_LEARNED,
  PATH_MTU_SIZE,
  PATH_MTU_UNTIL,
  PEER_SIZE,
  PEERS_AT,
  SEARCHED,
} from "../memory";
import { Packet } from "../packet";
import * as ethernet from "../wire/ethernet";
import { VXLAN_SIZE } from "../wire/vxlan";

/** The sockaddr comes first; the senders follow. */
@unmanaged
class PeerRecord extends Sockaddr {
  sockaddrLength: u32;
  /** VXLAN and Ethernet headers, 22 bytes. */
  headers: v128;
  headers16: u32;
  headers20: u16;
  tosKept: u8;
  tosSet: u8;
  mtu: u32;
  isVerified: u32;
}

export const PEER_SOCKADDR_LENGTH: usize = offsetof<PeerRecord>("sockaddrLength");
export const PEER_HEADERS: usize = offsetof<PeerRecord>("headers");
export const PEER_TOS_KEPT: usize = offsetof<PeerRecord>("tosKept");
export const PEER_TOS_SET: usize = offsetof<PeerRecord>("tosSet");
export const PEER_MTU: usize = offsetof<PeerRecord>("mtu");
export const PEER_IS_VERIFIED: usize = offsetof<PeerRecord>("isVerified");
export const PEER_SENDERS: usize = offsetof<PeerRecord>();
/** A sender is a sockaddr without its scope. */
export const PEER_SENDER_SIZE: u32 = SOCKADDR_SCOPE;

/** The only part of the headers that differs between packets to one peer. */
const ETHER_TYPE_SIZE: u32 = 2;

/** The bits of the port in the first 8 bytes of a sockaddr, as loaded. */
const PORT_BITS: u64 = 0xffff0000;

/** Results of a lookup without a match, and for this node's own leases. */
export const NO_PEER: u32 = 0;
export const THIS_NODE: u32 = 1;
export const FIRST_PEER: u32 = 2;

/** The record of a peer, which begins with the peer's sockaddr. */
export function peerAt(index: u32): usize {
  return load<usize>(SEARCHED) + PEERS_AT + index * PEER_SIZE;
}

export function sockaddrLength(peer: usize): u32 {
  return load<u32>(peer, PEER_SOCKADDR_LENGTH);
}

export function isIPv4(peer: usize): bool {
  return load<u16>(peer) == AF_INET;
}

/** Whether there is an endpoint to send the peer's packets to. */
export function hasPath(index: u32): bool {
  return sockaddrLength(peerAt(index)) != 0;
}

/** Whether this sockaddr is one of the peer's senders. */
export function maySendFrom(index: u32, sockaddr: usize): bool {
  const isIPv4 = load<u16>(sockaddr) == AF_INET;
  const head: u64 = isIPv4 ? load<u64>(sockaddr) : <u64>load<u32>(sockaddr);
  const high: u64 = isIPv4 ? 0 : load<u64>(sockaddr, SOCKADDR_IPV6);
  const low: u64 = isIPv4 ? 0 : load<u64>(sockaddr, SOCKADDR_IPV6 + 8);
  const senders = peerAt(index) + PEER_SENDERS;
  for (let at: u32 = 0; at < MAX_SENDERS * PEER_SENDER_SIZE; at += PEER_SENDER_SIZE) {
    const sender = senders + at;
    if (isHead(sender, head) && load<u64>(sender, 8) == high && load<u64>(sender, 16) == low)
      return true;
  }
  return false;
}

/** Whether family, port and IPv4 address match; any port does if the sender's is 0. */
function isHead(sender: usize, head: u64): bool {
  const difference = load<u64>(sender) ^ head;
  if (difference == 0) return true;
  return (difference & ~PORT_BITS) == 0 && load<u16>(sender, SOCKADDR_PORT) == 0;
}

/** Whether packets to the peer go to this sockaddr's address. The port does not matter. */
export function hasAddress(index: u32, sockaddr: usize): bool {
  const peer = peerAt(index);
  const family: u32 = load<u16>(sockaddr);
  if (family != load<u16>(peer)) return false;
  if (family == AF_INET)
    return load<u32>(peer, SOCKADDR_IPV4) == load<u32>(sockaddr, SOCKADDR_IPV4);
  return (
    family == AF_INET6 &&
    load<u64>(peer, SOCKADDR_IPV6) == load<u64>(sockaddr, SOCKADDR_IPV6) &&
    load<u64>(peer, SOCKADDR_IPV6 + 8) == load<u64>(sockaddr, SOCKADDR_IPV6 + 8)
  );
}

/**
 * Whether packets to the peer go to this sockaddr, or to the same address while this sockaddr is one of
 * its senders.
 */
export function leadsTo(index: u32, sockaddr: usize): bool {
  if (!hasAddress(index, sockaddr)) return false;
  const isPort = load<u16>(peerAt(index), SOCKADDR_PORT) == load<u16>(sockaddr, SOCKADDR_PORT);
  return isPort || maySendFrom(index, sockaddr);
}

/** The largest inner packet that the path is known to carry in one datagram. */
export function pathMtu(index: u32): u32 {
  const mtu = load<u32>(peerAt(index), PEER_MTU);
  const learned = PATH_MTU + index * PATH_MTU_SIZE;
  const lower = load<u32>(learned, PATH_MTU_LEARNED);
  if (lower == 0 || lower >= mtu) return mtu;
  return load<f64>(CLOCK) < load<f64>(learned, PATH_MTU_UNTIL) ? lower : mtu;
}

/**
 * The path MTU for this packet. Every link under IPv6 carries 1280 bytes (RFC 8200, 5), and no IPv6
 * sender goes below, whatever an ICMP error says.
 */
export function mtuFor(p: Packet): u32 {
  const LEAST_MTU_6: u32 = 1280;
  const mtu = pathMtu(p.peer);
  return p.family == 6 ? max(mtu, LEAST_MTU_6) : mtu;
}

/** TOS or traffic class of a datagram to the peer around a packet with TOS `inner`. */
export function outerTos(index: u32, inner: u32): u32 {
  const peer = peerAt(index);
  return (inner & load<u8>(peer, PEER_TOS_KEPT)) | load<u8>(peer, PEER_TOS_SET);
}

/** Whether the control plane verifies the MTU of the peer's path by probes. */
export function isVerified(index: u32): bool {
  return load<u32>(peerAt(index), PEER_IS_VERIFIED) != 0;
}

/**
 * Whether the headers at `start` are those of packets to the peer. An attacker that sees none of these
 * has to guess both MAC addresses.
 */
export function areHeaders(index: u32, start: usize): bool {
  return memory.compare(start, peerAt(index) + PEER_HEADERS, ENCAP_SIZE - ETHER_TYPE_SIZE) == 0;
}

/** Lowers the path MTU of the peer until `until` (CLOCK). */
export function learnPathMtu(index: u32, mtu: u32, until: f64): void {
  // A report never raises it (RFC 8201, 4).
  if (mtu > pathMtu(index)) return;
  const learned = PATH_MTU + index * PATH_MTU_SIZE;
  store<u32>(learned, mtu, PATH_MTU_LEARNED);
  store<f64>(learned, until, PATH_MTU_UNTIL);
}

/**
 * Stores a hint that the path to the peer carries no more than this; the smallest of several stays. The
 * control plane finds the peer in HINTS, once until it takes the hint.
 */
export function hintPathMtu(index: u32, mtu: u32): void {
  if (mtu >= pathMtu(index)) return;
  const hint = PATH_MTU + index * PATH_MTU_SIZE + PATH_MTU_HINT;
  const before = atomic.load<u32>(hint);
  if (before != 0 && before <= mtu) return;
  if (atomic.xchg<u32>(hint, mtu) != 0) return;
  const put = atomic.load<u32>(HINTS_PUT);
  store<u32>(HINTS + (put % MAX_PEERS) * 4, index);
  atomic.store<u32>(HINTS_PUT, put + 1);
}

/** Copies the VXLAN and Ethernet headers of the packet's peer to `to`. */
export function makeHeaders(p: Packet, to: usize): void {
  copyHeaders(peerAt(p.peer) + PEER_HEADERS, to);
  if (p.family == 6) ethernet.setEtherType(to + VXLAN_SIZE, ethernet.TYPE_IPV6);
}

/** 22 bytes in two overlapping moves. */
export function copyHeaders(from: usize, to: usize): void {
  v128.store(to, v128.load(from));
  store<u64>(to, load<u64>(from, ENCAP_SIZE - 8), ENCAP_SIZE - 8);
}
