/** Common to TCP and UDP: a checksum over a pseudo-header, the transport header and the payload. */
import { Packet } from "./packet";
import { fold, pseudoSum, pseudoSum6, sum } from "./wire/checksum";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import { TCP } from "./wire/protocol";
import { headerLength, TCP_CHECKSUM } from "./wire/tcp";
import { UDP_CHECKSUM, UDP_SIZE } from "./wire/udp";

/** Offset of the checksum in the transport header. */
export function checksumOffset(p: Packet): u32 {
  return p.protocol == TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

/** Bytes of all headers of a TCP or UDP packet, which each of its segments repeats. */
export function headersOf(p: Packet): u32 {
  return p.transport + (p.protocol == TCP ? headerLength(p.ip + p.transport) : UDP_SIZE);
}

/** The pseudo-header's sum for `length` bytes of transport in a packet like `p` at `ip`. */
export function pseudoSumOf(p: Packet, ip: usize, length: u32): u64 {
  return p.family == 4
    ? pseudoSum(ipv4.source(ip), ipv4.destination(ip), p.protocol, length)
    : pseudoSum6(ipv6.source(ip), p.protocol, length);
}

/**
 * A Linux VXLAN device on a path with checksum offload sends inner packets whose checksum holds only
 * the pseudo-header's sum. Unchanged, the packet would be dropped by its receiver; marked as
 * unfinished, the receiving kernel accepts it.
 */
export function isUnfinished(p: Packet): bool {
  const length = p.length - p.transport;
  const field: u32 = load<u16>(p.ip + p.transport + checksumOffset(p));
  return field == fold(pseudoSumOf(p, p.ip, length));
}

/** Whether the checksum is finished and right. */
export function isSound(p: Packet): bool {
  const length = p.length - p.transport;
  return fold(pseudoSumOf(p, p.ip, length) + sum(p.ip + p.transport, length)) == 0xffff;
}

/** Whether it is sound, or unfinished by a sender with checksum offload. */
export function isVerified(p: Packet): bool {
  return isUnfinished(p) || isSound(p);
}
