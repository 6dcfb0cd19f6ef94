/** Capture files that Wireshark opens: the classic pcap format (draft-ietf-opsawg-pcap). */

export const RAW_IP = 101;
export const ETHERNET = 1;

const MAGIC = 0xa1b2c3d4;
const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const MOST = 65_535;

/** Packets a millisecond apart, so that the same packets make the same file. */
export function writePcap(linkType: number, packets: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(FILE_HEADER);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(MOST, 16);
  header.writeUInt32LE(linkType, 20);
  const records = packets.flatMap((packet, i) => {
    const record = Buffer.alloc(PACKET_HEADER);
    record.writeUInt32LE(i * 1000, 4);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return [record, packet];
  });
  return Buffer.concat([header, ...records]);
}

export function readPcap(file: Buffer): Uint8Array[] {
  if (file.readUInt32LE(0) !== MAGIC) throw new Error("not a pcap file of this byte order");
  const packets: Uint8Array[] = [];
  for (let at = FILE_HEADER; at < file.length; ) {
    const length = file.readUInt32LE(at + 8);
    at += PACKET_HEADER;
    packets.push(new Uint8Array(file.subarray(at, at + length)));
    at += length;
  }
  return packets;
}

const IP_AT = 14;
const UDP_AT = IP_AT + 20;
const DATA_AT = UDP_AT + 8;
const UDP = 17;

/** A datagram as it would be captured on an IPv4 underlay, without a UDP checksum. */
export function onTheWire(from: string, to: string, data: Uint8Array, tos = 0): Uint8Array {
  const [source, sourcePort] = split(from);
  const [destination, destinationPort] = split(to);
  const frame = Buffer.alloc(DATA_AT + data.length);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, IP_AT);
  frame.writeUInt8(tos, IP_AT + 1);
  frame.writeUInt16BE(frame.length - IP_AT, IP_AT + 2);
  frame.writeUInt16BE(0x4000, IP_AT + 6);
  frame.writeUInt8(64, IP_AT + 8);
  frame.writeUInt8(UDP, IP_AT + 9);
  frame.set(source, IP_AT + 12);
  frame.set(destination, IP_AT + 16);
  frame.writeUInt16BE(sumOf(frame.subarray(IP_AT, UDP_AT)), IP_AT + 10);
  frame.writeUInt16BE(sourcePort, UDP_AT);
  frame.writeUInt16BE(destinationPort, UDP_AT + 2);
  frame.writeUInt16BE(frame.length - UDP_AT, UDP_AT + 4);
  frame.set(data, DATA_AT);
  return new Uint8Array(frame);
}

/** Where a captured datagram came from, what was in it, and the TOS of its outer header. */
export function offTheWire(frame: Uint8Array): { from: string; data: Uint8Array; tos: number } {
  const bytes = Buffer.from(frame);
  const address = [...bytes.subarray(IP_AT + 12, IP_AT + 16)].join(".");
  const from = `${address}:${bytes.readUInt16BE(UDP_AT)}`;
  return { from, data: frame.slice(DATA_AT), tos: bytes[IP_AT + 1]! };
}

function split(endpoint: string): [number[], number] {
  const [address = "", port] = endpoint.split(":");
  return [address.split(".").map(Number), Number(port)];
}

function sumOf(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
