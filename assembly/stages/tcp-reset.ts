import { Packet } from "../packet";
import { pseudoSumOf } from "../transport";
import { sum, transportChecksum } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { TCP } from "../wire/protocol";
import * as tcp from "../wire/tcp";
import { isFragment } from "./parse";

const HOPS: u32 = 64;

/** Whether it is a segment of a connection: an acknowledgment, and no RST. */
export function mayReset(p: Packet): bool {
  if (p.protocol != TCP || isFragment(p)) return false;
  return (tcp.flags(p.ip + p.transport) & (tcp.ACK | tcp.RST)) == tcp.ACK;
}

/**
 * Writes a RST in answer to the segment, from the segment's destination, at `ip`; returns its length.
 * Its number is the one that the segment acknowledges (RFC 9293, 3.5.2), so the receiver takes it.
 */
export function writeReset(p: Packet, ip: usize): u32 {
  const header = p.family == 4 ? ipv4.IPV4_SIZE : ipv6.IPV6_SIZE;
  const length = header + tcp.TCP_SIZE;
  if (p.family == 4) {
    ipv4.writeIPv4(ip, 0, length, HOPS, TCP, ipv4.destination(p.ip), ipv4.source(p.ip));
  } else {
    ipv6.writeIPv6(ip, 0, length, HOPS, TCP, ipv6.destination(p.ip), ipv6.source(p.ip));
  }
  const at = ip + header;
  tcp.writeReset(at, p.ip + p.transport);
  const total = pseudoSumOf(p, ip, tcp.TCP_SIZE) + sum(at, tcp.TCP_SIZE);
  store<u16>(at + tcp.TCP_CHECKSUM, transportChecksum(total));
  return length;
}
