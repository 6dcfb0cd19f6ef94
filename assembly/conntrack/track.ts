import { IN, PICK_UP } from "../memory";
import { Packet } from "../packet";
import { FLOW_TABLE_FULL, INVALID_STATE } from "../reason";
import { isFragment, isLaterFragment } from "../stages/parse";
import { FIRST_PEER } from "../tables/peer";
import { countMet, countRule, meetNone } from "../tables/rule";
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
  OTHER_NEW,
  pointAt,
  RELAYED,
  refresh,
  SYN_SENT,
  TIME_WAIT,
  UDP_NEW,
} from "./flow";
import { flowOfDatagram, meetFragment, noteFirst } from "./fragments";
import { mayOpen } from "./key";
import { seek } from "./lookup";
import { related } from "./related";
import { advance, isMiddle, isSyn, loosen, openTcp } from "./tcp-state";

/**
 * Before the rules are asked: does it belong to what was judged before? Then it
 * passes as that does; if the rules changed since, they are asked about that.
 */
export function meet(p: Packet, direction: u32): i32 {
  meetNone();
  if (isFragment(p)) {
    const r = meetFragment(p, direction);
    if (r) return r;
  }
  if (p.hasKey) meetFlow(p, direction);
  else if (!p.allowed) belong(p, connectionOf(p, direction));
  return 0;
}

/**
 * The connection of a packet without ports of its own: that of its datagram, or the one whose error
 * it reports.
 */
function connectionOf(p: Packet, direction: u32): Flow {
  return isLaterFragment(p) ? flowOfDatagram(p, direction) : related(p, direction);
}

/** One before it in the same vector may have opened its flow, or closed it. */
function meetFlow(p: Packet, direction: u32): void {
  let flow = seek(p, direction);
  if (!flow) return;
  if (flow.state == RELAYED || isNewLife(p, flow)) {
    forget(flow);
    return;
  }
  if (isCurrent(flow)) {
    pointAt(p, flow);
    return;
  }
  p.record = changetype<usize>(flow);
  belong(p, flow);
}

/** The same two ends begin anew after the last connection is over. */
function isNewLife(p: Packet, flow: Flow): bool {
  return p.protocol == TCP && flow.state >= TIME_WAIT && isSyn(p);
}

function belong(p: Packet, flow: Flow): void {
  if (!flow || flow.state == RELAYED) return;
  if (isAllowed(flow)) {
    p.allowed = 1;
    p.rule = flow.rule;
  } else {
    p.connection = changetype<usize>(firstOf(flow));
  }
}

/** The rules deny it, and with it what they allowed before. */
export function refuse(p: Packet, direction: u32, reason: i32): i32 {
  if (p.connection) cut(changetype<Flow>(p.connection));
  noteFirst(p, direction, reason);
  countRule(p);
  countMet(p);
  return reason;
}

/** The rules allow the packet: its connection begins or continues if its state allows it too. */
export function track(p: Packet, direction: u32): i32 {
  if (p.connection) allow(changetype<Flow>(p.connection), p.rule);
  if (p.record) {
    p.flow = p.record;
    refresh(p, flowOf(p));
    const r = follow(p, direction);
    if (r == 0) countMet(p);
    return r;
  }
  const r = p.hasKey ? begin(p, direction) : 0;
  if (r) return r;
  if (p.flow == 0) noteFirst(p, direction, 0);
  countRule(p);
  countMet(p);
  return 0;
}

/** The state of a connection is held against a packet only where a policy decided about it. */
export function follow(p: Packet, direction: u32): i32 {
  const flow = flowOf(p);
  if (p.protocol == TCP) {
    const fits = advance(p, flow);
    if (!fits && flow.rule) return INVALID_STATE;
    // The length of a segment that comes in fragments is not known here.
    if (fits && isFragment(p)) loosen(flow);
  } else if (!flow.isFirst) {
    setReplied(flow);
  }
  if (isFragment(p)) noteFirst(p, direction, 0);
  countPacket(p, flow);
  countRule(p);
  return 0;
}

function setReplied(flow: Flow): void {
  if (flow.state == UDP_NEW || flow.state == ECHO_NEW || flow.state == OTHER_NEW) {
    setState(flow, flow.state + 1);
  }
}

function begin(p: Packet, direction: u32): i32 {
  if (p.protocol == TCP && !isSyn(p) && !mayPickUp(p)) return p.rule ? INVALID_STATE : 0;
  if (!mayOpen(p)) return 0;
  const flow = open(p, direction, firstState(p));
  if (!flow) return p.rule ? FLOW_TABLE_FULL : 0;
  p.flow = changetype<usize>(flow);
  noteFirst(p, direction, 0);
  if (p.protocol == TCP) {
    openTcp(p, flow);
    if (isFragment(p)) loosen(flow);
  }
  countPacket(p, flow);
  return 0;
}

/** A connection that a policy decides about is taken up in its middle only if the host said so. */
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

/** Of what goes on to another peer only the way is kept: the two ends know its state. */
export function trackRelayed(p: Packet): void {
  if (p.flow) return countPacket(p, flowOf(p));
  if (!p.hasKey || p.owner < FIRST_PEER) return;
  const flow = seek(p, IN);
  if (flow && isCurrent(flow)) return countPacket(p, flow);
  if (flow) forget(flow);
  openRelayed(p, IN);
}
