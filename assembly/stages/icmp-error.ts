import { prependHeaders } from "../conntrack/flow";
import { pushWrite } from "../device-list";
import {
  ANSWER_COUNT,
  ANSWER_SIZE,
  ANSWERS,
  ENCAP_SIZE,
  OWN_ADDRESS,
  OWN_ADDRESS_6,
  VIRTIO_SIZE,
} from "../memory";
import { Packet } from "../packet";
import {
  ANSWERED,
  DENIED_EGRESS,
  DENIED_INGRESS,
  NAT_EXHAUSTED,
  NO_BACKEND,
  NO_GATEWAY,
  NO_HOST,
  NO_ROUTE,
  TOO_BIG,
  TTL_EXCEEDED,
} from "../reason";
import { takeIcmpToken } from "../tables/icmp-limit";
import { hasPath, mtuFor, outerTos } from "../tables/peer";
import * as icmp from "../wire/icmp";
import * as icmpv6 from "../wire/icmpv6";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { ICMP, ICMPV6 } from "../wire/protocol";
import * as virtio from "../wire/virtio";
import { pushDatagram } from "../wire-list";
import { isLaterFragment } from "./parse";
import { mayReset, writeReset } from "./tcp-reset";

/** Most bytes of an error with its headers (RFC 1812, 4.3.2.3; RFC 4443, 2.4). */
const MAX_ERROR: u32 = 576;
const MAX_ERROR_6: u32 = 1280;
/** Errors are sent with precedence "internetwork control" (RFC 1812, 4.3.2.5). */
const TOS: u32 = 0xc0;
const TRAFFIC_CLASS: u32 = 0;
const HOPS: u32 = 64;

/**
 * Reports to the sender why its packet is dropped, as a router does: to this host or, for a packet from
 * the wire, through the tunnel that it came from.
 */
export function icmpError(p: Packet, reason: i32): i32 {
  if (reason == NO_BACKEND && mayReset(p)) return reset(p, reason);
  if (!hasError(reason) || !maySend(p) || !takeIcmpToken(p, reason)) return reason;
  if (p.family == 4) error4(p, reason);
  else error6(p, reason);
  return reason | ANSWERED;
}

/** The segment is one of a connection whose backend is gone: a RST ends it at once. */
function reset(p: Packet, reason: i32): i32 {
  if (p.origin && !hasPath(p.origin)) return reason;
  if (!takeIcmpToken(p, reason)) return reason;
  const ip = answerBuffer();
  sendBack(p, ip, writeReset(p, ip));
  return reason | ANSWERED;
}

function hasError(reason: i32): bool {
  switch (reason) {
    case NO_ROUTE:
    case NO_HOST:
    case TTL_EXCEEDED:
    case TOO_BIG:
    case DENIED_EGRESS:
    case DENIED_INGRESS:
    case NAT_EXHAUSTED:
    case NO_BACKEND:
    case NO_GATEWAY:
      return true;
    default:
      return false;
  }
}

function error4(p: Packet, reason: i32): void {
  switch (reason) {
    case NO_ROUTE:
      return sendError4(p, icmp.DESTINATION_UNREACHABLE, icmp.NET_UNREACHABLE, 0);
    case NO_HOST:
    case NO_BACKEND:
    case NO_GATEWAY:
      return sendError4(p, icmp.DESTINATION_UNREACHABLE, icmp.HOST_UNREACHABLE, 0);
    case TTL_EXCEEDED:
      return sendError4(p, icmp.TIME_EXCEEDED, icmp.TTL_IN_TRANSIT, 0);
    case TOO_BIG:
      return sendError4(p, icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtuFor(p));
    case DENIED_EGRESS:
    case DENIED_INGRESS:
    case NAT_EXHAUSTED:
      return sendError4(p, icmp.DESTINATION_UNREACHABLE, icmp.PROHIBITED, 0);
  }
}

function error6(p: Packet, reason: i32): void {
  switch (reason) {
    case NO_ROUTE:
      return sendError6(p, icmpv6.DESTINATION_UNREACHABLE, icmpv6.NO_ROUTE_TO_DESTINATION, 0);
    case NO_HOST:
    case NO_BACKEND:
    case NO_GATEWAY:
      return sendError6(p, icmpv6.DESTINATION_UNREACHABLE, icmpv6.ADDRESS_UNREACHABLE, 0);
    case TTL_EXCEEDED:
      return sendError6(p, icmpv6.TIME_EXCEEDED, icmpv6.HOP_LIMIT_IN_TRANSIT, 0);
    case TOO_BIG:
      return sendError6(p, icmpv6.PACKET_TOO_BIG, 0, mtuFor(p));
    case DENIED_EGRESS:
    case DENIED_INGRESS:
    case NAT_EXHAUSTED:
      return sendError6(p, icmpv6.DESTINATION_UNREACHABLE, icmpv6.PROHIBITED, 0);
  }
}

function sendError4(p: Packet, type: u32, code: u32, mtu: u32): void {
  const ip = answerBuffer();
  const message = ip + ipv4.IPV4_SIZE;
  const quoted = min<u32>(p.length, MAX_ERROR - ipv4.IPV4_SIZE - icmp.ICMP_SIZE);
  const length = icmp.ICMP_SIZE + quoted;
  const whole = ipv4.IPV4_SIZE + length;

  memory.copy(message + icmp.ICMP_SIZE, p.ip, quoted);
  icmp.writeError(message, type, code, mtu, length);
  ipv4.writeIPv4(ip, TOS, whole, HOPS, ICMP, load<u32>(OWN_ADDRESS), ipv4.source(p.ip));
  sendBack(p, ip, whole);
}

function sendError6(p: Packet, type: u32, code: u32, mtu: u32): void {
  const ip = answerBuffer();
  const message = ip + ipv6.IPV6_SIZE;
  const quoted = min<u32>(p.length, MAX_ERROR_6 - ipv6.IPV6_SIZE - icmpv6.ICMPV6_SIZE);
  const length = icmpv6.ICMPV6_SIZE + quoted;
  const whole = ipv6.IPV6_SIZE + length;

  memory.copy(message + icmpv6.ICMPV6_SIZE, p.ip, quoted);
  ipv6.writeIPv6(ip, TRAFFIC_CLASS, whole, HOPS, ICMPV6, OWN_ADDRESS_6, ipv6.source(p.ip));
  icmpv6.writeError(message, type, code, mtu, length, ipv6.source(ip));
  sendBack(p, ip, whole);
}

/** Address for the IP header of the next error or RST; before it is room for the headers of either direction. */
export function answerBuffer(): usize {
  const i = load<u32>(ANSWER_COUNT);
  store<u32>(ANSWER_COUNT, i + 1);
  return ANSWERS + i * ANSWER_SIZE + ENCAP_SIZE;
}

/** To the device or, with an origin, through the tunnel that leads there. */
export function sendBack(p: Packet, ip: usize, length: u32): void {
  if (p.origin) {
    p.peer = p.origin;
    p.outerTos = outerTos(p.peer, p.family == 4 ? TOS : TRAFFIC_CLASS);
    const start = prependHeaders(p, ip);
    return pushDatagram(p, start, ENCAP_SIZE + length, start, 0);
  }
  const header = ip - VIRTIO_SIZE;
  virtio.writePlain(header);
  pushWrite(p, header, VIRTIO_SIZE + length);
}

/**
 * No error is sent about an error, nor about a fragment other than the first (RFC 1812, 4.3.2.7; RFC
 * 4443, 2.4), nor from a node without an address of that family, nor to a peer without a path.
 */
function maySend(p: Packet): bool {
  if (isLaterFragment(p)) return false;
  if (p.origin && !hasPath(p.origin)) return false;
  const hasType = p.length > p.transport;
  if (p.family == 4) {
    if (load<u32>(OWN_ADDRESS) == 0) return false;
    return p.protocol != ICMP || (hasType && icmp.isQuery(p.ip + p.transport));
  }
  if (load<u64>(OWN_ADDRESS_6) == 0) return false;
  return p.protocol != ICMPV6 || (hasType && icmpv6.isAnswerable(p.ip + p.transport));
}
