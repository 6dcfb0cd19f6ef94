/**
 * What the kernel does with packets that are many in one, slowly and plainly:
 * the twin of the core's `segment` and the judge of its `coalesce`.
 */
import { checksum, partsOf, pseudoHeader, TCP, UDP } from "../packets.js";
import { GSO, NEEDS_CSUM } from "./host.js";

/** Cuts a packet into segments with `size` bytes of payload each, every field as its RFC has it. */
export function segment(packet: Uint8Array, size: number): Uint8Array[] {
  const headers = headersOf(packet);
  const payload = packet.subarray(headers);
  const count = Math.max(1, Math.ceil(payload.length / size));
  return Array.from({ length: count }, (_, i) => {
    const data = payload.subarray(i * size, (i + 1) * size);
    const piece = Buffer.concat([packet.subarray(0, headers), data]);
    const { isIPv4, transport, protocol } = partsOf(packet);
    if (isIPv4) {
      piece.writeUInt16BE(piece.length, 2);
      piece.writeUInt16BE((piece.readUInt16BE(4) + i) % 2 ** 16, 4);
    } else {
      piece.writeUInt16BE(piece.length - 40, 4);
    }
    if (protocol === TCP) {
      piece.writeUInt32BE((piece.readUInt32BE(transport + 4) + i * size) % 2 ** 32, transport + 4);
      const CWR = 0x80;
      const FIN_PSH = 0x09;
      if (i > 0) piece[transport + 13]! &= ~CWR;
      if (i < count - 1) piece[transport + 13]! &= ~FIN_PSH;
    } else {
      piece.writeUInt16BE(8 + data.length, transport + 4);
    }
    return withChecksums(piece);
  });
}

/** The packets that the kernel makes of one write to the device, virtio-net header first. */
export function takeApart(write: Uint8Array): Uint8Array[] {
  const header = Buffer.from(write.subarray(0, 10));
  const packet = write.subarray(10);
  const [flags, type] = [header[0]!, header[1]!];
  if (flags === 0 && type === GSO.NONE) return [packet];
  const { isIPv4, transport, protocol } = partsOf(packet);
  const field = checksumField(packet);
  demand(flags === NEEDS_CSUM, `flags ${flags}`);
  demand(header.readUInt16LE(6) === transport, "csum_start is not the transport header");
  demand(header.readUInt16LE(6) + header.readUInt16LE(8) === field, "csum_offset is wrong");
  demand(isPartial(packet), "the checksum is not the pseudo-header's sum");
  if (type === GSO.NONE) return [withChecksums(packet)];

  const size = header.readUInt16LE(4);
  const buffer = Buffer.from(packet);
  const length = isIPv4 ? buffer.readUInt16BE(2) : 40 + buffer.readUInt16BE(4);
  const wanted = protocol === UDP ? GSO.UDP_L4 : isIPv4 ? GSO.TCPV4 : GSO.TCPV6;
  demand(type === wanted, `gso_type ${type}`);
  demand(header.readUInt16LE(2) === headersOf(packet), "hdr_len is not that of the headers");
  demand(length === packet.length, "the IP length is not the packet's");
  demand(!isIPv4 || checksum(packet.subarray(0, transport)) === 0, "the IP checksum is wrong");
  demand(size > 0 && packet.length > headersOf(packet) + size, "a single segment, marked as many");
  return segment(packet, size);
}

/** The header checksum and the transport checksum made anew. */
export function withChecksums(packet: Uint8Array): Uint8Array {
  const bytes = Buffer.from(packet);
  const { isIPv4, transport, protocol, src, dst } = partsOf(packet);
  if (isIPv4) {
    bytes.writeUInt16BE(0, 10);
    bytes.writeUInt16BE(checksum(bytes.subarray(0, transport)), 10);
  }
  const field = checksumField(packet);
  bytes.writeUInt16BE(0, field);
  const body = bytes.subarray(transport);
  const sum = checksum(pseudoHeader(src, dst, protocol, body.length), body);
  bytes.writeUInt16BE(sum || 0xffff, field);
  return new Uint8Array(bytes);
}

/** Does the TCP or UDP checksum hold the pseudo-header's sum alone? */
export function isPartial(packet: Uint8Array): boolean {
  const { transport, protocol, src, dst } = partsOf(packet);
  const pseudo = pseudoHeader(src, dst, protocol, packet.length - transport);
  return Buffer.from(packet).readUInt16BE(checksumField(packet)) === (~checksum(pseudo) & 0xffff);
}

/** As a router passes it on. */
export function oneHopLess(packet: Uint8Array): Uint8Array {
  const bytes = Buffer.from(packet);
  const { isIPv4, transport } = partsOf(packet);
  bytes[isIPv4 ? 8 : 7]!--;
  if (isIPv4) {
    bytes.writeUInt16BE(0, 10);
    bytes.writeUInt16BE(checksum(bytes.subarray(0, transport)), 10);
  }
  return new Uint8Array(bytes);
}

/** Without the IPv4 identification, which only fragments need (RFC 6864): joining forgets it. */
export function withoutId(packet: Uint8Array): Uint8Array {
  const bytes = Buffer.from(packet);
  const { isIPv4, transport } = partsOf(packet);
  if (isIPv4) {
    bytes.writeUInt16BE(0, 4);
    bytes.writeUInt16BE(0, 10);
    bytes.writeUInt16BE(checksum(bytes.subarray(0, transport)), 10);
  }
  return new Uint8Array(bytes);
}

export function headersOf(packet: Uint8Array): number {
  const { transport, protocol } = partsOf(packet);
  return transport + (protocol === TCP ? (packet[transport + 12]! >> 4) * 4 : 8);
}

function checksumField(packet: Uint8Array): number {
  const { transport, protocol } = partsOf(packet);
  return transport + (protocol === TCP ? 16 : 6);
}

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(`the device would refuse this write: ${otherwise}`);
}
