/** The packet to explain: given as bytes, or built as the first of a connection. */
import { type Address, parseAddress, toBytes } from "../address.js";
import { WeftError } from "../error.js";
import { PROTOCOLS } from "../protocol.js";

interface PacketOrigin {
  /** `out` from this host's device, `in` from a peer. Default: `in` if a peer is named. */
  readonly direction?: "out" | "in";
  /** With `in`: the sending peer. Default: the peer that holds the source. */
  readonly peer?: string;
  /** With `in`: TOS or traffic class of the outer header. Default: 0. */
  readonly tos?: number;
}

/** An inner packet from its IP header on. */
export interface PacketQuestion extends PacketOrigin {
  readonly packet: Uint8Array;
}

/** Default of `protocol`: TCP if there is a port, otherwise ICMP. */
export interface TupleQuestion extends PacketOrigin {
  readonly src: string;
  readonly dst: string;
  readonly protocol?: keyof typeof PROTOCOLS | number;
  readonly sport?: number;
  readonly dport?: number;
  readonly icmp?: { readonly type: number; readonly code?: number };
}

export type Question = PacketQuestion | TupleQuestion;

export const directionOf = ({ direction, peer }: PacketOrigin): "out" | "in" =>
  direction ?? (peer === undefined ? "out" : "in");

const EPHEMERAL = 49_152;
const MAX_PORT = 65_535;
const HOPS = 64;
const SYN = 2;
const ECHO = { 4: 8, 6: 128 } as const;

/** @throws WeftError EXPLAIN for a packet that cannot exist */
export function packetFor(question: Question): Uint8Array {
  if ("packet" in question) return question.packet;
  const [src, dst] = [parseAddress(question.src), parseAddress(question.dst)];
  if (src.family !== dst.family) {
    throw wrong(`${question.src} is not of the family of ${question.dst}`, "give both as one");
  }
  const protocol = protocolOf(question, src.family);
  const payload = transportOf(question, protocol, src.family);
  return src.family === 4 ? ipv4(src, dst, protocol, payload) : ipv6(src, dst, protocol, payload);
}

function protocolOf({ protocol, dport, sport }: TupleQuestion, family: 4 | 6): number {
  if (protocol === undefined) {
    if (dport !== undefined || sport !== undefined) return PROTOCOLS.tcp;
    return family === 4 ? PROTOCOLS.icmp : PROTOCOLS.icmpv6;
  }
  if (protocol === "icmp" && family === 6) return PROTOCOLS.icmpv6;
  const number = typeof protocol === "number" ? protocol : PROTOCOLS[protocol];
  if (Number.isInteger(number) && number >= 0 && number <= 255) return number;
  throw wrong(
    `protocol ${protocol} cannot be`,
    `give one of ${Object.keys(PROTOCOLS).join(", ")}, or a number up to 255`,
  );
}

function transportOf(question: TupleQuestion, protocol: number, family: 4 | 6): Uint8Array {
  const { sport = EPHEMERAL, dport = 0, icmp } = question;
  for (const port of [sport, dport]) {
    if (!Number.isInteger(port) || port < 0 || port > MAX_PORT) {
      throw wrong(`port ${port} cannot be`, `give a whole number up to ${MAX_PORT}`);
    }
  }
  const bytes = Buffer.alloc(20);
  switch (protocol) {
    case PROTOCOLS.tcp:
      bytes[12] = (bytes.length / 4) << 4;
      bytes[13] = SYN;
      break;
    case PROTOCOLS.udp:
      bytes.writeUInt16BE(bytes.length, 4);
      break;
    case PROTOCOLS.sctp:
      break;
    case PROTOCOLS.icmp:
    case PROTOCOLS.icmpv6:
      bytes[0] = icmp?.type ?? ECHO[family];
      bytes[1] = icmp?.code ?? 0;
      return bytes;
    default:
      return bytes;
  }
  bytes.writeUInt16BE(sport, 0);
  bytes.writeUInt16BE(dport, 2);
  return bytes;
}

function ipv4(src: Address, dst: Address, protocol: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(header.length + payload.length, 2);
  header[8] = HOPS;
  header[9] = protocol;
  header.set(toBytes(src), 12);
  header.set(toBytes(dst), 16);
  header.writeUInt16BE(checksum(header), 10);
  return new Uint8Array(Buffer.concat([header, payload]));
}

function ipv6(src: Address, dst: Address, protocol: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = protocol;
  header[7] = HOPS;
  header.set(toBytes(src), 8);
  header.set(toBytes(dst), 24);
  return new Uint8Array(Buffer.concat([header, payload]));
}

/** Checksum of an IPv4 header whose checksum field is 0 (RFC 1071). Nodes on the way check no other one. */
export function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

export const wrong = (what: string, remedy: string): WeftError =>
  new WeftError("EXPLAIN", what, remedy);
