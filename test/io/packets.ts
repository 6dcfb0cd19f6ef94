/** Packets for the tests, made by hand; nothing here is shared with the code under test. */

/** An IPv4 packet without options. Addresses as dotted text; its checksum is right. */
export function ipv4(source: string, destination: string, protocol: number, payload: Uint8Array) {
  const packet = Buffer.alloc(20 + payload.length);
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet[8] = 64;
  packet[9] = protocol;
  packet.set(octets(source), 12);
  packet.set(octets(destination), 16);
  packet.writeUInt16BE(checksum(packet), 10);
  packet.set(payload, 20);
  return packet;
}

/** An ICMP message: type, code, the four bytes that depend on them, and a body. */
export function icmp(type: number, code: number, rest: number, body: Uint8Array) {
  const message = Buffer.alloc(8 + body.length);
  message[0] = type;
  message[1] = code;
  message.writeUInt32BE(rest, 4);
  message.set(body, 8);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** A UDP datagram without a checksum. */
export function udp(from: number, to: number, body: Uint8Array) {
  const datagram = Buffer.alloc(8 + body.length);
  datagram.writeUInt16BE(from, 0);
  datagram.writeUInt16BE(to, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  datagram.set(body, 8);
  return datagram;
}

export const octets = (address: string): number[] => address.split(".").map(Number);

/** RFC 1071, word by word. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
