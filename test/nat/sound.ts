/** Every checksum of a packet, computed anew; of an ICMP error also those of the packet that it quotes. */
import { checksum, ICMP, ICMPV6, partsOf, pseudoHeader, TCP, UDP } from "../packets.js";
import { isSoundSctp } from "./sctp.js";
import { SCTP } from "./tuple.js";

const ERRORS = { [ICMP]: [3, 4, 5, 11, 12], [ICMPV6]: [1, 2, 3, 4] };

/** A sentence on the first checksum that is wrong, undefined if all are right. */
export function flawOf(packet: Uint8Array): string | undefined {
  const { isIPv4, transport, protocol, src, dst } = partsOf(packet);
  if (isIPv4 && checksum(packet.subarray(0, transport)) !== 0) return "the IPv4 checksum is wrong";
  const isFragment = isIPv4 && (((packet[6]! & 0x3f) << 8) | packet[7]!) !== 0;
  if (isFragment) return undefined;
  const segment = packet.subarray(transport);
  const pseudo = pseudoHeader(src, dst, protocol, segment.length);
  switch (protocol) {
    case TCP:
      return checksum(pseudo, segment) === 0 ? undefined : "the TCP checksum is wrong";
    case UDP:
      return flawOfUdp(pseudo, segment, isIPv4);
    case SCTP:
      return isSoundSctp(segment) ? undefined : "the CRC32c is wrong";
    case ICMP:
      return checksum(segment) === 0 ? flawOfQuoted(segment, ICMP) : "the ICMP checksum is wrong";
    case ICMPV6:
      return checksum(pseudo, segment) === 0
        ? flawOfQuoted(segment, ICMPV6)
        : "the ICMPv6 checksum is wrong";
    default:
      return undefined;
  }
}

function flawOfUdp(pseudo: Uint8Array, segment: Uint8Array, isIPv4: boolean): string | undefined {
  const stored = (segment[6]! << 8) | segment[7]!;
  if (stored === 0) return isIPv4 ? undefined : "there is no UDP checksum";
  return checksum(pseudo, segment) === 0 ? undefined : "the UDP checksum is wrong";
}

/** A quoted packet is mostly cut off; then only its header can be held against its checksum. */
function flawOfQuoted(message: Uint8Array, protocol: typeof ICMP | typeof ICMPV6) {
  const quoted = message.subarray(8);
  const least = protocol === ICMP ? 20 : 40;
  if (!ERRORS[protocol].includes(message[0]!) || quoted.length < least) return undefined;
  const { isIPv4, transport } = partsOf(quoted);
  const length = isIPv4 ? (quoted[2]! << 8) | quoted[3]! : 40 + ((quoted[4]! << 8) | quoted[5]!);
  const isWhole = quoted.length >= length;
  if (isWhole) {
    const flaw = flawOf(quoted.subarray(0, length));
    return flaw && `of the quoted packet ${flaw}`;
  }
  const isRight = !isIPv4 || checksum(quoted.subarray(0, transport)) === 0;
  return isRight ? undefined : "of the quoted packet the IPv4 checksum is wrong";
}
