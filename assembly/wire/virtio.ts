/**
 * The virtio-net header before each packet of a TUN device (virtio 1.2, 5.1.6;
 * linux/virtio_net.h), 10 bytes, in the machine's byte order.
 *
 *   0      1          2         4          6            8             10
 *   +------+----------+---------+----------+------------+-------------+
 *   | flags| gso_type | hdr_len | gso_size | csum_start | csum_offset |
 *   +------+----------+---------+----------+------------+-------------+
 *
 * With NEEDS_CSUM the checksum at csum_start + csum_offset holds the sum of the
 * pseudo-header only; it is to be finished over csum_start up to the end.
 */
const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;
const CSUM_START: usize = 6;
const CSUM_OFFSET: usize = 8;

export const NEEDS_CSUM: u32 = 1;
export const GSO_NONE: u32 = 0;

export function flags(p: usize): u32 {
  return load<u8>(p, FLAGS);
}
export function gsoType(p: usize): u32 {
  return load<u8>(p, GSO_TYPE);
}
export function csumStart(p: usize): u32 {
  return load<u16>(p, CSUM_START);
}
export function csumOffset(p: usize): u32 {
  return load<u16>(p, CSUM_OFFSET);
}

/** A packet that asks for nothing. */
export function writePlain(p: usize): void {
  store<u64>(p, 0);
  store<u16>(p, 0, CSUM_OFFSET);
}

/** A packet whose checksum the kernel is to finish or to leave as good. */
export function writeNeedsCsum(p: usize, start: u32, offset: u32): void {
  writePlain(p);
  store<u8>(p, NEEDS_CSUM, FLAGS);
  store<u16>(p, <u16>start, CSUM_START);
  store<u16>(p, <u16>offset, CSUM_OFFSET);
}
