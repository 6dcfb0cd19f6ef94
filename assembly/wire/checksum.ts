/**
 * The Internet checksum (RFC 1071): the complement of the one's complement sum
 * of all 16-bit words.
 *
 * The sum does not depend on byte order (RFC 1071, 2B), so words are added and
 * the result stored as the machine reads them. Carries are gathered in wide
 * lanes and folded once, at the end.
 */

/** The unfolded sum of `length` bytes at `p`, at most 65,535 of them. */
export function sum(p: usize, length: u32): u64 {
  const end = p + length;
  let lanes = i32x4.splat(0);
  // A lane gains at most 2 * 65535 from 16 bytes, 2^29 from 64 KiB: it cannot overflow.
  for (; p + 16 <= end; p += 16) {
    lanes = i32x4.add(lanes, i32x4.extadd_pairwise_i16x8_u(v128.load(p)));
  }
  let total =
    <u64>(<u32>i32x4.extract_lane(lanes, 0)) +
    <u64>(<u32>i32x4.extract_lane(lanes, 1)) +
    <u64>(<u32>i32x4.extract_lane(lanes, 2)) +
    <u64>(<u32>i32x4.extract_lane(lanes, 3));
  for (; p + 2 <= end; p += 2) total += load<u16>(p);
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

/** The checksum field for a sum of everything but itself. */
export function checksum(sum: u64): u16 {
  return <u16>~fold(sum);
}

/** The same for TCP and UDP, where 0 is written as its other form: for UDP it means none (RFC 768). */
export function transportChecksum(sum: u64): u16 {
  const value = checksum(sum);
  return value == 0 ? 0xffff : value;
}
