/** SCTP packets (RFC 9260) with their CRC32c, bit by bit. */

/** RFC 9260, appendix A: reflected, polynomial 0x1edc6f41. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** A packet with these bytes for its chunks. */
export function sctp(chunks: Uint8Array, { sport = 1000, dport = 2000, tag = 0x01020304 } = {}) {
  const bytes = new Uint8Array(12 + chunks.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sport);
  view.setUint16(2, dport);
  view.setUint32(4, tag);
  bytes.set(chunks, 12);
  // The CRC lies in the packet with its least significant byte first.
  view.setUint32(8, crc32c(bytes), true);
  return bytes;
}

export function isSoundSctp(segment: Uint8Array): boolean {
  const bytes = Uint8Array.from(segment);
  const view = new DataView(bytes.buffer);
  const stored = view.getUint32(8, true);
  view.setUint32(8, 0);
  return crc32c(bytes) === stored;
}
