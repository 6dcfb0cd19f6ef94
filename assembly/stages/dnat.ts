/**
 * Chooses the destination with which a connection goes on, and finds its owner (docs/nat.md). It comes
 * before the access lists, which judge the real ends, and only writes down its choice.
 */
import { cut } from "../conntrack/connection";
import {
  Flow,
  FREE,
  firstOf,
  flowAddresses,
  flowOf,
  IS_DESTINATION_MAPPED,
  isAllowed,
  isFirst,
  isTranslated,
  onwardPorts,
} from "../conntrack/flow";
import { findMapping } from "../conntrack/mapping";
import { isSyn } from "../conntrack/tcp-state";
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
import { IN, OUT } from "../memory";
import { addressesOf, CT_NEW, CT_STALE, Packet } from "../packet";
import { FRAGMENT_BEFORE_FIRST, NO_BACKEND, NO_GATEWAY, NOT_TRANSLATABLE } from "../reason";
import {
  chooseBackend,
  findEgress,
  findService,
  findSource,
  hasRules,
  netmapOfInside,
  netmapOfOverlay,
  toInside,
  toOverlay,
} from "../tables/nat";
import { FIRST_PEER, NO_PEER, THIS_NODE } from "../tables/peer";
import { isOwn, ownerOf } from "../tables/route";
import { hasPorts, TCP } from "../wire/protocol";
import { holds, isOfNetmap } from "./holds";
import { isLaterFragment } from "./parse";

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
  if (!isOwn(p.family, flowAddresses(mapping))) return;
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
  const isForeign = (first.flags & IS_DESTINATION_MAPPED) != 0 && !isOwn(family, twin);
  if (isForeign || isOfNetmap(first)) return setReal(p, d, real, destination);
  setReal(p, d, real, sourceIn(family, twin));
  d.realPorts = (first.ports & 0xffff) | (onwardPorts(first) & 0xffff0000);
}
