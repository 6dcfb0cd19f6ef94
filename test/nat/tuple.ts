/** The two ends of a packet, as translation sees them: read from packets, and made into packets. */
import { formatAddress, readAddress } from "../../src/address.js";
import {
  checksum,
  echo,
  ICMP,
  ICMPV6,
  ip,
  ipv4,
  ipv6,
  partsOf,
  pseudoHeader,
  TCP,
  tcp,
  UDP,
  udp,
} from "../packets.js";
import { sctp } from "./sctp.js";

export const SCTP = 132;

/**
 * An echo is a conversation between the port of its identifier and the port ECHO, so that a reply is
 * the reverse of its request. A protocol without ports has 0 for both.
 */
export interface Tuple {
  readonly protocol: number;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
}

export const ECHO = -1;

export const reverse = ({ protocol, src, sport, dst, dport }: Tuple): Tuple => ({
  protocol,
  src: dst,
  sport: dport,
  dst: src,
  dport: sport,
});

export const show = ({ protocol, src, sport, dst, dport }: Tuple): string =>
  `${protocol} ${src} ${sport} -> ${dst} ${dport}`;

export const isIcmp = (protocol: number): boolean => protocol === ICMP || protocol === ICMPV6;
export const hasPorts = (protocol: number): boolean => [TCP, UDP, SCTP].includes(protocol);

/** The tuple of a whole packet or a first fragment. */
export function tupleOf(packet: Uint8Array): Tuple {
  const { src, dst, protocol, transport } = partsOf(packet);
  const view = new DataView(packet.buffer, packet.byteOffset + transport);
  const ends = {
    protocol,
    src: formatAddress(readAddress(src)),
    dst: formatAddress(readAddress(dst)),
  };
  if (hasPorts(protocol)) return { ...ends, sport: view.getUint16(0), dport: view.getUint16(2) };
  if (!isIcmp(protocol)) return { ...ends, sport: 0, dport: 0 };
  const isReply = [0, 129].includes(view.getUint8(0));
  const identifier = view.getUint16(4);
  return isReply
    ? { ...ends, sport: ECHO, dport: identifier }
    : { ...ends, sport: identifier, dport: ECHO };
}

export interface PacketFields {
  readonly data?: Uint8Array;
  /** Of TCP; default ACK. */
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  /** Of UDP: whether there is a checksum. */
  readonly sum?: boolean;
  readonly ttl?: number;
  readonly id?: number;
  readonly df?: boolean;
}

/** A packet of this tuple, with every checksum right. */
export function packetOf(tuple: Tuple, fields: PacketFields = {}): Uint8Array {
  const { src, dst, protocol } = tuple;
  const { ttl, id, df } = fields;
  const payload = payloadOf(tuple, fields);
  return src.includes(":")
    ? ipv6({ src, dst, protocol, payload, ...(ttl !== undefined && { hopLimit: ttl }) })
    : ipv4({
        src,
        dst,
        protocol,
        payload,
        ...(ttl !== undefined && { ttl }),
        ...(id !== undefined && { id }),
        ...(df !== undefined && { df }),
      });
}

function payloadOf(
  tuple: Tuple,
  { data = new Uint8Array(0), ...fields }: PacketFields,
): Uint8Array {
  const { src, dst, protocol, sport, dport } = tuple;
  const { flags, sequence, acknowledgment, sum } = fields;
  switch (protocol) {
    case TCP: {
      const numbers = {
        ...(flags !== undefined && { flags }),
        ...(sequence !== undefined && { sequence }),
        ...(acknowledgment !== undefined && { acknowledgment }),
      };
      return tcp(src, dst, data, { sport, dport, ...numbers });
    }
    case UDP:
      return udp(src, dst, data, { sport, dport, ...(sum !== undefined && { sum }) });
    case SCTP:
      return sctp(data, { sport, dport });
    case ICMP:
    case ICMPV6: {
      const isReply = sport === ECHO;
      const types = protocol === ICMP ? [8, 0] : [128, 129];
      const message = echo(data, { type: types[Number(isReply)]!, id: isReply ? dport : sport });
      return protocol === ICMP ? message : withSum6(message, src, dst);
    }
    default:
      return data;
  }
}

/** An ICMPv6 message with its checksum, which covers a pseudo-header. */
export function withSum6(message: Uint8Array, src: string, dst: string): Uint8Array {
  const bytes = Uint8Array.from(message);
  bytes.fill(0, 2, 4);
  const sum = checksum(pseudoHeader(ip(src), ip(dst), ICMPV6, bytes.length), bytes);
  new DataView(bytes.buffer).setUint16(2, sum);
  return bytes;
}
