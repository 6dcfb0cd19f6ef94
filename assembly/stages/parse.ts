import { Packet } from "../packet";
import { MARTIAN_DESTINATION, MARTIAN_SOURCE } from "../reason";
import * as icmp from "../wire/icmp";
import * as ipv4 from "../wire/ipv4";
import * as tcp from "../wire/tcp";
import * as udp from "../wire/udp";

/** Checks every header once and notes what later stages ask for. */
export function parse(p: Packet): i32 {
  const r = ipv4.checkIPv4(p.ip, p.length);
  if (r) return r;

  p.length = ipv4.totalLength(p.ip);
  p.headerLength = ipv4.headerLength(p.ip);
  p.protocol = ipv4.protocol(p.ip);
  p.source = ipv4.source(p.ip);
  p.destination = ipv4.destination(p.ip);
  p.fragment = ipv4.fragment(p.ip);

  if (!isHost(p.source)) return MARTIAN_SOURCE;
  if (!isHost(p.destination)) return MARTIAN_DESTINATION;
  return isFragment(p) ? 0 : checkTransport(p);
}

/** A fragment's transport header may be cut short, or not be there at all. */
export function isFragment(p: Packet): bool {
  return (p.fragment & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)) != 0;
}

function checkTransport(p: Packet): i32 {
  const at = p.ip + p.headerLength;
  const length = p.length - p.headerLength;
  switch (p.protocol) {
    case ipv4.TCP:
      return tcp.checkTcp(at, length);
    case ipv4.UDP:
      return udp.checkUdp(at, length);
    case ipv4.ICMP:
      return icmp.checkIcmp(length);
    default:
      return 0;
  }
}

/** False for addresses no single host has: 0/8, 127/8, multicast, 240/4 and broadcast (RFC 6890). */
function isHost(address: u32): bool {
  const firstOctet = address & 0xff;
  return firstOctet != 0 && firstOctet != 127 && firstOctet < 224;
}
