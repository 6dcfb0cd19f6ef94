/**
 * The path of a packet through the core.
 *
 *   outbound:  device -> parse -> offload -> flow?
 *                hit:   route -> follow                                        -> translate
 *                miss:  lookup -> ct -> dnat -> acl -> snat -> route -> track  -> translate
 *              translate -> clamp -> encap -> wire
 *                        \-> hairpin -> device
 *
 *   inbound:   wire -> decap -> parse -> flow? -> lookup of a miss -> admit -> ecn
 *                hit:   follow                                                 -> translate
 *                miss:  ct -> dnat -> acl -> snat -> track                     -> translate
 *                for another peer:  relay -> encap -> wire
 *              translate -> clamp -> coalesce -> device
 *                        \-> clamp -> encap -> wire, after relay
 *
 * A stage returns 0 to continue, or a reason. The host reads a batch into the slots and calls
 * outbound() or inbound() until every packet is processed; after each pass it writes out the lists,
 * and at the end it calls finishBatch(). One read from the device may be a super-packet, which `encap`
 * segments; one message from the wire may be a GSO batch of datagrams, which `coalesce` joins again.
 * Lookups run for a vector of packets at once, because each waits for memory; a packet of a known flow
 * needs none. For all others `ctLookup` finds the connection, `dnat` and `snat` choose the ends with which
 * it goes on, `acl` applies the rules to the real ones, and `track` stores the decision; `follow`
 * advances the state of a known flow (conntrack/).
 */

import { beginBatch } from "./batch";
import { keepHeads } from "./capture";
import { flowOf, isTranslated } from "./conntrack/flow";
import { takeKey } from "./conntrack/key";
import { ctLookup, flowLookup } from "./conntrack/lookup";
import { follow, refuse, track, trackRelayed } from "./conntrack/track";
import { isControl, putControl } from "./mailbox";
import {
  ANSWER_COUNT,
  DEVICE_COUNT,
  ENCAP_SIZE,
  GRO_SIZE,
  HEADROOM,
  IN,
  LENGTHS,
  MAX_GRO,
  NEXT_MESSAGE,
  OUT,
  PACKET_COUNT,
  RECEIVED_TOS,
  SEGMENT_COUNT,
  SLOT_SIZE,
  SLOTS,
  VECTOR,
  VIRTIO_SIZE,
  WIRE_COUNT,
} from "./memory";
import { CT_ESTABLISHED, nextPacket, Packet, packetAt } from "./packet";
import { TRUNCATED } from "./reason";
import { readControls, rearm, received, receivedLength, senderOf } from "./receive-list";
import { aclIn, aclOut } from "./stages/acl";
import { admit } from "./stages/admit";
import { clamp } from "./stages/clamp";
import { closeAll, coalesce, finishCoalesced } from "./stages/coalesce";
import { decap } from "./stages/decap";
import { dnat, isChosen } from "./stages/dnat";
import { combineEcn } from "./stages/ecn";
import { encap } from "./stages/encap";
import { hairpin } from "./stages/hairpin";
import { icmpError } from "./stages/icmp-error";
import { offload } from "./stages/offload";
import { parse } from "./stages/parse";
import { redirect, relay } from "./stages/relay";
import { route } from "./stages/route";
import { snat } from "./stages/snat";
import { translate } from "./stages/translate";
import { admitWhole, deliverWhole, isWhole } from "./stages/whole";
import { hasRules } from "./tables/nat";
import { FIRST_PEER, THIS_NODE } from "./tables/peer";
import { lookupDestinations, lookupSources } from "./tables/route";
import {
  ACL,
  ADMIT,
  CLAMP,
  COALESCE,
  CT_LOOKUP,
  DECAP,
  DNAT,
  ECN,
  ENCAP,
  FLOW,
  HAIRPIN,
  ICMP_ERROR,
  LOOKUP,
  OFFLOAD,
  PARSE,
  RELAY,
  ROUTE,
  SNAT,
  TRACK,
  TRANSLATE,
  traced,
  tracedAll,
} from "./trace";
import { hasRoom } from "./wire-list";

// --------------------------------------------------------------- outbound

/** Processes reads `from`..`count`-1 from device to wire; returns the first one without room. */
export function outbound(from: u32, count: u32): u32 {
  if (from == 0) {
    beginBatch();
    takeReads(count);
    keepHeads(0, count);
    flowLookupAll(0, count, OUT);
    lookupDestinations(0, count);
    tracedAll(LOOKUP, 0, count);
  }
  clearLists();
  let i = from;
  for (; i < count && hasRoom(); i++) {
    const p = packetAt(i);
    if (p.verdict == 0) p.verdict = onward(p);
    if (p.verdict) p.verdict = traced(ICMP_ERROR, p, icmpError(p, p.verdict));
  }
  return i;
}

function takeReads(count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    const ip = SLOTS + i * SLOT_SIZE + HEADROOM;
    const p = nextPacket(ip, load<u32>(LENGTHS + i * 4) - VIRTIO_SIZE);
    p.verdict = fromDevice(p);
    if (p.verdict == 0) takeKey(p);
  }
}

function fromDevice(p: Packet): i32 {
  if (<i32>p.length < 0) return TRUNCATED;
  const r = traced(PARSE, p, parse(p));
  if (r) return r;
  return traced(OFFLOAD, p, offload(p));
}

function flowLookupAll(from: u32, to: u32, direction: u32): void {
  for (let i = from; i < to; i++) {
    const p = packetAt(i);
    if (p.verdict) continue;
    flowLookup(p, direction);
    traced(FLOW, p, 0);
  }
}

function onward(p: Packet): i32 {
  const r = p.ctState == CT_ESTABLISHED ? hitOut(p) : missOut(p);
  if (r) return r;
  translate(p);
  traced(TRANSLATE, p, 0);
  return p.owner < FIRST_PEER ? backToDevice(p) : toWire(p);
}

function toWire(p: Packet): i32 {
  clamp(p);
  traced(CLAMP, p, 0);
  encap(p);
  return traced(ENCAP, p, 0);
}

/** The host has its destination, or routes it on. */
function backToDevice(p: Packet): i32 {
  hairpin(p);
  return traced(HAIRPIN, p, 0);
}

/** The flow is known, so the packet was allowed before. */
function hitOut(p: Packet): i32 {
  traced(ACL, p, 0);
  const r = traced(ROUTE, p, route(p));
  return r ? r : traced(TRACK, p, follow(p, OUT));
}

/** A packet before it in the vector may have opened its flow meanwhile. */
function missOut(p: Packet): i32 {
  let r = traced(CT_LOOKUP, p, ctLookup(p, OUT));
  if (r) return r;
  if (p.ctState == CT_ESTABLISHED) return hitOut(p);
  r = traced(DNAT, p, dnat(p, OUT));
  if (r) return r;
  r = traced(ACL, p, aclOut(p));
  if (r) return refuse(p, OUT, r);
  r = traced(SNAT, p, snat(p, OUT));
  if (r) return r;
  r = traced(ROUTE, p, route(p));
  return r ? r : traced(TRACK, p, track(p, OUT));
}

// ---------------------------------------------------------------- inbound

/**
 * Processes messages 0..`count`-1 from the wire, from packet `from` on; returns the first packet
 * without room, or 0 when all are processed.
 */
export function inbound(from: u32, count: u32): u32 {
  if (from == 0) {
    beginBatch();
    store<u32>(NEXT_MESSAGE, 0);
  }
  clearLists();
  let k = from;
  do {
    if (k == load<u32>(PACKET_COUNT)) takeVector(count);
    for (const to = load<u32>(PACKET_COUNT); k < to && hasRoom(); k++) {
      const p = packetAt(k);
      if (p.verdict == 0) p.verdict = fromPeer(p);
    }
  } while (k == load<u32>(PACKET_COUNT) && load<u32>(NEXT_MESSAGE) < count);
  finishCoalesced();
  return k < load<u32>(PACKET_COUNT) ? k : 0;
}

/** Takes the next messages until they fill a vector of packets, and looks up the owners of these. */
function takeVector(count: u32): void {
  const from = load<u32>(PACKET_COUNT);
  let i = load<u32>(NEXT_MESSAGE);
  while (i < count && load<u32>(PACKET_COUNT) - from < VECTOR) takeMessage(i++);
  store<u32>(NEXT_MESSAGE, i);
  const to = load<u32>(PACKET_COUNT);
  keepHeads(from, to);
  flowLookupAll(from, to, IN);
  lookupSources(from, to);
  lookupDestinations(from, to);
  tracedAll(LOOKUP, from, to);
}

/** Takes a datagram, or each datagram of a GSO batch, as a packet. */
function takeMessage(i: u32): void {
  const start = received(i) + ENCAP_SIZE;
  const length = receivedLength(i);
  readControls(i);
  const size = load<u32>(GRO_SIZE);
  if (size < length && isWhole(start, length - ENCAP_SIZE)) {
    takeDatagram(start, length - ENCAP_SIZE, i, size);
    return rearm(i);
  }
  let at: u32 = 0;
  // The last may be shorter. Beyond the maximum of a GSO batch the rest is one packet, and is dropped.
  for (let n: u32 = 1; at + size < length && n < MAX_GRO; n++, at += size) {
    takeDatagram(start + at, size - ENCAP_SIZE, i, 0);
  }
  takeDatagram(start + at, length - at - ENCAP_SIZE, i, 0);
  rearm(i);
}

/** `length` counts from the inner IP header on, and wraps below zero if there is none. */
function takeDatagram(ip: usize, length: u32, message: u32, segmentSize: u32): void {
  const sender = senderOf(message);
  const start = ip - ENCAP_SIZE;
  if (isControl(start, length + ENCAP_SIZE)) return putControl(sender, start, length + ENCAP_SIZE);
  const p = nextPacket(ip, length);
  p.sender = sender;
  p.segmentSize = segmentSize;
  p.outerTos = load<u32>(RECEIVED_TOS);
  p.verdict = fromWire(p);
  if (p.verdict == 0) takeKey(p);
}

function fromWire(p: Packet): i32 {
  const r = traced(DECAP, p, decap(p));
  if (r) return r;
  return traced(PARSE, p, parse(p));
}

function fromPeer(p: Packet): i32 {
  let r = traced(ADMIT, p, p.segmentSize ? admitWhole(p) : admit(p));
  if (r) return r;
  r = traced(ECN, p, combineEcn(p));
  if (r) return r;
  if (p.ctState != CT_ESTABLISHED && (p.owner == THIS_NODE || hasRules())) {
    r = findIn(p);
    if (r) return answerPeer(p, r);
  }
  if (isRelayed(p)) return toNextPeer(p);
  r = p.ctState == CT_ESTABLISHED ? hitIn(p) : missIn(p);
  if (r) return r;
  return p.owner < FIRST_PEER ? toDevice(p) : backToWire(p);
}

/** Finds the connection of the packet, and the destination of one that is new. */
function findIn(p: Packet): i32 {
  const r = traced(CT_LOOKUP, p, ctLookup(p, IN));
  if (r || p.ctState == CT_ESTABLISHED) return r;
  return traced(DNAT, p, dnat(p, IN));
}

/** Whether it only passes through this node, and is not translated here. */
function isRelayed(p: Packet): bool {
  if (p.owner == THIS_NODE) return false;
  if (p.flow != 0) return !isTranslated(flowOf(p));
  return !hasRules() || !isChosen(p);
}

function toDevice(p: Packet): i32 {
  translate(p);
  traced(TRANSLATE, p, 0);
  clamp(p);
  traced(CLAMP, p, 0);
  return traced(COALESCE, p, p.segmentSize ? deliverWhole(p) : coalesce(p));
}

/** The flow is known, so the packet was allowed before. */
function hitIn(p: Packet): i32 {
  traced(ACL, p, 0);
  return traced(TRACK, p, follow(p, IN));
}

function missIn(p: Packet): i32 {
  let r = traced(ACL, p, aclIn(p));
  if (r) return answerPeer(p, refuse(p, IN, r));
  r = traced(SNAT, p, snat(p, IN));
  return r ? answerPeer(p, r) : traced(TRACK, p, track(p, IN));
}

/** An error goes back through the tunnel that the packet came from. */
function answerPeer(p: Packet, reason: i32): i32 {
  p.origin = p.peer;
  return traced(ICMP_ERROR, p, icmpError(p, reason));
}

/** It is translated here, and its new destination is another node. */
function backToWire(p: Packet): i32 {
  const r = traced(RELAY, p, redirect(p));
  if (r) return traced(ICMP_ERROR, p, icmpError(p, r));
  translate(p);
  traced(TRANSLATE, p, 0);
  return toWire(p);
}

function toNextPeer(p: Packet): i32 {
  trackRelayed(p);
  const r = traced(RELAY, p, relay(p));
  if (r) return traced(ICMP_ERROR, p, icmpError(p, r));
  encap(p);
  return traced(ENCAP, p, 0);
}

/** Empties what the host writes out after a pass. */
export function clearLists(): void {
  store<u32>(WIRE_COUNT, 0);
  store<u32>(SEGMENT_COUNT, 0);
  store<u32>(DEVICE_COUNT, 0);
  store<u32>(ANSWER_COUNT, 0);
  closeAll();
}
