/**
 * The virtio-net header before each packet of a TUN device (virtio 1.2, 5.1.6;
 * linux/virtio_net.h), 10 bytes, in the machine's byte order.
 *
 *   0      1          2         4          6            8             10
 *   +------+----------+---------+----------+------------+-------------+
 *   | flags| gso_type | hdr_len | gso_size | csum_start | csum_offset |
 *   +------+----------+---------+----------+------------+-------------+
 *
 * With NEEDS_CSUM the checksum at csum_start + csum_offset is the sum of the pseudo-header only; it must
 * be completed over the bytes from csum_start to the end. With a gso_type the packet is a super-packet,
 * with gso_size bytes of payload in each segment. hdr_len is a hint that can be wrong: it is written,
 * never read.
 */
const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;
const HDR_LEN: usize = 2;
const GSO_SIZE: usize = 4;
const CSUM_START: usize = 6;
const CSUM_OFFSET: usize = 8;

export const NEEDS_CSUM: u32 = 1;
export const GSO_NONE: u32 = 0;
export const GSO_TCPV4: u32 = 1;
export const GSO_TCPV6: u32 = 4;
export const GSO_UDP_L4: u32 = 5;
/** A bit beside the type: only the first segment has CWR set. Segmentation always does that. */
export const GSO_ECN: u32 = 0x80;

export function flags(p: usize): u32 {
  return load<u8>(p, FLAGS);
}
export function gsoType(p: usize): u32 {
  return load<u8>(p, GSO_TYPE) & ~GSO_ECN;
}
/** The type with its GSO_ECN bit. */
export function storedGsoType(p: usize): u32 {
  return load<u8>(p, GSO_TYPE);
}
export function gsoSize(p: usize): u32 {
  return load<u16>(p, GSO_SIZE);
}
export function csumStart(p: usize): u32 {
  return load<u16>(p, CSUM_START);
}
export function csumOffset(p: usize): u32 {
  return load<u16>(p, CSUM_OFFSET);
}

/** Writes the header of a complete, single packet. */
export function writePlain(p: usize): void {
  store<u64>(p, 0);
  store<u16>(p, 0, CSUM_OFFSET);
}

/** Writes the header of a packet with an unfinished checksum, which the kernel completes or accepts. */
export function writeNeedsCsum(p: usize, start: u32, offset: u32): void {
  writePlain(p);
  store<u8>(p, NEEDS_CSUM, FLAGS);
  store<u16>(p, <u16>start, CSUM_START);
  store<u16>(p, <u16>offset, CSUM_OFFSET);
}

/** Adds the GSO fields of a super-packet after `writeNeedsCsum`. */
export function writeGso(p: usize, type: u32, headers: u32, size: u32): void {
  store<u8>(p, <u8>type, GSO_TYPE);
  store<u16>(p, <u16>headers, HDR_LEN);
  store<u16>(p, <u16>size, GSO_SIZE);
}
