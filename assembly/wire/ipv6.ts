/**
 * IPv6 (RFC 8200, 3), 40 bytes.
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |Version| Traffic Class |           Flow Label                  |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |         Payload Length        |  Next Header  |   Hop Limit   |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                   Source Address (16 bytes)                   |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                 Destination Address (16 bytes)                |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { TRUNCATED } from "../reason";

const VERSION_CLASS_LABEL: usize = 0;
const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

export const IPV6_SIZE: u32 = 40;

// Extension headers (RFC 8200, 4; RFC 4302).
export const HOP_BY_HOP: u32 = 0;
export const ROUTING: u32 = 43;
export const FRAGMENT: u32 = 44;
export const AUTHENTICATION: u32 = 51;
export const DESTINATION_OPTIONS: u32 = 60;
/** Most extension headers. A longer chain is refused: it only hides the headers behind it. */
export const MAX_EXTENSIONS: u32 = 8;

/** 0 if there is a complete IPv6 packet in `length` bytes at `p`: then no getter reads beyond it. */
export function checkIPv6(p: usize, length: u32): i32 {
  if (length < IPV6_SIZE) return TRUNCATED;
  return totalLength(p) > length ? TRUNCATED : 0;
}

/** Bytes of header and payload. */
export function totalLength(p: usize): u32 {
  return IPV6_SIZE + bswap<u16>(load<u16>(p, PAYLOAD_LENGTH));
}
export function nextHeader(p: usize): u32 {
  return load<u8>(p, NEXT_HEADER);
}
export function hopLimit(p: usize): u32 {
  return load<u8>(p, HOP_LIMIT);
}
/** Address of its 16 bytes. */
export function source(p: usize): usize {
  return p + SOURCE;
}
export function destination(p: usize): usize {
  return p + DESTINATION;
}
/** The 8 bits after the version, in the first two bytes. */
export function trafficClass(p: usize): u32 {
  return (bswap<u16>(load<u16>(p, VERSION_CLASS_LABEL)) >> 4) & 0xff;
}
/** Version, traffic class and flow label, as loaded. */
export function classAndLabel(p: usize): u32 {
  return load<u32>(p, VERSION_CLASS_LABEL);
}

export function decrementHopLimit(p: usize): void {
  store<u8>(p, <u8>(hopLimit(p) - 1), HOP_LIMIT);
}
export function setTrafficClass(p: usize, value: u32): void {
  const others = bswap<u16>(load<u16>(p, VERSION_CLASS_LABEL)) & 0xf00f;
  store<u16>(p, bswap<u16>(<u16>(others | (value << 4))), VERSION_CLASS_LABEL);
}
export function setTotalLength(p: usize, length: u32): void {
  store<u16>(p, bswap<u16>(<u16>(length - IPV6_SIZE)), PAYLOAD_LENGTH);
}

// An extension header: next header, length, and for a fragment its offset (RFC 8200, 4.5).

export function isExtension(type: u32): bool {
  switch (type) {
    case HOP_BY_HOP:
    case ROUTING:
    case FRAGMENT:
    case AUTHENTICATION:
    case DESTINATION_OPTIONS:
      return true;
    default:
      return false;
  }
}

/** The next header after the extension header at `p`, whose first 8 bytes are in the packet. */
export function extensionNext(p: usize): u32 {
  return load<u8>(p);
}

export function extensionLength(p: usize, type: u32): u32 {
  if (type == FRAGMENT) return 8;
  const units: u32 = load<u8>(p, 1);
  return type == AUTHENTICATION ? (units + 2) << 2 : (units + 1) << 3;
}

/**
 * A routing header of type 0 that still has addresses to visit (RFC 5095): the sender chooses the
 * path, which may loop. Without addresses left it is ignored (RFC 8200, 4.4), as are other types,
 * which only their own hosts act on.
 */
export function isSourceRoute(p: usize): bool {
  const TYPE_0: u32 = 0;
  const routingType: u32 = load<u8>(p, 2);
  const segmentsLeft: u32 = load<u8>(p, 3);
  return routingType == TYPE_0 && segmentsLeft > 0;
}

/** Offset in units of 8 bytes, and the flag for more fragments, in the form of IPv4. */
export function extensionFragment(p: usize): u32 {
  const field: u32 = bswap<u16>(load<u16>(p, 2));
  const MORE_FRAGMENTS: u32 = 0x2000;
  return (field >> 3) | (field & 1 ? MORE_FRAGMENTS : 0);
}

/** The identification, as stored in a fragment header. */
export function extensionIdentification(p: usize): u32 {
  return load<u32>(p, 4);
}

/** Writes a header for a packet of this node. The addresses are pointers to 16 bytes. */
export function writeIPv6(
  p: usize,
  trafficClass: u32,
  length: u32,
  hopLimit: u32,
  nextHeader: u32,
  source: usize,
  destination: usize,
): void {
  store<u32>(p, bswap<u32>(0x60000000 | (trafficClass << 20)), VERSION_CLASS_LABEL);
  setTotalLength(p, length);
  store<u8>(p, <u8>nextHeader, NEXT_HEADER);
  store<u8>(p, <u8>hopLimit, HOP_LIMIT);
  v128.store(p + SOURCE, v128.load(source));
  v128.store(p + DESTINATION, v128.load(destination));
}
