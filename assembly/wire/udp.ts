/**
 * UDP (RFC 768), 8 bytes.
 *
 *   0      7 8     15 16    23 24    31
 *   +--------+--------+--------+--------+
 *   |     Source      |   Destination   |
 *   +--------+--------+--------+--------+
 *   |     Length      |    Checksum     |
 *   +--------+--------+--------+--------+
 */
import { BAD_HEADER, TRUNCATED } from "../reason";

const LENGTH: usize = 4;
const CHECKSUM: usize = 6;

export const UDP_SIZE: u32 = 8;
export const UDP_CHECKSUM: u32 = 6;

/** 0 if there is a complete datagram in `length` bytes at `p`. */
export function checkUdp(p: usize, length: u32): i32 {
  if (length < UDP_SIZE) return TRUNCATED;
  const said = udpLength(p);
  return said < UDP_SIZE || said > length ? BAD_HEADER : 0;
}

/** Bytes of header and data. */
export function udpLength(p: usize): u32 {
  return bswap<u16>(load<u16>(p, LENGTH));
}

export function ports(p: usize): u32 {
  return load<u32>(p);
}
/** As stored; 0 means that the sender computed none. */
export function storedChecksum(p: usize): u32 {
  return load<u16>(p, CHECKSUM);
}
export function setUdpLength(p: usize, length: u32): void {
  store<u16>(p, bswap<u16>(<u16>length), LENGTH);
}
export function setUdpChecksum(p: usize, checksum: u16): void {
  store<u16>(p, checksum, CHECKSUM);
}
