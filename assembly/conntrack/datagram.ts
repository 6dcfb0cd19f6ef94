/**
 * Decisions about datagrams in fragments. Only the first fragment has the ports, and its verdict
 * applies to the later ones. A hash gives each datagram one place, which a newer datagram overwrites.
 *
 *   0      4                8           40      48           52     56      60
 *   +------+----------------+-----------+-------+------------+------+-------+---------+
 *   | kind | identification | addresses | since | generation | rule | ports | headers |
 *   +------+----------------+-----------+-------+------------+------+-------+---------+
 *                                                            62         63        64
 *                                                            +----------+---------+
 *                                                            | protocol | verdict |
 *                                                            +----------+---------+
 */
import { keyedHash } from "../keyed-hash";
import { CLOCK, FRAGMENT_BITS, FRAGMENT_SIZE, FRAGMENTS, generation } from "../memory";
import { addressesOf, Packet } from "../packet";

/** Milliseconds: the time for which hosts wait for the rest of a datagram (RFC 8200, 4.5). */
const LIFETIME: f64 = 60_000;

@unmanaged
export class Datagram {
  /** Family, protocol (IPv4 only: later fragments of IPv6 may lack it) and direction; 0 is a free place. */
  kind: u32;
  identification: u32;
  addresses: u64;
  addresses8: u64;
  addresses16: u64;
  addresses24: u64;
  /** CLOCK at the arrival of its first fragment. */
  since: f64;
  /** Generation of the rules that were applied to the first fragment. */
  generation: u32;
  /** The rule that decided, 0 if none did. */
  rule: u32;
  /** The ports in the first fragment, as in its flow's key, and its transport protocol. */
  ports: u32;
  /** End of the transport header, in the offsets of fragments. */
  headers: u16;
  protocol: u8;
  /** 0, or the reason why the first fragment was dropped. */
  verdict: u8;
}

const ADDRESSES: usize = offsetof<Datagram>("addresses");

// Offsets of the fields that the host checks.
export const FRAGMENT_SINCE: usize = offsetof<Datagram>("since");
export const FRAGMENT_RULE: usize = offsetof<Datagram>("rule");
export const FRAGMENT_VERDICT: usize = offsetof<Datagram>("verdict");

/** The entry of the datagram that this fragment belongs to; null if there is none. */
export function datagramOf(p: Packet, direction: u32): Datagram {
  const place = placeOf(p);
  const none = changetype<Datagram>(0);
  if (place.kind != kindOf(p, direction) || place.identification != p.identification) return none;
  if (load<f64>(CLOCK) - place.since > LIFETIME) return none;
  const own = changetype<usize>(place) + ADDRESSES;
  return memory.compare(own, addressesOf(p), sizeOf(p)) == 0 ? place : none;
}

/** Whether the rules that were applied to its first fragment are still in force. */
export function isCurrentDatagram(datagram: Datagram): bool {
  return datagram.generation == generation();
}

export function noteDatagram(p: Packet, direction: u32, verdict: i32, headers: u32): void {
  const place = placeOf(p);
  place.kind = kindOf(p, direction);
  place.identification = p.identification;
  place.since = load<f64>(CLOCK);
  place.generation = generation();
  place.rule = p.rule;
  place.ports = p.ports;
  place.headers = <u16>min<u32>(headers, 0xffff);
  place.protocol = <u8>p.protocol;
  place.verdict = <u8>verdict;
  memory.copy(changetype<usize>(place) + ADDRESSES, addressesOf(p), sizeOf(p));
}

function kindOf(p: Packet, direction: u32): u32 {
  return p.family == 4 ? 4 | (p.protocol << 8) | (direction << 16) : 6 | (direction << 16);
}

function sizeOf(p: Packet): u32 {
  return p.family == 4 ? 8 : 32;
}

/** The hash is keyed, so that no sender can choose datagrams that share a place with another's. */
function placeOf(p: Packet): Datagram {
  const SPREAD: u64 = 0x9e3779b97f4a7c15;
  const addresses = keyedHash(addressesOf(p), sizeOf(p) >> 2);
  const h = (addresses ^ ((<u64>p.identification) << 32)) * SPREAD;
  return changetype<Datagram>(FRAGMENTS + <u32>(h >> (64 - FRAGMENT_BITS)) * FRAGMENT_SIZE);
}
