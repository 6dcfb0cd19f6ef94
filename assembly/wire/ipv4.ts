/**
 * IPv4 (RFC 791, 3.1).
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |Version|  IHL  |Type of Service|          Total Length         |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |         Identification        |Flags|     Fragment Offset     |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |  Time to Live |    Protocol   |        Header Checksum        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                         Source Address                        |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                      Destination Address                      |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                    Options                    |    Padding    |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { BAD_CHECKSUM, BAD_HEADER, SOURCE_ROUTE, TRUNCATED } from "../reason";
import { checksum, fold, sum, updated, updatedBy } from "./checksum";

const VERSION_IHL: usize = 0;
const TOS: usize = 1;
const TOTAL_LENGTH: usize = 2;
const ID: usize = 4;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
const OPTIONS: usize = 20;

export const IPV4_SIZE: u32 = 20;
export const DONT_FRAGMENT: u32 = 0x4000;
export const MORE_FRAGMENTS: u32 = 0x2000;
export const OFFSET_MASK: u32 = 0x1fff;

/** 0 if there is a complete, sound IPv4 packet in `length` bytes at `p`: then no getter reads beyond it. */
export function checkIPv4(p: usize, length: u32): i32 {
  if (length < IPV4_SIZE) return TRUNCATED;
  const header = headerLength(p);
  const total = totalLength(p);
  if (header < IPV4_SIZE || total < header) return BAD_HEADER;
  if (total > length) return TRUNCATED;
  if (fold(sum(p, header)) != 0xffff) return BAD_CHECKSUM;
  // A fragment that would end beyond the largest packet.
  if ((fragment(p) & OFFSET_MASK) * 8 + (total - header) > 65535) return BAD_HEADER;
  return 0;
}

// Options (RFC 791, 3.1): one byte, or a type, a length that counts both, and data.
const END_OF_OPTIONS: u32 = 0;
const NO_OPERATION: u32 = 1;
const LOOSE_SOURCE_ROUTE: u32 = 131;
const STRICT_SOURCE_ROUTE: u32 = 137;
/** Flag in the type of an option that every fragment carries. */
const COPIED: u32 = 0x80;

/**
 * 0 if every option is in the header and none is a source route. A source route lets the sender choose
 * the routers and so bypass filters by address (RFC 7126, 4.3 and 4.4). After this check
 * `blankUncopiedOptions` cannot leave the header.
 */
export function checkOptions(p: usize): i32 {
  const end = p + headerLength(p);
  let at = p + OPTIONS;
  while (at < end) {
    const type: u32 = load<u8>(at);
    if (type == END_OF_OPTIONS) return 0;
    if (type == NO_OPERATION) {
      at++;
      continue;
    }
    if (type == LOOSE_SOURCE_ROUTE || type == STRICT_SOURCE_ROUTE) return SOURCE_ROUTE;
    if (at + 1 == end) return BAD_HEADER;
    const length: u32 = load<u8>(at, 1);
    if (length < 2 || at + length > end) return BAD_HEADER;
    at += length;
  }
  return 0;
}

export function headerLength(p: usize): u32 {
  return (load<u8>(p, VERSION_IHL) & 15) << 2;
}
export function totalLength(p: usize): u32 {
  return bswap<u16>(load<u16>(p, TOTAL_LENGTH));
}
/** Flags and fragment offset, host order. */
export function fragment(p: usize): u32 {
  return bswap<u16>(load<u16>(p, FRAGMENT));
}
export function tos(p: usize): u32 {
  return load<u8>(p, TOS);
}
export function identification(p: usize): u32 {
  return bswap<u16>(load<u16>(p, ID));
}
export function ttl(p: usize): u32 {
  return load<u8>(p, TTL);
}
export function protocol(p: usize): u32 {
  return load<u8>(p, PROTOCOL);
}
/** Address of the source address, with the destination behind. */
export function addresses(p: usize): usize {
  return p + SOURCE;
}
/** Network order. */
export function source(p: usize): u32 {
  return load<u32>(p, SOURCE);
}
/** Network order. */
export function destination(p: usize): u32 {
  return load<u32>(p, DESTINATION);
}

/**
 * Decrements the TTL. The word with the TTL decreases by 0x0001 as the machine reads it (little-endian:
 * TTL is its low byte), so the checksum's word increases by as much, with the carry added (RFC 1624,
 * equation 3).
 */
export function decrementTtl(p: usize): void {
  store<u8>(p, <u8>(ttl(p) - 1), TTL);
  const raised = <u32>load<u16>(p, CHECKSUM) + 1;
  store<u16>(p, <u16>(raised + u32(raised >= 0xffff)), CHECKSUM);
}

/** Sets the TOS and updates the header checksum. */
export function setTos(p: usize, tos: u32): void {
  const from: u32 = load<u16>(p);
  store<u8>(p, <u8>tos, TOS);
  store<u16>(p, updated(load<u16>(p, CHECKSUM), from, load<u16>(p)), CHECKSUM);
}

export function setTotalLength(p: usize, length: u32): void {
  store<u16>(p, bswap<u16>(<u16>length), TOTAL_LENGTH);
}
export function setIdentification(p: usize, id: u32): void {
  store<u16>(p, bswap<u16>(<u16>id), ID);
}
export function setFragment(p: usize, flagsAndOffset: u32): void {
  store<u16>(p, bswap<u16>(<u16>flagsAndOffset), FRAGMENT);
}

/** Updates the header checksum after words of the header have changed by this. */
export function updateChecksum(p: usize, difference: u64): void {
  store<u16>(p, updatedBy(load<u16>(p, CHECKSUM), difference), CHECKSUM);
}

/** Computes the header checksum; call it last. */
export function setChecksum(p: usize): void {
  store<u16>(p, 0, CHECKSUM);
  store<u16>(p, checksum(sum(p, headerLength(p))), CHECKSUM);
}

/** Writes a header without options, DF set, for a packet of this node. Addresses in network order. */
export function writeIPv4(
  p: usize,
  tos: u32,
  length: u32,
  ttl: u32,
  protocol: u32,
  source: u32,
  destination: u32,
): void {
  store<u8>(p, 0x45, VERSION_IHL);
  store<u8>(p, <u8>tos, TOS);
  setTotalLength(p, length);
  store<u16>(p, 0, ID);
  setFragment(p, DONT_FRAGMENT);
  store<u8>(p, <u8>ttl, TTL);
  store<u8>(p, <u8>protocol, PROTOCOL);
  store<u32>(p, source, SOURCE);
  store<u32>(p, destination, DESTINATION);
  setChecksum(p);
}

/**
 * Replaces the options that only a first fragment carries (RFC 791, 3.1: those without the copied flag)
 * by no-operations.
 */
export function blankUncopiedOptions(p: usize): void {
  const end = p + headerLength(p);
  let at = p + OPTIONS;
  while (at < end) {
    const type: u32 = load<u8>(at);
    if (type == END_OF_OPTIONS) return;
    const length: u32 = type == NO_OPERATION ? 1 : load<u8>(at, 1);
    if ((type & COPIED) == 0) memory.fill(at, <u8>NO_OPERATION, length);
    at += length;
  }
}
