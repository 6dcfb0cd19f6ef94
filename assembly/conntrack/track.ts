/**
 * Updates the connection of a packet that may pass: opens one, or advances its state. The state can
 * refuse a packet only if a policy decided about the connection.
 */
import { decision, isTranslating } from "../decision";
import { IN, PICK_UP } from "../memory";
import { CT_ESTABLISHED, CT_INVALID, CT_NEW, CT_STALE, Packet } from "../packet";
import { FLOW_TABLE_FULL, INVALID_STATE } from "../reason";
import { isFragment } from "../stages/parse";
import { FIRST_PEER } from "../tables/peer";
import { countMatched, countRule } from "../tables/rule";
import { ICMP, ICMPV6, TCP, UDP } from "../wire/protocol";
import { allow, cut, forget, open, openRelayed, setState } from "./connection";
import {
  countPacket,
  ECHO_NEW,
  Flow,
  firstOf,
  flowOf,
  isAllowed,
  isCurrent,
  isFirst,
  OTHER_NEW,
  refresh,
  SYN_SENT,
  setFlow,
  UDP_NEW,
} from "./flow";
import { noteFirst } from "./fragments";
import { isRequest } from "./key";
import { findStale } from "./lookup";
import { advance, isMiddle, isSyn, openTcp, setLoose } from "./tcp-state";

/** Handles a packet of a known flow; a reason if it does not fit the state of a policed connection. */
export function follow(p: Packet, direction: u32): i32 {
  const flow = flowOf(p);
  if (p.protocol == TCP) {
    const fits = advance(p, flow);
    if (!fits && flow.rule) return INVALID_STATE;
    // The length of a segment in fragments is not known here.
    if (fits && isFragment(p)) setLoose(flow);
  } else if (!isFirst(flow)) {
    setReplied(flow);
  }
  if (isFragment(p)) noteFirst(p, direction, 0);
  countPacket(p, flow);
  countRule(p);
  return 0;
}

/** Handles a packet that the rules allow: its connection begins, or continues if its state permits. */
export function track(p: Packet, direction: u32): i32 {
  if (wasReevaluated(p)) allow(firstOf(flowOf(p)), p.rule);
  if (p.ctState == CT_STALE) return resume(p, direction);
  const r = p.ctState == CT_NEW ? openNew(p, direction) : 0;
  if (r) return r;
  noteFirst(p, direction, 0);
  countRule(p);
  countMatched(p);
  return 0;
}

/** Handles a packet that the rules deny, and with it the connection that they allowed before. */
export function refuse(p: Packet, direction: u32, reason: i32): i32 {
  if (wasReevaluated(p)) cut(firstOf(flowOf(p)));
  noteFirst(p, direction, reason);
  countRule(p);
  countMatched(p);
  return reason;
}

/** Handles a packet that is relayed. Only its destination is stored: the state is kept at the two ends. */
export function trackRelayed(p: Packet): void {
  if (p.ctState == CT_ESTABLISHED) return countPacket(p, flowOf(p));
  if (p.ctState != CT_NEW || p.owner < FIRST_PEER) return;
  const flow = findStale(p, IN);
  if (flow && isCurrent(flow)) return countPacket(p, flow);
  if (flow) forget(flow);
  openRelayed(p, IN);
}

/** Whether its connection is known, and the current rules were applied to it again. */
function wasReevaluated(p: Packet): bool {
  return p.flow != 0 && !isAllowed(flowOf(p));
}

/** Updates the flow with the destination just found for its packet. */
function resume(p: Packet, direction: u32): i32 {
  refresh(p, flowOf(p));
  p.ctState = CT_ESTABLISHED;
  const r = follow(p, direction);
  if (r == 0) countMatched(p);
  return r;
}

function openNew(p: Packet, direction: u32): i32 {
  if (!mayOpen(p)) {
    p.ctState = CT_INVALID;
    return p.protocol == TCP && p.rule ? INVALID_STATE : 0;
  }
  const flow = open(p, direction, firstState(p));
  if (!flow) return p.rule || isTranslating(p, decision()) ? FLOW_TABLE_FULL : 0;
  setFlow(p, flow);
  if (p.protocol == TCP) {
    openTcp(p, flow);
    if (isFragment(p)) setLoose(flow);
  }
  countPacket(p, flow);
  return 0;
}

/** Whether a connection may begin with the packet. */
export function mayOpen(p: Packet): bool {
  switch (p.protocol) {
    case TCP:
      return isSyn(p) || mayPickUp(p);
    case ICMP:
    case ICMPV6:
      return isRequest(p);
    default:
      return true;
  }
}

/** Whether a connection that a policy decides about may be picked up in its middle. */
function mayPickUp(p: Packet): bool {
  return isMiddle(p) && (p.rule == 0 || load<u32>(PICK_UP) != 0);
}

function firstState(p: Packet): u32 {
  switch (p.protocol) {
    case TCP:
      return SYN_SENT;
    case UDP:
      return UDP_NEW;
    case ICMP:
    case ICMPV6:
      return ECHO_NEW;
    default:
      return OTHER_NEW;
  }
}

function setReplied(flow: Flow): void {
  if (flow.state == UDP_NEW || flow.state == ECHO_NEW || flow.state == OTHER_NEW) {
    setState(flow, flow.state + 1);
  }
}
