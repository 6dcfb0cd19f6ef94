/**
 * Chooses the ends with which a connection goes on (docs/nat.md). `dnat` comes before the access lists,
 * which judge the real ends, and `snat` before `track`, which stores the choice in the records.
 */
import { cut, forget } from "../conntrack/connection";
import {
  Flow,
  FREE,
  familyOf,
  firstOf,
  flowAddresses,
  flowOf,
  IS_DESTINATION_MAPPED,
  isAllowed,
  isFirst,
  isPointedAt,
  isTranslated,
  onwardPorts,
  protocolOf,
  RELAYED,
} from "../conntrack/flow";
import { kindOf, reverseAddresses, reversePorts } from "../conntrack/key";
import { findMapping, mapSource } from "../conntrack/mapping";
import { find } from "../conntrack/table";
import { isSyn } from "../conntrack/tcp-state";
import { isExpired } from "../conntrack/timeouts";
import { mayOpen } from "../conntrack/track";
import {
  beginDecision,
  Decision,
  decision,
  destinationIn,
  isTranslating,
  setOnward,
  setReal,
  sourceIn,
} from "../decision";
import {
  HAIRPIN_ADDRESS,
  HAIRPIN_ADDRESS_6,
  IN,
  OUT,
  OWN_ADDRESS,
  OWN_ADDRESS_6,
  REVERSED,
  THROUGH_CORE,
} from "../memory";
import { addressesOf, CT_NEW, CT_STALE, Packet } from "../packet";
import {
  FRAGMENT_BEFORE_FIRST,
  NAT_EXHAUSTED,
  NO_BACKEND,
  NO_GATEWAY,
  NOT_TRANSLATABLE,
} from "../reason";
import {
  chooseBackend,
  findEgress,
  findService,
  findSource,
  hasBackend,
  hasRules,
  isSame,
  NatRule,
  netmapOfInside,
  netmapOfOverlay,
  toInside,
  toOverlay,
} from "../tables/nat";
import { FIRST_PEER, NO_PEER, THIS_NODE } from "../tables/peer";
import { ownerOf } from "../tables/route";
import { ICMP, ICMPV6, SCTP, TCP, UDP } from "../wire/protocol";
import { isLaterFragment } from "./parse";

/** Ports of mappings on this node's own address, whose other ports belong to the host, and on others. */
const OWN_LOW: u32 = 61000;
const LOW: u32 = 1024;
/** The least port of a mapping in the class below: those before it belong to services. */
const LEAST: u32 = 600;
const HIGH: u32 = 65535;
/** 2^32 divided by the golden ratio: spreads neighbouring addresses (Knuth, 6.4). */
const SPREAD: u32 = 0x9e3779b1;

// ------------------------------------------------------------ destination

/** Chooses the destination of a packet without a current flow, and finds its owner. */
export function dnat(p: Packet, direction: u32): i32 {
  const d = beginDecision(p);
  if (p.flow != 0) {
    judgeFirst(p, d, firstOf(flowOf(p)));
    if (isTranslated(flowOf(p))) return resume(p, d, flowOf(p), direction);
    return direction == OUT && p.owner == NO_PEER ? leaveAgain(p) : 0;
  }
  if (!hasRules()) return 0;
  if (p.ctState != CT_NEW) return refuseCovered(p, direction);
  return choose(p, d, direction);
}

/** Whether `dnat` chose another destination for it, or a gateway. */
export function isChosen(p: Packet): bool {
  const d = decision();
  return d.gateway != null || isTranslating(p, d);
}

function choose(p: Packet, d: Decision, direction: u32): i32 {
  const family = p.family;
  const source = sourceIn(family, addressesOf(p));
  const destination = destinationIn(family, addressesOf(p));
  const service = hasPorts(p.protocol)
    ? findService(family, p.protocol, destination, p.ports >> 16)
    : null;
  if (service && (service.isPort || direction == OUT)) {
    const backend = chooseBackend(service, source, p.ports & 0xffff);
    if (!backend) return NO_BACKEND;
    redirect(p, d, source, backend.address, backend.port);
    setReal(p, d, source, backend.address);
    d.realPorts = d.onwardPorts;
    d.hasBackend = 1;
  } else if (!redirectToNetmap(p, d, source, destination)) {
    redirectToMapping(p, d, source, destination);
  }
  if (direction == OUT && p.owner != NO_PEER) mapToOverlay(p, d, source);
  return p.owner == NO_PEER ? leave(p, d, direction) : 0;
}

/** Sets destination and port with which the packet goes on, and their owner. */
function redirect(p: Packet, d: Decision, source: v128, destination: v128, port: u32): void {
  setOnward(p, d, source, destination);
  d.onwardPorts = (p.ports & 0xffff) | (port << 16);
  const owner = ownerOf(p.family, d.onwardAddresses + (p.family == 4 ? 4 : 16));
  if (owner != NO_PEER) p.owner = owner;
}

/** A destination in the overlay's prefix of a netmap; policy judges it as it comes. */
function redirectToNetmap(p: Packet, d: Decision, source: v128, destination: v128): bool {
  if (p.owner != THIS_NODE) return false;
  const rule = netmapOfOverlay(p.family, destination);
  if (!rule) return false;
  redirect(p, d, source, toInside(rule, destination), p.ports >> 16);
  return true;
}

/**
 * A destination that is the outside address and port of a mapping (RFC 4787, REQ-8). Policy judges the
 * inside end if it is on this node, where rules can select it, otherwise the outside end.
 */
function redirectToMapping(p: Packet, d: Decision, source: v128, destination: v128): void {
  if (!hasPorts(p.protocol)) return;
  const mapping = findMapping(p.family, p.protocol, destination, p.ports >> 16);
  if (!mapping) return;
  const inside = sourceIn(p.family, flowAddresses(mapping));
  redirect(p, d, source, inside, mapping.ports);
  d.isDestinationMapped = 1;
  if (!isHere(p.family, flowAddresses(mapping))) return;
  setReal(p, d, source, inside);
  d.realPorts = d.onwardPorts;
}

/** A source in the inside prefix of a netmap; policy judges the overlay's address. */
function mapToOverlay(p: Packet, d: Decision, source: v128): void {
  const rule = netmapOfInside(p.family, source);
  if (!rule) return;
  const address = toOverlay(rule, source);
  setReal(p, d, address, destinationIn(p.family, d.realAddresses));
  setOnward(p, d, address, destinationIn(p.family, d.onwardAddresses));
}

/** Finds the gateway of a packet to the outside. */
function leave(p: Packet, d: Decision, direction: u32): i32 {
  const family = p.family;
  const destination = destinationIn(family, d.realAddresses);
  const rule = findEgress(family, sourceIn(family, addressesOf(p)), destination);
  if (!rule) return 0;
  if (rule.via == THIS_NODE) d.gateway = rule;
  else if (rule.via == NO_PEER || direction == IN) return NO_GATEWAY;
  else p.owner = rule.via;
  return 0;
}

/**
 * Finds the gateway of a packet whose connection is not translated here: one that leaves through a peer.
 * If this node has become the gateway, the connection is decided again.
 */
function leaveAgain(p: Packet): i32 {
  const addresses = addressesOf(p);
  const rule = findEgress(
    p.family,
    sourceIn(p.family, addresses),
    destinationIn(p.family, addresses),
  );
  if (!rule) return 0;
  if (rule.via == THIS_NODE && p.ctState == CT_STALE) return decideAgain(p, flowOf(p), OUT);
  if (rule.via < FIRST_PEER) return NO_GATEWAY;
  p.owner = rule.via;
  return 0;
}

/**
 * A packet that opens nothing and belongs to no connection cannot be translated: a rule that covers it
 * stops it.
 */
function refuseCovered(p: Packet, direction: u32): i32 {
  const family = p.family;
  const source = sourceIn(family, addressesOf(p));
  const destination = destinationIn(family, addressesOf(p));
  const isCovered =
    (p.owner == THIS_NODE && netmapOfOverlay(family, destination) != null) ||
    (p.owner == NO_PEER && findEgress(family, source, destination) != null) ||
    (direction == OUT &&
      (netmapOfInside(family, source) != null || findSource(family, source, destination) != null));
  if (!isCovered) return 0;
  return isLaterFragment(p) ? FRAGMENT_BEFORE_FIRST : NOT_TRANSLATABLE;
}

// ----------------------------------------------------------------- source

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
    return isHere(family, d.realAddresses) ? 0 : take(p, d, ownAddress(family), OWN_LOW);
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

/** Whether this node has the address, so that replies to it come back here. */
function isHere(family: u32, address: usize): bool {
  return ownerOf(family, address) == THIS_NODE;
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
  const isOwn = rule.addresses == 0;
  const address = isOwn
    ? ownAddress(family)
    : inPool(family, sourceIn(family, addressesOf(p)), rule);
  if (rule.highPort) return takePort(p, d, address, rule.lowPort, rule.highPort);
  return take(p, d, address, isOwn ? OWN_LOW : LOW);
}

/** The rule's first address, with low bits that depend on the source alone. */
function inPool(family: u32, source: v128, rule: NatRule): v128 {
  const last: u32 = family == 4 ? i32x4.extract_lane(source, 0) : i32x4.extract_lane(source, 3);
  const low = bswap<u32>(((bswap<u32>(last) * SPREAD) >> 16) & (rule.addresses - 1));
  const zero = i64x2.splat(0);
  const bits = family == 4 ? i32x4.replace_lane(zero, 0, low) : i32x4.replace_lane(zero, 3, low);
  return v128.or(rule.address, bits);
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
  const kind = kindOf(p, p.owner < FIRST_PEER ? OUT : IN);
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

function ownAddress(family: u32): v128 {
  return family == 4 ? v128.load32_zero(OWN_ADDRESS) : v128.load(OWN_ADDRESS_6);
}

function hairpinAddress(family: u32): v128 {
  return family == 4 ? v128.load32_zero(HAIRPIN_ADDRESS) : v128.load(HAIRPIN_ADDRESS_6);
}

function hasPorts(protocol: u32): bool {
  return protocol == TCP || protocol == UDP || protocol == SCTP;
}

function isMappable(protocol: u32): bool {
  return hasPorts(protocol) || protocol == ICMP || protocol == ICMPV6;
}

// ----------------------------------------------------- known connections

/** Continues a translated connection if the rules would still make it; finds the owner of its destination. */
function resume(p: Packet, d: Decision, flow: Flow, direction: u32): i32 {
  if (!isAllowed(flow) && !holds(firstOf(flow))) return decideAgain(p, flow, direction);
  const own = flowAddresses(flow) + (p.family == 4 ? 4 : 16);
  const owner = ownerOf(p.family, flowAddresses(flow.twin));
  p.owner = owner != NO_PEER ? owner : ownerOf(p.family, own);
  if (p.owner == NO_PEER) return leave(p, d, direction);
  return 0;
}

/**
 * Ends a connection that the rules would not make any more. A packet that may open one is decided again;
 * others are refused, a segment of TCP by a RST.
 */
function decideAgain(p: Packet, flow: Flow, direction: u32): i32 {
  const isOpening = p.ctState == CT_STALE && isFirst(flow) && (p.protocol != TCP || isSyn(p));
  const first = firstOf(flow);
  cut(first);
  if (!isOpening || first.state != FREE) return NO_BACKEND;
  p.flow = 0;
  p.rule = 0;
  p.ctState = CT_NEW;
  return hasRules() ? choose(p, beginDecision(p), direction) : 0;
}

/** Sets the ends by which policy judges the connection: those of the packet that opened it. */
function judgeFirst(p: Packet, d: Decision, first: Flow): void {
  d.realAddresses = flowAddresses(first);
  d.realPorts = first.ports;
  if (!isTranslated(first)) return;
  const family = p.family;
  const source = sourceIn(family, d.realAddresses);
  const destination = destinationIn(family, d.realAddresses);
  const twin = flowAddresses(first.twin);
  const real = netmapOfInside(family, source) ? destinationIn(family, twin) : source;
  const isForeign = (first.flags & IS_DESTINATION_MAPPED) != 0 && !isHere(family, twin);
  if (isForeign || isOfNetmap(first)) return setReal(p, d, real, destination);
  setReal(p, d, real, sourceIn(family, twin));
  d.realPorts = (first.ports & 0xffff) | (onwardPorts(first) & 0xffff0000);
}

function isOfNetmap(first: Flow): bool {
  const family = familyOf(first);
  const rule = netmapOfOverlay(family, destinationIn(family, flowAddresses(first)));
  if (!rule) return false;
  const inside = toInside(rule, destinationIn(family, flowAddresses(first)));
  return isSame(inside, sourceIn(family, flowAddresses(first.twin)));
}

/** Whether the rules would still translate the connection as they did. */
export function holds(first: Flow): bool {
  return holdsDestination(first) && holdsSource(first);
}

function holdsDestination(first: Flow): bool {
  if (first.flags & IS_DESTINATION_MAPPED) return true;
  const family = familyOf(first);
  const destination = destinationIn(family, flowAddresses(first));
  const onward = sourceIn(family, flowAddresses(first.twin));
  const port = first.ports >> 16;
  const onwardPort = onwardPorts(first) >> 16;
  if (isSame(destination, onward) && port == onwardPort) return true;
  const service = findService(family, protocolOf(first), destination, port);
  return service ? hasBackend(service, onward, onwardPort) : isOfNetmap(first);
}

function holdsSource(first: Flow): bool {
  const family = familyOf(first);
  const source = sourceIn(family, flowAddresses(first));
  const destination = sourceIn(family, flowAddresses(first.twin));
  const outside = destinationIn(family, flowAddresses(first.twin));
  if (isSame(source, outside)) return true;
  if (isSame(outside, hairpinAddress(family))) return true;
  const netmap = netmapOfInside(family, source);
  if (netmap) return isSame(outside, toOverlay(netmap, source));
  const egress = findEgress(family, source, destination);
  if (egress) return egress.via == THIS_NODE && isSame(outside, egress.address);
  let rule = findSource(family, source, destination);
  if (!rule) rule = findSource(family, source, destinationIn(family, flowAddresses(first)));
  if (rule && rule.addresses) return isSame(outside, inPool(family, source, rule));
  return isSame(outside, ownAddress(family));
}
