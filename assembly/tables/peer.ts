/**
 * The peers: where a tunnel leads, and the headers of every frame sent into it,
 * made once (src/compile/peers.ts) and copied for each packet.
 *
 *   0          28        32                        54    56    60
 *   +----------+---------+-------+----------------+-----+-----+------+
 *   | sockaddr | its     | VXLAN | inner Ethernet | 0   | MTU | 0    |
 *   |          | length  | header| header         |     |     |      |
 *   +----------+---------+-------+----------------+-----+-----+------+
 */
import {
  CLOCK,
  ENCAP_SIZE,
  PATH_MTU,
  PATH_MTU_SIZE,
  PEER_SIZE,
  PEERS_AT,
  SEARCHED,
  SOCKADDR_IPV4,
  SOCKADDR_IPV6,
} from "../memory";
import { Packet } from "../packet";
import * as ethernet from "../wire/ethernet";
import { VXLAN_SIZE } from "../wire/vxlan";

const SOCKADDR_LENGTH: usize = 28;
const HEADERS: usize = 32;
const MTU: usize = 56;
const PATH_MTU_UNTIL: usize = 8;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/** What `lookup` says where no prefix matches, and for this node's own leases. */
export const NO_PEER: u32 = 0;
export const THIS_NODE: u32 = 1;
export const FIRST_PEER: u32 = 2;

/** The record of a peer; it begins with the peer's sockaddr. */
export function peerAt(index: u32): usize {
  return load<usize>(SEARCHED) + PEERS_AT + index * PEER_SIZE;
}

export function sockaddrLength(peer: usize): u32 {
  return load<u32>(peer, SOCKADDR_LENGTH);
}

/** Is this sockaddr's address the peer's? The port does not matter. */
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

/** The largest inner packet that the way there takes in one datagram, as far as is known now. */
export function pathMtu(index: u32): u32 {
  const mtu = load<u32>(peerAt(index), MTU);
  const learned = PATH_MTU + index * PATH_MTU_SIZE;
  const lower = load<u32>(learned);
  if (lower == 0 || lower >= mtu) return mtu;
  return load<f64>(CLOCK) < load<f64>(learned, PATH_MTU_UNTIL) ? lower : mtu;
}

/**
 * The same for this packet. Every link under IPv6 takes 1280 bytes (RFC 8200, 5),
 * and no IPv6 sender goes below, whatever it is told.
 */
export function mtuFor(p: Packet): u32 {
  const LEAST_MTU_6: u32 = 1280;
  const mtu = pathMtu(p.peer);
  return p.family == 6 ? max(mtu, LEAST_MTU_6) : mtu;
}

/** A router on the way to the peer said what it can take; believed until `until` (CLOCK). */
export function learnPathMtu(index: u32, mtu: u32, until: f64): void {
  // Never raised on somebody's word (RFC 8201, 4).
  if (mtu > pathMtu(index)) return;
  const learned = PATH_MTU + index * PATH_MTU_SIZE;
  store<u32>(learned, mtu);
  store<f64>(learned, until, PATH_MTU_UNTIL);
}

/** Copies the VXLAN and Ethernet headers of the packet's peer to `to`. */
export function makeHeaders(p: Packet, to: usize): void {
  copyHeaders(peerAt(p.peer) + HEADERS, to);
  if (p.family == 6) ethernet.setEtherType(to + VXLAN_SIZE, ethernet.TYPE_IPV6);
}

/** 22 bytes in two overlapping moves. */
export function copyHeaders(from: usize, to: usize): void {
  v128.store(to, v128.load(from));
  store<u64>(to, load<u64>(from, ENCAP_SIZE - 8), ENCAP_SIZE - 8);
}
