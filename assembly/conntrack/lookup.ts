/**
 * Finds the connection of a packet: its `flow` and its `ctState`.
 *
 *                  flowLookup      ctLookup                         track
 *   CT_INVALID  ----------------> CT_RELATED  (by what it quotes, or its first fragment)
 *   CT_NEW      -> CT_ESTABLISHED, CT_STALE, or CT_NEW still ------> CT_ESTABLISHED
 *
 * `flowLookup` runs before any other lookup, and a packet with a current flow needs no other. A packet
 * without one is looked up again when it is processed, because a packet before it in the vector may
 * have opened or closed its flow.
 */
import { addressesOf, CT_ESTABLISHED, CT_NEW, CT_RELATED, CT_STALE, Packet } from "../packet";
import { isFragment, isLaterFragment } from "../stages/parse";
import { clearMatched } from "../tables/rule";
import { TCP } from "../wire/protocol";
import { forget } from "./connection";
import { Flow, isAllowed, isCurrent, NONE, pointAt, RELAYED, TIME_WAIT } from "./flow";
import { checkFragment, flowOfDatagram } from "./fragments";
import { kindOf } from "./key";
import { related } from "./related";
import { find } from "./table";
import { isSyn } from "./tcp-state";
import { isExpired } from "./timeouts";

/** Finds the flow if its decisions are current: its peer, its owner, its headers. */
export function flowLookup(p: Packet, direction: u32): void {
  if (p.ctState != CT_NEW) return;
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isCurrent(flow) || flow.state >= TIME_WAIT || isExpired(flow)) return;
  pointAt(p, flow);
}

/** Finds the connection of the packet; returns a reason if it is a fragment that must not pass. */
export function ctLookup(p: Packet, direction: u32): i32 {
  clearMatched();
  if (isFragment(p)) {
    const r = checkFragment(p, direction);
    if (r) return r;
  }
  if (p.ctState == CT_NEW) lookUpFlow(p, direction);
  else if (p.ctState != CT_RELATED) lookUpRelated(p, direction);
  return 0;
}

function lookUpFlow(p: Packet, direction: u32): void {
  const flow = findStale(p, direction);
  if (!flow) return;
  if (flow.state == RELAYED || isNewLife(p, flow)) forget(flow);
  else if (isCurrent(flow)) pointAt(p, flow);
  else belongTo(p, flow, CT_STALE);
}

/** Whether the same two ends open a new connection after the last one is over. */
function isNewLife(p: Packet, flow: Flow): bool {
  return p.protocol == TCP && flow.state >= TIME_WAIT && isSyn(p);
}

/** For a packet without ports: finds the connection of its datagram, or of the packet that it quotes. */
function lookUpRelated(p: Packet, direction: u32): void {
  const flow = isLaterFragment(p) ? flowOfDatagram(p, direction) : related(p, direction);
  if (flow && flow.state != RELAYED) belongTo(p, flow, CT_RELATED);
}

function belongTo(p: Packet, flow: Flow, ctState: u32): void {
  p.ctState = ctState;
  p.flow = changetype<usize>(flow);
  if (isAllowed(flow)) p.rule = flow.rule;
}

/** The record of the packet's flow, of any generation; null if there is none or it has expired. */
export function findStale(p: Packet, direction: u32): Flow {
  const flow = find(kindOf(p, direction), p.ports, addressesOf(p));
  if (flow == NONE || !isExpired(flow)) return flow;
  forget(flow);
  return NONE;
}
