import { IN, OUT } from "../memory";
import { Packet } from "../packet";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";
import { Flow } from "./flow";
import { ECHO_TYPE_SHIFT } from "./key";
import { findOther } from "./table";

/** Bytes of a transport header that every error quotes (RFC 792), and that name a flow. */
const QUOTED: u32 = 8;

/**
 * The connection that an ICMP error is about: that of the packet it quotes, which
 * went the other way, from where the error goes to now. Null if it is none or
 * about none.
 */
export function related(p: Packet, direction: u32): Flow {
  const none = changetype<Flow>(0);
  if (!isError(p)) return none;
  const ip = p.ip + p.transport + icmp.ICMP_SIZE;
  const length = p.length - p.transport - icmp.ICMP_SIZE;
  return p.family == 4 ? about4(p, direction, ip, length) : about6(p, direction, ip, length);
}

function isError(p: Packet): bool {
  const at = p.ip + p.transport;
  if (p.fragment & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)) return false;
  if (p.family == 4) return p.protocol == ICMP && icmp.isError(icmp.typeOf(at));
  return p.protocol == ICMPV6 && icmpv6.isError(icmp.typeOf(at));
}

function about4(p: Packet, direction: u32, ip: usize, length: u32): Flow {
  const none = changetype<Flow>(0);
  if (length < ipv4.IPV4_SIZE || load<u8>(ip) >> 4 != 4) return none;
  const header = ipv4.headerLength(ip);
  if (header < ipv4.IPV4_SIZE || header + QUOTED > length) return none;
  if ((ipv4.fragment(ip) & ipv4.OFFSET_MASK) != 0) return none;
  if (ipv4.source(ip) != ipv4.destination(p.ip)) return none;
  return quoted(4, ipv4.protocol(ip), direction, ipv4.addresses(ip), ip + header);
}

function about6(p: Packet, direction: u32, ip: usize, length: u32): Flow {
  const none = changetype<Flow>(0);
  if (length < ipv6.IPV6_SIZE || load<u8>(ip) >> 4 != 6) return none;
  const isOurs = v128.xor(v128.load(ipv6.source(ip)), v128.load(ipv6.destination(p.ip)));
  if (v128.any_true(isOurs)) return none;
  let protocol = ipv6.nextHeader(ip);
  let at = ipv6.IPV6_SIZE;
  for (let i: u32 = 0; ipv6.isExtension(protocol); i++) {
    if (i == ipv6.MAX_EXTENSIONS || at + QUOTED > length) return none;
    const type = protocol;
    if (type == ipv6.FRAGMENT && (ipv6.extensionFragment(ip + at) & ipv4.OFFSET_MASK) != 0) {
      return none;
    }
    protocol = ipv6.extensionNext(ip + at);
    at += ipv6.extensionLength(ip + at, type);
  }
  if (at + QUOTED > length) return none;
  return quoted(6, protocol, direction, ipv6.source(ip), ip + at);
}

function quoted(family: u32, protocol: u32, direction: u32, addresses: usize, at: usize): Flow {
  const other = direction == OUT ? IN : OUT;
  return findOther(family, protocol, other, portsAt(protocol, at), addresses);
}

function portsAt(protocol: u32, at: usize): u32 {
  switch (protocol) {
    case TCP:
    case UDP:
    case SCTP:
      return load<u32>(at);
    case ICMP:
    case ICMPV6:
      return icmp.echoIdentifier(at) | (icmp.typeOf(at) << ECHO_TYPE_SHIFT);
    default:
      return 0;
  }
}
