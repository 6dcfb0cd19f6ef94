/** Packets made and read in plain TypeScript: the slow, obvious twin of the core's wire files. */

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

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;

export const ip = (text: string): number[] => text.split(".").map(Number);

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

/** A UDP datagram with its checksum, or with only the pseudo-header's sum in it (`partial`). */
export function udp(
  src: string,
  dst: string,
  data: Uint8Array,
  { sport = 1000, dport = 2000, partial = false } = {},
): Uint8Array {
  const bytes = Buffer.alloc(8 + data.length);
  bytes.writeUInt16BE(sport, 0);
  bytes.writeUInt16BE(dport, 2);
  bytes.writeUInt16BE(bytes.length, 4);
  bytes.set(data, 8);
  bytes.writeUInt16BE(transportSum(src, dst, UDP, bytes, partial), 6);
  return bytes;
}

export function tcp(
  src: string,
  dst: string,
  data: Uint8Array,
  { sport = 1000, dport = 2000, partial = false } = {},
): Uint8Array {
  const bytes = Buffer.alloc(20 + data.length);
  bytes.writeUInt16BE(sport, 0);
  bytes.writeUInt16BE(dport, 2);
  bytes.writeUInt32BE(0x01020304, 4);
  bytes[12] = 0x50;
  bytes[13] = 0x10;
  bytes.writeUInt16BE(0xffff, 14);
  bytes.set(data, 20);
  bytes.writeUInt16BE(transportSum(src, dst, TCP, bytes, partial), 16);
  return bytes;
}

export function echo(data: Uint8Array, { type = 8, id = 7, sequence = 1 } = {}): Uint8Array {
  const bytes = Buffer.alloc(8 + data.length);
  bytes[0] = type;
  bytes.writeUInt16BE(id, 4);
  bytes.writeUInt16BE(sequence, 6);
  bytes.set(data, 8);
  bytes.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

function transportSum(
  src: string,
  dst: string,
  protocol: number,
  segment: Uint8Array,
  partial: boolean,
): number {
  const pseudo = pseudoHeader(src, dst, protocol, segment.length);
  if (partial) return ~checksum(pseudo) & 0xffff;
  return checksum(pseudo, segment) || 0xffff;
}

export const pseudoHeader = (src: string, dst: string, protocol: number, length: number) =>
  Uint8Array.from([...ip(src), ...ip(dst), 0, protocol, length >> 8, length & 0xff]);

/** A VXLAN datagram around an inner packet (RFC 7348). */
export function vxlan(
  inner: Uint8Array,
  { vni = 1, flags = 0x08, etherType = 0x0800, dst = "020000000001", src = "020000000002" } = {},
): Uint8Array {
  const header = Buffer.alloc(22);
  header[0] = flags;
  header.writeUInt32BE(vni * 256, 4);
  header.set(Buffer.from(dst, "hex"), 8);
  header.set(Buffer.from(src, "hex"), 14);
  header.writeUInt16BE(etherType, 20);
  return new Uint8Array(Buffer.concat([header, inner]));
}

/** Is every checksum of this whole, unfragmented packet right? */
export function isSound(packet: Uint8Array): boolean {
  const header = (packet[0]! & 15) * 4;
  if (checksum(packet.subarray(0, header)) !== 0) return false;
  const segment = packet.subarray(header);
  const protocol = packet[9]!;
  if (protocol === ICMP) return checksum(segment) === 0;
  if (protocol !== TCP && protocol !== UDP) return true;
  const address = (at: number) => packet.subarray(at, at + 4).join(".");
  return checksum(pseudoHeader(address(12), address(16), protocol, segment.length), segment) === 0;
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
