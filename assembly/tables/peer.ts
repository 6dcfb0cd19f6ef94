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
import { ENCAP_SIZE, PEER_SIZE, PEERS_AT, SEARCHED, SOCKADDR_IPV4 } from "../memory";

const SOCKADDR_LENGTH: usize = 28;
const HEADERS: usize = 32;
const MTU: usize = 56;

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
/** The underlay address, network order. */
export function underlayAddress(peer: usize): u32 {
  return load<u32>(peer, SOCKADDR_IPV4);
}
/** The largest inner packet that fits into one datagram on the way there. */
export function mtu(peer: usize): u32 {
  return load<u32>(peer, MTU);
}

/** Puts the VXLAN and Ethernet headers before the packet at `ip`; gives where they begin. */
export function prependHeaders(peer: usize, ip: usize): usize {
  const start = ip - ENCAP_SIZE;
  // 22 bytes in two overlapping moves.
  v128.store(start, v128.load(peer, HEADERS));
  store<u64>(start, load<u64>(peer, HEADERS + ENCAP_SIZE - 8), ENCAP_SIZE - 8);
  return start;
}
