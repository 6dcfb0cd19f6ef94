/**
 * ICMPv6 (RFC 4443), 8 bytes before the quoted packet.
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |     Type      |     Code      |          Checksum             |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |             unused, or the MTU (packet too big)               |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |    as much of the packet it is about as fits into 1280 bytes  |
 */
import { checksum, pseudoSum6, sum } from "./checksum";
import { ICMPV6 } from "./protocol";

const TYPE: usize = 0;
const CODE: usize = 1;
const CHECKSUM: usize = 2;
const MTU: usize = 4;

export const ICMPV6_SIZE: u32 = 8;

export const DESTINATION_UNREACHABLE: u32 = 1;
export const NO_ROUTE_TO_DESTINATION: u32 = 0;
export const PROHIBITED: u32 = 1;
export const ADDRESS_UNREACHABLE: u32 = 3;
export const PACKET_TOO_BIG: u32 = 2;
export const TIME_EXCEEDED: u32 = 3;
export const HOP_LIMIT_IN_TRANSIT: u32 = 0;
const FIRST_INFORMATIONAL: u32 = 128;
export const ECHO: u32 = 128;
export const ECHO_REPLY: u32 = 129;
const REDIRECT: u32 = 137;

/** False for errors (types below 128) and redirects: an error never answers them (RFC 4443, 2.4). */
export function isAnswerable(p: usize): bool {
  const type: u32 = load<u8>(p, TYPE);
  return type >= FIRST_INFORMATIONAL && type != REDIRECT;
}

/** Whether it quotes a packet. */
export function isError(type: u32): bool {
  return type < FIRST_INFORMATIONAL;
}

/** Header and checksum of an error whose quote, `length` bytes in all, is already in place. */
export function writeError(
  p: usize,
  type: u32,
  code: u32,
  mtu: u32,
  length: u32,
  addresses: usize,
): void {
  store<u8>(p, <u8>type, TYPE);
  store<u8>(p, <u8>code, CODE);
  store<u16>(p, 0, CHECKSUM);
  store<u32>(p, bswap<u32>(mtu), MTU);
  store<u16>(p, checksum(sum(p, length) + pseudoSum6(addresses, ICMPV6, length)), CHECKSUM);
}
