/**
 * ICMP (RFC 792), 8 bytes before the quoted packet.
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |     Type      |     Code      |          Checksum             |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |           unused, or the next-hop MTU (RFC 1191, 4)           |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |    the header and first bytes of the packet it is about       |
 */
import { TRUNCATED } from "../reason";
import { checksum, sum } from "./checksum";

const TYPE: usize = 0;
const CODE: usize = 1;
export const ICMP_CHECKSUM: u32 = 2;
const CHECKSUM: usize = ICMP_CHECKSUM;
const REST: usize = 4;
const NEXT_HOP_MTU: usize = 6;

export const ICMP_SIZE: u32 = 8;

export const ECHO_REPLY: u32 = 0;
export const DESTINATION_UNREACHABLE: u32 = 3;
export const NET_UNREACHABLE: u32 = 0;
export const HOST_UNREACHABLE: u32 = 1;
export const FRAGMENTATION_NEEDED: u32 = 4;
/** RFC 1812, 5.2.7.1. */
export const PROHIBITED: u32 = 13;
export const ECHO: u32 = 8;
export const TIME_EXCEEDED: u32 = 11;
export const TTL_IN_TRANSIT: u32 = 0;
const SOURCE_QUENCH: u32 = 4;
const PARAMETER_PROBLEM: u32 = 12;
const TIMESTAMP: u32 = 13;
const TIMESTAMP_REPLY: u32 = 14;

/** 0 if there is a complete header in `length` bytes. */
export function checkIcmp(length: u32): i32 {
  return length < ICMP_SIZE ? TRUNCATED : 0;
}

/** The type is at the same offset in ICMPv6. */
export function typeOf(p: usize): u32 {
  return load<u8>(p, TYPE);
}
export function codeOf(p: usize): u32 {
  return load<u8>(p, CODE);
}
/** The identifier of an echo or its reply, as stored; the same in ICMPv6. */
export function echoIdentifier(p: usize): u32 {
  return load<u16>(p, REST);
}

/** The low 16 bits of `identifier`, as stored. */
export function setEchoIdentifier(p: usize, identifier: u32): void {
  store<u16>(p, <u16>identifier, REST);
}

/** Whether it is an error, which quotes a packet (RFC 792; RFC 1122, 3.2.2). A redirect is not. */
export function isError(type: u32): bool {
  return (
    type == DESTINATION_UNREACHABLE ||
    type == SOURCE_QUENCH ||
    type == TIME_EXCEEDED ||
    type == PARAMETER_PROBLEM
  );
}

/** Whether it is a query or its reply. Everything else counts as an error, which is never answered by one. */
export function isQuery(p: usize): bool {
  const type: u32 = load<u8>(p, TYPE);
  return type == ECHO || type == ECHO_REPLY || type == TIMESTAMP || type == TIMESTAMP_REPLY;
}

/** Header and checksum of an error whose quote, up to `length` bytes in all, is already in place. */
export function writeError(p: usize, type: u32, code: u32, mtu: u32, length: u32): void {
  store<u8>(p, <u8>type, TYPE);
  store<u8>(p, <u8>code, CODE);
  store<u16>(p, 0, CHECKSUM);
  store<u32>(p, 0, REST);
  store<u16>(p, bswap<u16>(<u16>mtu), NEXT_HOP_MTU);
  store<u16>(p, checksum(sum(p, length)), CHECKSUM);
}
