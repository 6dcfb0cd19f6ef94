/**
 * Writes packets as a file for Wireshark: pcapng, draft-ietf-opsawg-pcapng. Each block
 *
 *   0      4        8                length-4   length
 *   +------+--------+----------------+----------+
 *   | type | length | body, options  | length   |
 *   +------+--------+----------------+----------+
 *
 * is in little-endian order, padded to 4 bytes. A file is a section header, one interface, the
 * packets, and the statistics.
 */

export interface PcapngPacket {
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly direction: "out" | "in";
  readonly bytes: Uint8Array;
  /** Length of the packet before truncation, in bytes. */
  readonly length: number;
  readonly comment: string;
  /** Packets lost between the previous one and this one. */
  readonly lost: number;
}

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const STATISTICS = 5;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const UNKNOWN_LENGTH = 0xffffffff;
/** Packets begin with their IPv4 or IPv6 header. */
const LINKTYPE_RAW = 101;
/** Resolution of timestamps: 10^-9 s. */
const NANOSECONDS = 9;

const OPTION = {
  end: 0,
  comment: 1,
  /** Option of a section: the program that wrote it. */
  application: 4,
  /** Option of an interface. */
  name: 2,
  resolution: 9,
  /** Options of a packet. */
  flags: 2,
  lostBefore: 4,
  /** Options of statistics. */
  received: 4,
  dropped: 5,
} as const;
const INBOUND = 1;
const OUTBOUND = 2;
/** Largest length of an option. */
const MAX_OPTION = 0xffff;

/** The blocks at the beginning of a file. @param name the interface's */
export function pcapngHeader(application: string, name: string, snaplen: number): Uint8Array {
  return Buffer.concat([
    block(SECTION_HEADER, [
      words(BYTE_ORDER_MAGIC),
      // Version 1.0.
      halves(1, 0),
      words(UNKNOWN_LENGTH, UNKNOWN_LENGTH),
      option(OPTION.application, Buffer.from(application)),
      option(OPTION.end),
    ]),
    block(INTERFACE, [
      halves(LINKTYPE_RAW, 0),
      words(snaplen),
      option(OPTION.name, Buffer.from(name)),
      option(OPTION.resolution, Buffer.from([NANOSECONDS])),
      option(OPTION.end),
    ]),
  ]);
}

export function pcapngPacket(packet: PcapngPacket): Uint8Array {
  const { time, direction, bytes, length, comment, lost } = packet;
  return block(ENHANCED_PACKET, [
    words(0, ...highAndLow(time), bytes.length, length),
    padded(bytes),
    option(OPTION.comment, Buffer.from(comment).subarray(0, MAX_OPTION)),
    option(OPTION.flags, words(direction === "in" ? INBOUND : OUTBOUND)),
    ...(lost > 0 ? [option(OPTION.lostBefore, number64(lost))] : []),
    option(OPTION.end),
  ]);
}

/** The block at the end of a file. @param received all packets @param lost those not in the file */
export function pcapngStatistics(time: bigint, received: number, lost: number): Uint8Array {
  return block(STATISTICS, [
    words(0, ...highAndLow(time)),
    option(OPTION.received, number64(received)),
    option(OPTION.dropped, number64(lost)),
    option(OPTION.end),
  ]);
}

function block(type: number, parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = words(12 + body.length);
  return Buffer.concat([words(type), length, body, length]);
}

function option(code: number, value: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([halves(code, value.length), padded(value)]);
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, 4 * i);
  return bytes;
}

function halves(...values: number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt16LE(value, 2 * i);
  return bytes;
}

function number64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A timestamp has its upper half first, whatever the byte order. */
const highAndLow = (time: bigint): [number, number] => [
  Number(time >> 32n),
  Number(time & 0xffffffffn),
];
