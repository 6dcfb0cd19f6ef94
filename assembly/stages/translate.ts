/** Rewrites a packet of a translated connection (docs/nat.md, "A translated connection"). */
import { Flow, flowAddresses, flowOf, isTranslated, onwardPorts } from "../conntrack/flow";
import { DIRECTION_BIT } from "../conntrack/key";
import { quotedIn } from "../conntrack/related";
import { destinationIn, sourceIn, writeAddresses } from "../decision";
import { addressesOf, CT_RELATED, Packet } from "../packet";
import { isSame } from "../tables/nat";
import { isSound, isUnfinished } from "../transport";
import { difference, fold, sum, updatedBy } from "../wire/checksum";
import * as icmp from "../wire/icmp";
import * as ipv4 from "../wire/ipv4";
import { ICMP, ICMPV6, isIcmp, SCTP, TCP, UDP } from "../wire/protocol";
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
  // The checksum of a super-packet is computed when it is segmented or written.
  const hasChecksum = !isLaterFragment(p) && p.segmentSize == 0;
  const isPartial = hasChecksum && isFromPeer(flow) && hasPseudo(p.protocol) && holdsPseudo(p);
  const changed = changeAddresses(p, flow.twin);
  if (isLaterFragment(p)) return;

  const at = p.ip + p.transport;
  const ports = onwardPorts(flow);
  if (hasChecksum && !isPartial) return changeEnds(p, at, p.length - p.transport, ports, changed);
  writePorts(p.protocol, at, ports);
  // It holds the sum of the pseudo-header alone, not its complement.
  const field = at + checksumIn(p.protocol);
  if (isPartial) store<u16>(field, <u16>fold(load<u16>(field) + changed));
}

/** A checksum that this host left unfinished was completed by `offload`; that of a peer may not be. */
function isFromPeer(flow: Flow): bool {
  return (flow.kind & DIRECTION_BIT) != 0;
}

/** A finished one may hold the sum of the pseudo-header by chance. */
function holdsPseudo(p: Packet): bool {
  return isUnfinished(p) && !isSound(p);
}

/** Writes the reverse of the replies' addresses; returns the difference of the sums. */
function changeAddresses(p: Packet, replies: Flow): u64 {
  const at = addressesOf(p);
  const key = flowAddresses(replies);
  const before = addressSum(p.family, at);
  if (p.family == 4) store<u64>(at, rotl<u64>(load<u64>(key), 32));
  else {
    v128.store(at, v128.load(key, 16));
    v128.store(at, v128.load(key), 16);
  }
  const changed = difference(before, addressSum(p.family, key));
  if (p.family == 4) ipv4.updateChecksum(p.ip, changed);
  return changed;
}

/** Writes ports into a transport header of `length` bytes; `changed`: the difference of the addresses. */
function changeEnds(p: Packet, at: usize, length: u32, ports: u32, changed: u64): void {
  const protocol = p.protocol;
  if (protocol == SCTP) return sctp.setPorts(at, length, ports);
  const isEcho = isIcmp(protocol);
  const from: u32 = isEcho ? icmp.echoIdentifier(at) : load<u32>(at);
  if (!writePorts(protocol, at, ports)) return;
  const field = checksumIn(protocol);
  if (field + 2 > length) return;
  const stored: u32 = load<u16>(at + field);
  if (protocol == UDP && stored == 0) return;
  const covered = protocol == ICMP ? 0 : changed;
  const to = isEcho ? ports & 0xffff : ports;
  const value = updatedBy(stored, covered + difference(from, to));
  store<u16>(at + field, value == 0 && hasPseudo(protocol) ? 0xffff : value);
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

/** TCP and UDP, of which 0 is written as 0xffff (`transportChecksum`). */
function hasPseudo(protocol: u32): bool {
  return protocol == TCP || protocol == UDP;
}

/** The sum of both addresses. */
function addressSum(family: u32, at: usize): u64 {
  return family == 4 ? <u64>load<u32>(at) + load<u32>(at, 4) : sum(at, 32);
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
  const before = sum(message, length);
  changeQuoted(quoted, flow.twin);
  const inside = difference(before, sum(message, length));
  const outside = changeOuter(p, flow);
  if (p.family == 4) ipv4.updateChecksum(p.ip, outside);
  const field = message + icmp.ICMP_CHECKSUM;
  const covered = p.protocol == ICMPV6 ? inside + outside : inside;
  store<u16>(field, updatedBy(load<u16>(field), covered));
}

/** The source of the error may be a router: it is replaced where the connection's source is. */
function changeOuter(p: Packet, flow: Flow): u64 {
  const family = p.family;
  const at = addressesOf(p);
  const replies = flowAddresses(flow.twin);
  const onward = destinationIn(family, replies);
  const isKept = isSame(sourceIn(family, flowAddresses(flow)), onward);
  const before = addressSum(family, at);
  const source = isKept ? sourceIn(family, at) : onward;
  writeAddresses(family, at, source, sourceIn(family, replies));
  return difference(before, addressSum(family, at));
}

function changeQuoted(q: Packet, sent: Flow): void {
  const at = addressesOf(q);
  const before = addressSum(q.family, at);
  const key = flowAddresses(sent);
  writeAddresses(q.family, at, sourceIn(q.family, key), destinationIn(q.family, key));
  const changed = difference(before, addressSum(q.family, at));
  if (q.family == 4) ipv4.updateChecksum(q.ip, changed);
  const transport = q.ip + q.transport;
  if (q.protocol == SCTP) store<u32>(transport, sent.ports);
  else changeEnds(q, transport, q.length - q.transport, sent.ports, changed);
}
