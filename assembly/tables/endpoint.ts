/**
 * The underlay addresses that peers send from or receive at: a hash table with linear probing, one
 * entry for each endpoint of each peer. A free place has peer NO_PEER.
 *
 *   +------+------+
 *   | hash | peer |
 *   +------+------+
 */
import { AF_INET, SOCKADDR_IPV4, SOCKADDR_IPV6 } from "../linux";
import { CLOCK, ENDPOINTS_AT, SEARCHED } from "../memory";
import {
  areHeaders,
  hasAddress,
  hintPathMtu,
  isVerified,
  learnPathMtu,
  maySendFrom,
  NO_PEER,
} from "./peer";

@unmanaged
class EndpointEntry {
  hash: u32;
  peer: u32;
}

export const ENDPOINT_HASH: usize = offsetof<EndpointEntry>("hash");
export const ENDPOINT_PEER: usize = offsetof<EndpointEntry>("peer");
export const ENDPOINT_SIZE: u32 = offsetof<EndpointEntry>();
/** 2^17 places: with all addresses of all peers little more than a quarter is in use, so probes are short. */
export const ENDPOINT_BITS: u32 = 17;

/** 2^32 divided by the golden ratio: spreads neighbouring addresses (Knuth, 6.4). */
const SPREAD: u32 = 0x9e3779b1;
const MASK: u32 = (1 << ENDPOINT_BITS) - 1;

/** Milliseconds after which a path MTU expires (RFC 1191, 6.3). */
const PATH_MTU_LIFETIME: f64 = 600_000;
/** Bytes that every path carries (RFC 791, 3.1; RFC 8200, 5); a smaller report is a mistake or an attack. */
const LEAST_MTU: u32 = 576;
const LEAST_MTU_6: u32 = 1280;
const OVERHEAD_4: u32 = 50;
const OVERHEAD_6: u32 = 70;

/** Whether any peer sends from this endpoint. */
export function isKnown(sockaddr: usize): bool {
  let place = find(sockaddr, start(sockaddr));
  while (place != NOWHERE) {
    if (maySendFrom(peerIn(place), sockaddr)) return true;
    place = find(sockaddr, (place + 1) & MASK);
  }
  return false;
}

/**
 * Handles the report that packets to this underlay address must not exceed `mtu` bytes, outer IP header
 * included, for every peer there. A report of this host's own interface (`isLocal`) takes effect at
 * once. ICMP, which can be forged, is a hint that the control plane verifies; for a peer that answers
 * no probes it takes effect if it quotes a frame sent to that peer.
 */
export function notePathMtu(sockaddr: usize, mtu: u32, isLocal: bool, quote: usize): void {
  const isIPv4 = load<u16>(sockaddr) == AF_INET;
  const inner = max(mtu, isIPv4 ? LEAST_MTU : LEAST_MTU_6) - (isIPv4 ? OVERHEAD_4 : OVERHEAD_6);
  const until = load<f64>(CLOCK) + PATH_MTU_LIFETIME;
  let place = find(sockaddr, start(sockaddr));
  while (place != NOWHERE) {
    const peer = peerIn(place);
    if (hasAddress(peer, sockaddr)) {
      if (isLocal || (!isVerified(peer) && areHeaders(peer, quote))) {
        learnPathMtu(peer, inner, until);
      } else if (isVerified(peer)) hintPathMtu(peer, inner);
    }
    place = find(sockaddr, (place + 1) & MASK);
  }
}

const NOWHERE: u32 = 0xffffffff;

/** The first place from `place` on with a peer that may have this address. */
function find(sockaddr: usize, place: u32): u32 {
  const wanted = hash(sockaddr);
  while (true) {
    const entry = entryAt(place);
    const peer = load<u32>(entry, ENDPOINT_PEER);
    if (peer == NO_PEER) return NOWHERE;
    if (load<u32>(entry, ENDPOINT_HASH) == wanted) return place;
    place = (place + 1) & MASK;
  }
}

function peerIn(place: u32): u32 {
  return load<u32>(entryAt(place), ENDPOINT_PEER);
}

function entryAt(place: u32): usize {
  return load<usize>(SEARCHED) + ENDPOINTS_AT + place * ENDPOINT_SIZE;
}

function start(sockaddr: usize): u32 {
  return hash(sockaddr) >> (32 - ENDPOINT_BITS);
}

/** Hash of the address alone; `src/compile/endpoints.ts` computes the same. */
function hash(sockaddr: usize): u32 {
  if (load<u16>(sockaddr) == AF_INET) return load<u32>(sockaddr, SOCKADDR_IPV4) * SPREAD;
  let h: u32 = 0;
  for (let i: u32 = 0; i < 16; i += 4) h = (h ^ load<u32>(sockaddr + SOCKADDR_IPV6 + i)) * SPREAD;
  return h;
}
