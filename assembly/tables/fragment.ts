/**
 * What was decided for a datagram by its first fragment, which alone has the
 * ports: it holds for those that come after it. A place for each by hash; a
 * newcomer takes it, so that there are never more than there is room for.
 *
 *   0      4                8           40      44        48        52     64
 *   +------+----------------+-----------+-------+---------+---------+------+
 *   | kind | identification | addresses | since | verdict | headers | 0    |
 *   +------+----------------+-----------+-------+---------+---------+------+
 */
import { FRAGMENT_BITS, FRAGMENT_SIZE, FRAGMENTS, NOW } from "../memory";
import { Packet } from "../packet";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";

/** As long as hosts wait for the rest of a datagram (RFC 8200, 4.5). */
const KEPT: u32 = 60_000;

@unmanaged
export class Datagram {
  /** Family, protocol (of IPv4 only: later fragments of IPv6 may not show it), direction; 0 is nobody. */
  kind: u32;
  identification: u32;
  addresses: u64;
  addresses8: u64;
  addresses16: u64;
  addresses24: u64;
  /** NOW when its first fragment came. */
  since: u32;
  /** 0, or why that was refused. */
  verdict: i32;
  /** Where its transport header ends, from where the data of fragments is counted. */
  headers: u32;
}

const ADDRESSES: usize = offsetof<Datagram>("addresses");

/** What is known of the datagram that this is a fragment of; null: nothing. */
export function datagramOf(p: Packet, direction: u32): Datagram {
  const place = placeOf(p);
  const none = changetype<Datagram>(0);
  if (place.kind != kindOf(p, direction) || place.identification != p.identification) return none;
  if (load<u32>(NOW) - place.since > KEPT) return none;
  const own = changetype<usize>(place) + ADDRESSES;
  return memory.compare(own, addressesOf(p), sizeOf(p)) == 0 ? place : none;
}

export function noteDatagram(p: Packet, direction: u32, verdict: i32, headers: u32): void {
  const place = placeOf(p);
  place.kind = kindOf(p, direction);
  place.identification = p.identification;
  place.since = load<u32>(NOW);
  place.verdict = verdict;
  place.headers = headers;
  memory.copy(changetype<usize>(place) + ADDRESSES, addressesOf(p), sizeOf(p));
}

function kindOf(p: Packet, direction: u32): u32 {
  return p.family == 4 ? 4 | (p.protocol << 8) | (direction << 16) : 6 | (direction << 16);
}

function addressesOf(p: Packet): usize {
  return p.family == 4 ? ipv4.addresses(p.ip) : ipv6.source(p.ip);
}

function sizeOf(p: Packet): u32 {
  return p.family == 4 ? 8 : 32;
}

function placeOf(p: Packet): Datagram {
  const SPREAD: u64 = 0x9e3779b97f4a7c15;
  const at = addressesOf(p);
  let h = load<u64>(at) ^ (<u64>p.identification * SPREAD);
  for (let i: u32 = 8; i < sizeOf(p); i += 8) h = (h * SPREAD) ^ load<u64>(at + i);
  return changetype<Datagram>(
    FRAGMENTS + <u32>((h * SPREAD) >> (64 - FRAGMENT_BITS)) * FRAGMENT_SIZE,
  );
}
