/**
 * The Internet checksum (RFC 1071): the complement of the one's complement sum of all 16-bit words.
 *
 * The sum does not depend on byte order (RFC 1071, 2B), so words are added and stored in the machine's
 * order. Carries are collected in wide lanes and folded once, at the end.
 */

/** The unfolded sum of `length` bytes at `p`. */
export function sum(p: usize, length: u32): u64 {
  const end = p + length;
  // 32-bit words are added in 64-bit lanes, low and high half each: nothing can overflow.
  const lowHalf = i64x2.splat(0xffffffff);
  let a = i64x2.splat(0);
  let b = i64x2.splat(0);
  for (; p + 32 <= end; p += 32) {
    const v = v128.load(p);
    const w = v128.load(p, 16);
    a = i64x2.add(a, i64x2.add(v128.and(v, lowHalf), i64x2.shr_u(v, 32)));
    b = i64x2.add(b, i64x2.add(v128.and(w, lowHalf), i64x2.shr_u(w, 32)));
  }
  const lanes = i64x2.add(a, b);
  let total = i64x2.extract_lane(lanes, 0) + i64x2.extract_lane(lanes, 1);
  for (; p + 4 <= end; p += 4) total += load<u32>(p);
  if (p + 2 <= end) {
    total += load<u16>(p);
    p += 2;
  }
  // An odd last byte is the high half of a word that ends in zero: the low half as read here.
  if (p < end) total += load<u8>(p);
  return total;
}

/** Folds the carries back in: 16 bits. */
export function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return <u32>((sum & 0xffff) + (sum >> 16));
}

/** The sum of the pseudo-header (RFC 793, 3.1; RFC 768): addresses in network order. */
export function pseudoSum(source: u32, destination: u32, protocol: u32, length: u32): u64 {
  return (
    <u64>(source & 0xffff) +
    (source >> 16) +
    (destination & 0xffff) +
    (destination >> 16) +
    (protocol << 8) +
    <u64>bswap<u16>(<u16>length)
  );
}

/** The same for IPv6 (RFC 8200, 8.1); `addresses`: source and destination, 32 bytes. */
export function pseudoSum6(addresses: usize, protocol: u32, length: u32): u64 {
  return sum(addresses, 32) + (protocol << 8) + bswap<u16>(<u16>length);
}

/** The checksum field for a sum of everything but itself. */
export function checksum(sum: u64): u16 {
  return <u16>~fold(sum);
}

/** The checksum field after one 16-bit word of what it covers has changed (RFC 1624, equation 3). */
export function updated(stored: u32, from: u32, to: u32): u16 {
  return checksum(<u64>(~stored & 0xffff) + (~from & 0xffff) + to);
}

/** A multiple of 0xffff, so it is zero in one's complement; larger than any sum of a packet. */
const ZERO: u64 = 0xffff << 32;

/** The difference of a sum after words whose sum was `from` became words whose sum is `to`. */
export function difference(from: u64, to: u64): u64 {
  return ZERO - from + to;
}

/** The checksum field after words that it covers have changed by this (RFC 1624, equation 3). */
export function updatedBy(stored: u32, difference: u64): u16 {
  return checksum(<u64>(~stored & 0xffff) + difference);
}

/** `checksum` for TCP and UDP, in which 0 is written as 0xffff: for UDP 0 means none (RFC 768). */
export function transportChecksum(sum: u64): u16 {
  const value = checksum(sum);
  return value == 0 ? 0xffff : value;
}
