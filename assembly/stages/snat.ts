/**
 * Chooses the source with which a connection goes on (docs/nat.md). It comes after the access lists and
 * before `track`, which stores both choices in the records.
 */
import { forget } from "../conntrack/connection";
import { isPointedAt, RELAYED } from "../conntrack/flow";
import { kindOf, reverseAddresses, reversePorts } from "../conntrack/key";
import { mapSource } from "../conntrack/mapping";
import { find } from "../conntrack/table";
import { isExpired } from "../conntrack/timeouts";
import { mayOpen } from "../conntrack/track";
import {
  Decision,
  decision,
  destinationIn,
  isTranslating,
  replyDirection,
  setOnward,
  sourceIn,
} from "../decision";
import { IN, OUT, REVERSED, THROUGH_CORE } from "../memory";
import { hairpinAddress, ownAddress } from "../own-address";
import { addressesOf, CT_NEW, Packet } from "../packet";
import { NAT_EXHAUSTED, NOT_TRANSLATABLE } from "../reason";
import { findSource, hasRules, inPool, isSame, NatRule } from "../tables/nat";
import { FIRST_PEER } from "../tables/peer";
import { isOwn } from "../tables/route";
import { hasPorts, isIcmp } from "../wire/protocol";

/** Ports of mappings on this node's own address, whose other ports belong to the host, and on others. */
const OWN_LOW: u32 = 61000;
const LOW: u32 = 1024;
/** The least port of a mapping in the class below: those before it belong to services. */
const LEAST: u32 = 600;
const HIGH: u32 = 65535;

/** Chooses the source of a packet that opens a connection. */
export function snat(p: Packet, direction: u32): i32 {
  if (p.flow != 0 || p.ctState != CT_NEW || !mayShareReplies()) return 0;
  const d = decision();
  const r = chooseSource(p, d, direction);
  if (r) return r;
  if (!mayOpen(p)) return isTranslating(p, d) ? NOT_TRANSLATABLE : 0;
  return isReplyTaken(p, d, direction) ? keepSource(p, d, direction) : 0;
}

/**
 * Whether two connections may have the same tuple of replies: by translation, or where one comes from the
 * device and the other from the wire, with the same ends.
 */
function mayShareReplies(): bool {
  return hasRules() || load<u32>(THROUGH_CORE) != 0;
}

function chooseSource(p: Packet, d: Decision, direction: u32): i32 {
  if (d.gateway) return takeOutside(p, d, d.gateway);
  const family = p.family;
  const source = sourceIn(family, d.realAddresses);
  if (direction == OUT) {
    const rule = sourceRule(p, d);
    if (rule) return takeOutside(p, d, rule);
  }
  if (!d.hasBackend && !(d.isDestinationMapped && direction == IN)) return 0;
  if (p.owner >= FIRST_PEER) {
    return isOwn(family, d.realAddresses) ? 0 : take(p, d, ownAddress(family), OWN_LOW);
  }
  return isAround(p, d, source, direction) ? take(p, d, hairpinAddress(family), LOW) : 0;
}

/** The rule for the real destination, or for the one that the packet came with. */
function sourceRule(p: Packet, d: Decision): NatRule {
  const family = p.family;
  const source = sourceIn(family, d.realAddresses);
  const rule = findSource(family, source, destinationIn(family, d.realAddresses));
  if (rule) return rule;
  return findSource(family, source, destinationIn(family, addressesOf(p)));
}

/** Whether replies of the backend, which is on this node, would reach the client around the core. */
function isAround(p: Packet, d: Decision, source: v128, direction: u32): bool {
  if (direction == IN) return false;
  if (load<u32>(THROUGH_CORE) == 0) return true;
  const backend = destinationIn(p.family, d.onwardAddresses);
  const own = ownAddress(p.family);
  return isSame(source, backend) || isSame(source, own) || isSame(backend, own);
}

/** Takes an outside address of the rule, the same for all connections of a source (RFC 4787, REQ-2). */
function takeOutside(p: Packet, d: Decision, rule: NatRule): i32 {
  const family = p.family;
  const isNode = rule.addresses == 0;
  const address = isNode
    ? ownAddress(family)
    : inPool(family, sourceIn(family, addressesOf(p)), rule);
  if (rule.highPort) return takePort(p, d, address, rule.lowPort, rule.highPort);
  return take(p, d, address, isNode ? OWN_LOW : LOW);
}

/** A port of the class of the inside port (RFC 4787, REQ-3). `low`: the least of the upper class. */
function take(p: Packet, d: Decision, outside: v128, low: u32): i32 {
  const isLower = hasPorts(p.protocol) && bswap<u16>(<u16>p.ports) < LOW;
  if (isLower) return takePort(p, d, outside, LEAST, LOW - 1);
  return takePort(p, d, outside, low, HIGH);
}

/** The packet goes on from this address, and from the port of its source's mapping. */
function takePort(p: Packet, d: Decision, outside: v128, low: u32, high: u32): i32 {
  const family = p.family;
  setOnward(p, d, outside, destinationIn(family, d.onwardAddresses));
  if (!isMappable(p.protocol)) return 0;
  if (!mayOpen(p)) return NOT_TRANSLATABLE;
  const inside = sourceIn(family, addressesOf(p));
  const port = mapSource(family, p.protocol, inside, p.ports & 0xffff, outside, low, high);
  if (port == 0) return NAT_EXHAUSTED;
  d.onwardPorts = (d.onwardPorts & 0xffff0000) | port;
  d.isSourceMapped = 1;
  return 0;
}

/**
 * Whether the packet itself, or another connection, has the tuple of the replies. A connection that is
 * over gives way.
 */
function isReplyTaken(p: Packet, d: Decision, direction: u32): bool {
  reverseAddresses(p.family, d.onwardAddresses);
  const kind = kindOf(p, replyDirection(p));
  const ports = reversePorts(p.protocol, d.onwardPorts);
  if (kind == kindOf(p, direction) && ports == p.ports && isReversed(p)) return true;
  const other = find(kind, ports, REVERSED);
  if (!other) return false;
  const isOver = other.state == RELAYED || isExpired(other);
  if (isOver && !isPointedAt(other)) forget(other);
  return !isOver || isPointedAt(other);
}

/** Whether the packet has the addresses of its own replies. */
function isReversed(p: Packet): bool {
  return memory.compare(REVERSED, addressesOf(p), p.family == 4 ? 8 : 32) == 0;
}

/** The tuple of the replies is taken: the source keeps its address and gets another port. */
function keepSource(p: Packet, d: Decision, direction: u32): i32 {
  if (d.isSourceMapped || !isMappable(p.protocol)) return NAT_EXHAUSTED;
  const source = sourceIn(p.family, d.onwardAddresses);
  const r = take(p, d, source, OWN_LOW);
  return r == 0 && isReplyTaken(p, d, direction) ? NAT_EXHAUSTED : r;
}

/** Whether its connections have ports, or an identifier, to map. */
function isMappable(protocol: u32): bool {
  return hasPorts(protocol) || isIcmp(protocol);
}
