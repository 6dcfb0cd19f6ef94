import { Packet } from "../packet";
import { mtuFor } from "../tables/peer";
import { isSound, isUnfinished } from "../transport";
import { updated } from "../wire/checksum";
import * as ipv4 from "../wire/ipv4";
import { IPV6_SIZE } from "../wire/ipv6";
import { TCP } from "../wire/protocol";
import * as tcp from "../wire/tcp";
import { isFragment } from "./parse";

/**
 * Lowers the maximum segment size in a SYN to fit the tunnel, so that connections do not depend on
 * ICMP (RFC 9293, 3.7.1: the MTU less fixed IP and TCP headers).
 */
export function clamp(p: Packet): void {
  if (p.protocol != TCP || isFragment(p)) return;
  const segment = p.ip + p.transport;
  if ((tcp.flags(segment) & tcp.SYN) == 0) return;
  const at = tcp.findMss(segment);
  if (at == 0) return;

  const fixed = (p.family == 4 ? ipv4.IPV4_SIZE : IPV6_SIZE) + tcp.TCP_SIZE;
  const largest = mtuFor(p) - fixed;
  const announced: u32 = bswap<u16>(load<u16>(at));
  if (announced <= largest) return;
  const value = bswap<u16>(<u16>largest);
  // An unfinished checksum does not cover the options yet. A finished one may look unfinished by chance.
  if (isUnfinished(p) && !isSound(p)) store<u16>(at, value);
  else replace(segment, at, value);
}

/**
 * Stores a 16-bit value and updates the checksum (RFC 1624, equation 3). At an odd address the value
 * is in two words of the sum, in which its bytes are swapped.
 */
function replace(segment: usize, at: usize, value: u16): void {
  const old = load<u16>(at);
  store<u16>(at, value);
  const isOdd = ((at - segment) & 1) != 0;
  const from: u32 = isOdd ? bswap<u16>(old) : old;
  const to: u32 = isOdd ? bswap<u16>(value) : value;
  tcp.setChecksum(segment, updated(tcp.storedChecksum(segment), from, to));
}
