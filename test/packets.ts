/** Packets made and read in plain TypeScript: the slow, obvious twin of the core's wire files. */
import { parseAddress, toBytes } from "../src/address.js";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;

export interface Ipv4Fields {
  src: string;
  dst: string;
  protocol?: number;
  ttl?: number;
  id?: number;
  df?: boolean;
  mf?: boolean;
  /** In units of 8 bytes. */
  offset?: number;
  tos?: number;
  options?: Uint8Array;
  payload?: Uint8Array;
}

export interface Ipv6Fields {
  src: string;
  dst: string;
  /** Of the payload, behind all extension headers. */
  protocol?: number;
  hopLimit?: number;
  trafficClass?: number;
  flowLabel?: number;
  extensions?: readonly Extension[];
  payload?: Uint8Array;
}

/** An IPv6 extension header; its first byte, the next header, is filled in by `ipv6`. */
export interface Extension {
  type: number;
  bytes: Uint8Array;
}

export interface TcpFields {
  sport?: number;
  dport?: number;
  sequence?: number;
  acknowledgment?: number;
  flags?: number;
  window?: number;
  options?: Uint8Array;
  /** Leave the checksum unfinished: only the pseudo-header's sum is in it. */
  partial?: boolean;
}

export interface UdpFields {
  sport?: number;
  dport?: number;
  partial?: boolean;
  /** False: the checksum is 0, which says that there is none. */
  sum?: boolean;
}

/** An address in network order: 4 or 16 bytes. */
export const ip = (text: string): Uint8Array => toBytes(parseAddress(text));

/** RFC 1071, word by word. */
export function checksum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return ~sum & 0xffff;
}

export function ipv4(fields: Ipv4Fields): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const payload = fields.payload ?? new Uint8Array(0);
  const header = Buffer.alloc(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header[1] = fields.tos ?? 0;
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(fields.id ?? 0x1234, 4);
  header.writeUInt16BE(
    (fields.df ? 0x4000 : 0) | (fields.mf ? 0x2000 : 0) | (fields.offset ?? 0),
    6,
  );
  header[8] = fields.ttl ?? 64;
  header[9] = fields.protocol ?? UDP;
  header.set(ip(fields.src), 12);
  header.set(ip(fields.dst), 16);
  header.set(options, 20);
  header.writeUInt16BE(checksum(header), 10);
  return new Uint8Array(Buffer.concat([header, payload]));
}

export function ipv6(fields: Ipv6Fields): Uint8Array {
  const extensions = fields.extensions ?? [];
  const chain = [...extensions.map(({ type }) => type), fields.protocol ?? UDP];
  const headers = extensions.map(({ bytes }, i) =>
    Uint8Array.from([chain[i + 1]!, ...bytes.subarray(1)]),
  );
  const payload = Buffer.concat([...headers, fields.payload ?? new Uint8Array(0)]);
  const header = Buffer.alloc(40);
  header.writeUInt32BE(
    ((6 << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0)) >>> 0,
  );
  header.writeUInt16BE(payload.length, 4);
  header[6] = chain[0]!;
  header[7] = fields.hopLimit ?? 64;
  header.set(ip(fields.src), 8);
  header.set(ip(fields.dst), 24);
  return new Uint8Array(Buffer.concat([header, payload]));
}

/** Hop-by-hop (0), routing (43) or destination options (60), `units` times 8 bytes beyond the first 8. */
export function optionsHeader(type: number, units = 0): Extension {
  const bytes = new Uint8Array(8 + units * 8);
  bytes[1] = units;
  return { type, bytes };
}

/** RFC 8200, 4.4: a path of `addresses` addresses of zeros. */
export function routingHeader(type: number, segmentsLeft: number, addresses = 1): Extension {
  const { bytes } = optionsHeader(43, addresses * 2);
  bytes.set([type, segmentsLeft], 2);
  return { type: 43, bytes };
}

/** RFC 8200, 4.5. `offset` in units of 8 bytes. */
export function fragmentHeader(offset: number, more: boolean): Extension {
  const field = (offset << 3) | (more ? 1 : 0);
  return { type: 44, bytes: Uint8Array.from([0, 0, field >> 8, field & 0xff, 0, 0, 0, 7]) };
}

/** RFC 4302, with an integrity check value of `words` times 4 bytes. */
export function authentication(words = 3): Extension {
  const bytes = new Uint8Array(12 + words * 4);
  bytes[1] = bytes.length / 4 - 2;
  return { type: 51, bytes };
}

/** A UDP datagram with its checksum. */
export function udp(src: string, dst: string, data: Uint8Array, fields: UdpFields = {}) {
  const bytes = Buffer.alloc(8 + data.length);
  bytes.writeUInt16BE(fields.sport ?? 1000, 0);
  bytes.writeUInt16BE(fields.dport ?? 2000, 2);
  bytes.writeUInt16BE(bytes.length, 4);
  bytes.set(data, 8);
  if (fields.sum !== false) {
    bytes.writeUInt16BE(transportSum(src, dst, UDP, bytes, fields.partial ?? false), 6);
  }
  return new Uint8Array(bytes);
}

/** `options` must be a multiple of 4 bytes. */
export function tcp(src: string, dst: string, data: Uint8Array, fields: TcpFields = {}) {
  const options = fields.options ?? new Uint8Array(0);
  const header = 20 + options.length;
  const bytes = Buffer.alloc(header + data.length);
  bytes.writeUInt16BE(fields.sport ?? 1000, 0);
  bytes.writeUInt16BE(fields.dport ?? 2000, 2);
  bytes.writeUInt32BE(fields.sequence ?? 0x01020304, 4);
  bytes.writeUInt32BE(fields.acknowledgment ?? 0, 8);
  bytes[12] = header << 2;
  bytes[13] = fields.flags ?? 0x10;
  bytes.writeUInt16BE(fields.window ?? 0xffff, 14);
  bytes.set(options, 20);
  bytes.set(data, header);
  bytes.writeUInt16BE(transportSum(src, dst, TCP, bytes, fields.partial ?? false), 16);
  return new Uint8Array(bytes);
}

export function echo(data: Uint8Array, { type = 8, id = 7, sequence = 1 } = {}): Uint8Array {
  const bytes = Buffer.alloc(8 + data.length);
  bytes[0] = type;
  bytes.writeUInt16BE(id, 4);
  bytes.writeUInt16BE(sequence, 6);
  bytes.set(data, 8);
  bytes.writeUInt16BE(checksum(bytes), 2);
  return new Uint8Array(bytes);
}

/** ICMPv6: the same with a pseudo-header in its checksum. */
export function echo6(src: string, dst: string, data: Uint8Array, { type = 128 } = {}): Uint8Array {
  const bytes = Buffer.from(echo(data, { type }));
  bytes.writeUInt16BE(0, 2);
  bytes.writeUInt16BE(transportSum(src, dst, ICMPV6, bytes, false), 2);
  return new Uint8Array(bytes);
}

function transportSum(
  src: string,
  dst: string,
  protocol: number,
  segment: Uint8Array,
  partial: boolean,
): number {
  const pseudo = pseudoHeader(ip(src), ip(dst), protocol, segment.length);
  if (partial) return ~checksum(pseudo) & 0xffff;
  return checksum(pseudo, segment) || 0xffff;
}

/** What is summed up before a transport header, in an order of our own: the sum does not mind. */
export const pseudoHeader = (
  src: Uint8Array,
  dst: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array => Uint8Array.from([...src, ...dst, 0, protocol, length >> 8, length & 0xff]);

/** A VXLAN datagram around an inner packet (RFC 7348). */
export function vxlan(
  inner: Uint8Array,
  {
    vni = 1,
    flags = 0x08,
    etherType = inner[0]! >> 4 === 6 ? 0x86dd : 0x0800,
    dst = "020000000001",
    src = "020000000002",
  } = {},
): Uint8Array {
  const header = Buffer.alloc(22);
  header[0] = flags;
  header.writeUInt32BE(vni * 256, 4);
  header.set(Buffer.from(dst, "hex"), 8);
  header.set(Buffer.from(src, "hex"), 14);
  header.writeUInt16BE(etherType, 20);
  return new Uint8Array(Buffer.concat([header, inner]));
}

/** Where the parts of a sound packet lie; of extension headers only those `ipv6` makes. */
export function partsOf(packet: Uint8Array) {
  const isIPv4 = packet[0]! >> 4 === 4;
  let transport = isIPv4 ? (packet[0]! & 15) * 4 : 40;
  let protocol = isIPv4 ? packet[9]! : packet[6]!;
  while (!isIPv4 && [0, 43, 44, 51, 60].includes(protocol)) {
    const units = packet[transport + 1]!;
    const length = protocol === 44 ? 8 : protocol === 51 ? (units + 2) * 4 : (units + 1) * 8;
    protocol = packet[transport]!;
    transport += length;
  }
  return {
    isIPv4,
    transport,
    protocol,
    src: packet.subarray(isIPv4 ? 12 : 8, isIPv4 ? 16 : 24),
    dst: packet.subarray(isIPv4 ? 16 : 24, isIPv4 ? 20 : 40),
  };
}

/** Is every checksum of this whole, unfragmented packet right? */
export function isSound(packet: Uint8Array): boolean {
  const { isIPv4, transport, protocol, src, dst } = partsOf(packet);
  if (isIPv4 && checksum(packet.subarray(0, transport)) !== 0) return false;
  const segment = packet.subarray(transport);
  if (isIPv4 && protocol === ICMP) return checksum(segment) === 0;
  if (protocol !== TCP && protocol !== UDP && protocol !== ICMPV6) return true;
  return checksum(pseudoHeader(src, dst, protocol, segment.length), segment) === 0;
}

/** Pseudo-random numbers from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The seed of this run: WEFT_SEED, or a fresh one. It is printed, so that a failure can be had again. */
export function seedOfRun(what: string): number {
  const seed = Number(process.env.WEFT_SEED ?? Date.now() % 2 ** 31);
  console.log(`${what}: WEFT_SEED=${seed}`);
  return seed;
}
