import { Packet } from "../packet";
import {
  HEADER_CHAIN,
  MARTIAN_DESTINATION,
  MARTIAN_SOURCE,
  NOT_IP,
  SOURCE_ROUTE,
  TRUNCATED,
} from "../reason";
import * as icmp from "../wire/icmp";
import * as ipv4 from "../wire/ipv4";
import * as ipv6 from "../wire/ipv6";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";
import { SCTP_SIZE } from "../wire/sctp";
import * as tcp from "../wire/tcp";
import * as udp from "../wire/udp";

/** Checks every header once and stores the fields for later stages. */
export function parse(p: Packet): i32 {
  if (p.length < 1) return TRUNCATED;
  p.family = load<u8>(p.ip) >> 4;
  switch (p.family) {
    case 4:
      return parseIPv4(p);
    case 6:
      return parseIPv6(p);
    default:
      return NOT_IP;
  }
}

/** A fragment's transport header may be truncated or missing. */
export function isFragment(p: Packet): bool {
  return (p.fragment & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK)) != 0;
}

export function isLaterFragment(p: Packet): bool {
  return (p.fragment & ipv4.OFFSET_MASK) != 0;
}

function parseIPv4(p: Packet): i32 {
  let r = ipv4.checkIPv4(p.ip, p.length);
  if (r) return r;
  r = ipv4.checkOptions(p.ip);
  if (r) return r;
  p.length = ipv4.totalLength(p.ip);
  p.transport = ipv4.headerLength(p.ip);
  p.protocol = ipv4.protocol(p.ip);
  p.fragment = ipv4.fragment(p.ip);
  p.identification = ipv4.identification(p.ip);
  p.fragmented = p.transport;
  if (!isHost4(ipv4.source(p.ip))) return MARTIAN_SOURCE;
  if (!isHost4(ipv4.destination(p.ip))) return MARTIAN_DESTINATION;
  return isFragment(p) ? 0 : checkTransport(p);
}

function parseIPv6(p: Packet): i32 {
  let r = ipv6.checkIPv6(p.ip, p.length);
  if (r) return r;
  p.length = ipv6.totalLength(p.ip);
  r = walkExtensions(p);
  if (r) return r;
  if (!isHost6(ipv6.source(p.ip))) return MARTIAN_SOURCE;
  if (!isHost6(ipv6.destination(p.ip))) return MARTIAN_DESTINATION;
  return isFragment(p) ? 0 : checkTransport(p);
}

/** Finds the transport header behind at most MAX_EXTENSIONS extension headers. */
export function walkExtensions(p: Packet): i32 {
  p.fragment = 0;
  p.transport = ipv6.IPV6_SIZE;
  p.protocol = ipv6.nextHeader(p.ip);
  for (let i: u32 = 0; ipv6.isExtension(p.protocol); i++) {
    if (i == ipv6.MAX_EXTENSIONS) return HEADER_CHAIN;
    if (p.transport + 8 > p.length) return TRUNCATED;
    const at = p.ip + p.transport;
    const type = p.protocol;
    p.protocol = ipv6.extensionNext(at);
    p.transport += ipv6.extensionLength(at, type);
    if (p.transport > p.length) return TRUNCATED;
    if (type == ipv6.ROUTING && ipv6.isSourceRoute(at)) return SOURCE_ROUTE;
    if (type == ipv6.FRAGMENT) {
      // A fragment of a fragment: the fields of the inner header would replace those of the outer one.
      if (isFragment(p)) return HEADER_CHAIN;
      p.fragment = ipv6.extensionFragment(at);
      p.identification = ipv6.extensionIdentification(at);
      p.fragmented = p.transport;
      // The rest is data from the middle of a datagram.
      if (isLaterFragment(p)) return 0;
    }
  }
  return 0;
}

function checkTransport(p: Packet): i32 {
  const at = p.ip + p.transport;
  const length = p.length - p.transport;
  switch (p.protocol) {
    case TCP:
      return tcp.checkTcp(at, length);
    case UDP:
      return udp.checkUdp(at, length);
    case ICMP:
    case ICMPV6:
      return icmp.checkIcmp(length);
    default:
      return 0;
  }
}

/** Whether the transport header is complete, as far as any stage reads it. */
export function hasTransport(p: Packet): bool {
  const at = p.ip + p.transport;
  const length = p.length - p.transport;
  switch (p.protocol) {
    case TCP:
      return tcp.checkTcp(at, length) == 0;
    case UDP:
      return length >= udp.UDP_SIZE;
    case SCTP:
      return length >= SCTP_SIZE;
    case ICMP:
    case ICMPV6:
      return length >= icmp.ICMP_SIZE;
    default:
      return true;
  }
}

/** False for addresses that no single host has: 0/8, 127/8, multicast, 240/4 and broadcast (RFC 6890). */
function isHost4(address: u32): bool {
  const firstOctet = address & 0xff;
  return firstOctet != 0 && firstOctet != 127 && firstOctet < 224;
}

/**
 * False for addresses that no router forwards: ::/96 (unspecified, loopback, IPv4-compatible),
 * IPv4-mapped, link-local and multicast (RFC 6890, RFC 4291).
 */
function isHost6(address: usize): bool {
  const firstOctet: u32 = load<u8>(address);
  if (firstOctet == 0xff) return false;
  if (firstOctet == 0xfe && (load<u8>(address, 1) & 0xc0) == 0x80) return false;
  if (load<u64>(address) != 0) return true;
  const third = load<u32>(address, 8);
  return third != 0 && third != 0xffff0000;
}
