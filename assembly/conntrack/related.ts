/** ICMP errors: each belongs to the connection of the packet that it quotes (RFC 792, RFC 4443). */
import { QUOTED, REVERSED } from "../memory";
import { addressesOf, Packet } from "../packet";
import { isFragment, isLaterFragment, walkExtensions } from "../stages/parse";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { ICMP, ICMPV6 } from "../wire/protocol";
import { Flow, NONE } from "./flow";
import { kindOf, portsAt, reverseAddresses, reversePorts } from "./key";
import { findLive } from "./table";

/** Bytes of a transport header that every error quotes (RFC 792); they include the ports. */
const QUOTED_TRANSPORT: u32 = 8;

/**
 * The flow that an ICMP error is about: that of the replies to the quoted packet, which come from where
 * the error comes from. Null if the packet is no error, or the flow is not known.
 */
export function related(p: Packet, direction: u32): Flow {
  const quoted = quotedIn(p);
  if (!quoted || !isSentBy(quoted, p)) return NONE;
  const ports = portsAt(quoted.protocol, quoted.ip + quoted.transport);
  reverseAddresses(quoted.family, addressesOf(quoted));
  return findLive(kindOf(quoted, direction), reversePorts(quoted.protocol, ports), REVERSED);
}

/** The packet that an ICMP error quotes; null if it is none, or the quote has not the key of a flow. */
export function quotedIn(p: Packet): Packet {
  return isError(p) ? readQuoted(p) : changetype<Packet>(0);
}

function isError(p: Packet): bool {
  if (isFragment(p)) return false;
  const type = icmp.typeOf(p.ip + p.transport);
  return p.family == 4
    ? p.protocol == ICMP && icmp.isError(type)
    : p.protocol == ICMPV6 && icmpv6.isError(type);
}

/** Reads the headers of the quoted packet; null if they do not have the key of a flow. */
function readQuoted(p: Packet): Packet {
  const none = changetype<Packet>(0);
  const q = changetype<Packet>(QUOTED);
  q.ip = p.ip + p.transport + icmp.ICMP_SIZE;
  q.length = p.length - p.transport - icmp.ICMP_SIZE;
  q.family = p.family;
  if (!(q.family == 4 ? readHeader4(q) : readHeader6(q))) return none;
  if (isLaterFragment(q) || q.transport + QUOTED_TRANSPORT > q.length) return none;
  return q;
}

function readHeader4(q: Packet): bool {
  if (q.length < ipv4.IPV4_SIZE || load<u8>(q.ip) >> 4 != 4) return false;
  q.transport = ipv4.headerLength(q.ip);
  q.protocol = ipv4.protocol(q.ip);
  q.fragment = ipv4.fragment(q.ip);
  return q.transport >= ipv4.IPV4_SIZE;
}

function readHeader6(q: Packet): bool {
  if (q.length < ipv6.IPV6_SIZE || load<u8>(q.ip) >> 4 != 6) return false;
  return walkExtensions(q) == 0;
}

/** Whether the quoted packet came from the destination of the error. */
function isSentBy(quoted: Packet, p: Packet): bool {
  if (p.family == 4) return ipv4.source(quoted.ip) == ipv4.destination(p.ip);
  const source = v128.load(ipv6.source(quoted.ip));
  return !v128.any_true(v128.xor(source, v128.load(ipv6.destination(p.ip))));
}
