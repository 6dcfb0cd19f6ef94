/**
 * SCTP's common header (RFC 9260, 3.1), 12 bytes.
 *
 *   0      7 8     15 16    23 24    31
 *   +--------+--------+--------+--------+
 *   |   Source port   |   Destination   |
 *   +--------+--------+--------+--------+
 *   |         Verification tag          |
 *   +--------+--------+--------+--------+
 *   |         Checksum (CRC32c)         |
 *   +--------+--------+--------+--------+
 *
 * The CRC is linear: it changes by that of the difference, the changed bits followed by zeros (RFC 9260,
 * appendix A).
 */
const CHECKSUM: usize = 8;
export const SCTP_SIZE: u32 = 12;

/** CRC32c's polynomial, reflected. */
const POLYNOMIAL: u32 = 0x82f63b78;

/** Writes both ports into a packet of `length` bytes, and updates its checksum. */
export function setPorts(p: usize, length: u32, ports: u32): void {
  const difference = load<u32>(p) ^ ports;
  if (difference == 0) return;
  store<u32>(p, ports);
  // 32 zeros bring the difference through the register, then come the bytes behind the ports.
  const change = multiply(difference, powerOfX(length << 3));
  store<u32>(p, load<u32>(p, CHECKSUM) ^ change, CHECKSUM);
}

/** x^n modulo the polynomial, by squares. Bit 31 is the coefficient of x^0. */
function powerOfX(n: u32): u32 {
  let result: u32 = 0x80000000;
  let square: u32 = 0x40000000;
  for (; n; n >>= 1) {
    if (n & 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

/** The product of two polynomials modulo CRC32c's. */
function multiply(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (let bit: u32 = 0x80000000; bit; bit >>= 1) {
    if (a & bit) product ^= b;
    b = b & 1 ? (b >> 1) ^ POLYNOMIAL : b >> 1;
  }
  return product;
}
