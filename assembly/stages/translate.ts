/** Rewrites a packet of a translated connection (docs/nat.md, "A translated connection"). */
import { Flow, flowAddresses, flowOf, isTranslated, onwardPorts } from "../conntrack/flow";
import { quotedIn } from "../conntrack/related";
import { destinationIn, sourceIn, writeAddresses } from "../decision";
import { addressesOf, CT_RELATED, Packet } from "../packet";
import { isSame } from "../tables/nat";
import { isSound, isUnfinished } from "../transport";
import { fold, sum, updatedBy } from "../wire/checksum";
import * as icmp from "../wire/icmp";
import * as ipv4 from "../wire/ipv4";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";
import * as sctp from "../wire/sctp";
import { TCP_CHECKSUM } from "../wire/tcp";
import { UDP_CHECKSUM } from "../wire/udp";
import { isLaterFragment } from "./parse";

/** Gives the packet the ends with which its connection goes on: the reverse of its replies' key. */
export function translate(p: Packet): void {
  if (p.flow == 0 || !isTranslated(flowOf(p))) return;
  const quoted = p.ctState == CT_RELATED ? quotedIn(p) : null;
  if (quoted) translateError(p, quoted, flowOf(p));
  else translatePacket(p, flowOf(p));
}

function translatePacket(p: Packet, flow: Flow): void {
  const replies = flowAddresses(flow.twin);
  const source = destinationIn(p.family, replies);
  // The checksum of a super-packet is computed when it is segmented or written.
  const hasChecksum = !isLaterFragment(p) && p.segmentSize == 0;
  const isPartial = hasChecksum && hasPseudo(p.protocol) && isUnfinished(p) && !isSound(p);
  const before = addressSum(p);
  writeAddresses(p.family, addressesOf(p), source, sourceIn(p.family, replies));
  const after = addressSum(p);
  if (p.family == 4) ipv4.updateChecksum(p.ip, before, after);
  if (isLaterFragment(p)) return;

  const at = p.ip + p.transport;
  if (!hasChecksum) writePorts(p.protocol, at, onwardPorts(flow));
  else if (isPartial) {
    writePorts(p.protocol, at, onwardPorts(flow));
    // It holds the sum of the pseudo-header alone, not its complement.
    const field = at + checksumIn(p.protocol);
    store<u16>(field, <u16>fold(load<u16>(field) + (0xffff ^ fold(before)) + after));
  } else changeEnds(p, at, p.length - p.transport, onwardPorts(flow), before, after);
}

/** Writes ports into a transport header of `length` bytes, and updates its checksum. */
function changeEnds(p: Packet, at: usize, length: u32, ports: u32, before: u64, after: u64): void {
  const protocol = p.protocol;
  const portsBefore: u32 =
    protocol == ICMP || protocol == ICMPV6 ? icmp.echoIdentifier(at) : load<u32>(at);
  if (protocol == SCTP) return sctp.setPorts(at, length, ports);
  if (!writePorts(protocol, at, ports)) return;
  const field = checksumIn(protocol);
  if (field + 2 > length) return;
  const stored: u32 = load<u16>(at + field);
  if (protocol == UDP && stored == 0) return;
  const isId = protocol == ICMP || protocol == ICMPV6;
  const from: u64 = (protocol == ICMP ? 0 : before) + portsBefore;
  const to: u64 = (protocol == ICMP ? 0 : after) + (isId ? ports & 0xffff : ports);
  const value = updatedBy(stored, from, to);
  store<u16>(at + field, protocol == UDP && value == 0 ? 0xffff : value);
}

/** False for a protocol without ports. */
function writePorts(protocol: u32, at: usize, ports: u32): bool {
  switch (protocol) {
    case TCP:
    case UDP:
      store<u32>(at, ports);
      return true;
    case ICMP:
    case ICMPV6:
      icmp.setEchoIdentifier(at, ports);
      return true;
    default:
      return false;
  }
}

function checksumIn(protocol: u32): u32 {
  switch (protocol) {
    case TCP:
      return TCP_CHECKSUM;
    case UDP:
      return UDP_CHECKSUM;
    default:
      return icmp.ICMP_CHECKSUM;
  }
}

function hasPseudo(protocol: u32): bool {
  return protocol == TCP || protocol == UDP;
}

/** The sum of both addresses. */
function addressSum(p: Packet): u64 {
  const at = addressesOf(p);
  if (p.family == 6) return sum(at, 32);
  return <u64>load<u32>(at) + load<u32>(at, 4);
}

// ----------------------------------------------------------------- errors

/**
 * Gives an ICMP error, and the packet that it quotes, the ends that they have on the other side (RFC
 * 5508, 4.2). The packet was sent on to the error's side; its sender knows it by the key of its own
 * direction, the twin's. A wrong checksum stays as wrong as it was.
 */
function translateError(p: Packet, quoted: Packet, flow: Flow): void {
  const message = p.ip + p.transport;
  const length = p.length - p.transport;
  const outerBefore = addressSum(p);
  const before = sum(message, length);
  changeQuoted(quoted, flow.twin);
  const after = sum(message, length);
  changeOuter(p, flow);
  const outerAfter = addressSum(p);
  if (p.family == 4) ipv4.updateChecksum(p.ip, outerBefore, outerAfter);
  const isV6 = p.protocol == ICMPV6;
  const field = message + icmp.ICMP_CHECKSUM;
  const from = before + (isV6 ? outerBefore : 0);
  store<u16>(field, updatedBy(load<u16>(field), from, after + (isV6 ? outerAfter : 0)));
}

/** The source of the error may be a router: it is replaced where the connection's source is. */
function changeOuter(p: Packet, flow: Flow): void {
  const family = p.family;
  const replies = flowAddresses(flow.twin);
  const known = sourceIn(family, flowAddresses(flow));
  const onward = destinationIn(family, replies);
  const source = isSame(known, onward) ? sourceIn(family, addressesOf(p)) : onward;
  writeAddresses(family, addressesOf(p), source, sourceIn(family, replies));
}

function changeQuoted(q: Packet, sent: Flow): void {
  const key = flowAddresses(sent);
  const before = addressSum(q);
  writeAddresses(q.family, addressesOf(q), sourceIn(q.family, key), destinationIn(q.family, key));
  const after = addressSum(q);
  if (q.family == 4) ipv4.updateChecksum(q.ip, before, after);
  if (q.protocol == SCTP) store<u32>(q.ip + q.transport, sent.ports);
  else changeEnds(q, q.ip + q.transport, q.length - q.transport, sent.ports, before, after);
}
