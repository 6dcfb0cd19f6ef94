/** The first segment that a device's TCP super-packet would be cut into. */
import { wordsOf } from "./headers.js";
import { checksum } from "./question.js";

const TCP = 6;
const [TOTAL_LENGTH, PAYLOAD_LENGTH] = [2, 4];
const CHECKSUM = 10;
const HEADER6 = 40;

/** Returns the packet itself, unless it is TCP and longer than `mtu`. */
export function firstSegment(packet: Uint8Array, mtu: number): Uint8Array {
  if (packet.length <= mtu || wordsOf(packet)?.protocol !== TCP) return packet;
  const segment = Buffer.from(packet.subarray(0, mtu));
  if (segment[0]! >> 4 === 6) {
    segment.writeUInt16BE(mtu - HEADER6, PAYLOAD_LENGTH);
    return new Uint8Array(segment);
  }
  segment.writeUInt16BE(mtu, TOTAL_LENGTH);
  segment.writeUInt16BE(0, CHECKSUM);
  const header = segment.subarray(0, 4 * (segment[0]! & 15));
  segment.writeUInt16BE(checksum(header), CHECKSUM);
  return new Uint8Array(segment);
}
