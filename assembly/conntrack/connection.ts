/** A connection: two records that refer to each other, and are made, changed and removed together. */

import { decision, isTranslating, replyDirection } from "../decision";
import {
  BATCH_NUMBER,
  FLOW_SIZE,
  FLOWS_BY_STATE,
  generation,
  IN,
  NOW,
  OUT,
  REVERSED,
} from "../memory";
import { addressesOf, Packet } from "../packet";
import { accountHere, hold } from "./account";
import { giveWay } from "./eviction";
import {
  countPacket,
  directionOf,
  Flow,
  familyOf,
  firstOf,
  flowAddresses,
  IS_DESTINATION_MAPPED,
  IS_FIRST,
  IS_SOURCE_MAPPED,
  IS_TRANSLATED,
  isFirst,
  isHalfOpen,
  isPointedAt,
  MAPPED,
  NONE,
  needsRecords,
  RELAYED,
  refresh,
} from "./flow";
import { kindOf, reverseAddresses, reversePorts } from "./key";
import { uncountMapping, useMappings } from "./mapped";
import { firstSet, freeIn, hashOf, release, secondSet, tagOf, tagPlace } from "./table";

/** The tables never have this generation. */
const NO_GENERATION: u32 = 0;

/** Makes both records of a connection that this packet opens; null if there is no room. */
export function open(p: Packet, direction: u32, state: u32): Flow {
  const account = direction == OUT ? accountHere(p.family, addressesOf(p)) : p.peer;
  const kind = kindOf(p, direction);
  const first = makeRecord(kind, p.ports, addressesOf(p), state, account, isKept(p));
  if (first == NONE) return NONE;
  refresh(p, first);
  const second = makeTwin(p, first);
  if (second == NONE) {
    release(first);
    return NONE;
  }
  first.twin = second;
  second.twin = first;
  setFlags(p, first);
  setAllowed(first, p.rule);
  setAllowed(second, p.rule);
  charge(first, 1);
  countState(state, 1);
  return first;
}

/** Makes the single record for a packet that is relayed to another peer. */
export function openRelayed(p: Packet, direction: u32): void {
  const kind = kindOf(p, direction);
  const flow = makeRecord(kind, p.ports, addressesOf(p), RELAYED, p.peer, p.rule != 0);
  if (flow == NONE) return;
  flow.flags = <u8>IS_FIRST;
  refresh(p, flow);
  countState(RELAYED, 1);
  countPacket(p, flow);
}

/**
 * Makes the record of the replies, which come from where the packet goes to. Their destination is looked
 * up when the first one arrives.
 */
function makeTwin(p: Packet, first: Flow): Flow {
  const d = decision();
  const ports = reversePorts(p.protocol, d.onwardPorts);
  reverseAddresses(p.family, d.onwardAddresses);
  const kind = kindOf(p, replyDirection(p));
  return makeRecord(kind, ports, REVERSED, first.state, first.account, isKept(p));
}

/** Whether its connection needs its records: without them it would be judged or translated anew. */
function isKept(p: Packet): bool {
  return p.rule != 0 || isTranslating(p, decision());
}

function setFlags(p: Packet, first: Flow): void {
  const d = decision();
  let flags: u32 = 0;
  if (isTranslating(p, d)) flags |= IS_TRANSLATED;
  if (d.isSourceMapped) flags |= IS_SOURCE_MAPPED;
  if (d.isDestinationMapped) flags |= IS_DESTINATION_MAPPED;
  first.flags = <u8>(flags | IS_FIRST);
  first.twin.flags = <u8>flags;
  if (flags & ~IS_TRANSLATED) useMappings(first, 1);
}

/** Makes a record with this key; null if there is no room. */
export function makeRecord(
  kind: u32,
  ports: u32,
  addresses: usize,
  state: u32,
  account: u32,
  isPoliced: bool,
): Flow {
  const hash = hashOf(kind, ports, addresses);
  const flow = findPlace(hash, account, isPoliced);
  if (flow == NONE) return NONE;
  memory.fill(changetype<usize>(flow), 0, FLOW_SIZE);
  flow.kind = kind;
  flow.ports = ports;
  memory.copy(flowAddresses(flow), addresses, (kind & 0xff) == 4 ? 8 : 32);
  flow.state = <u8>state;
  flow.account = <u16>account;
  flow.last = load<u32>(NOW);
  flow.batch = load<u32>(BATCH_NUMBER);
  store<u16>(tagPlace(flow), <u16>tagOf(hash));
  return flow;
}

/** A free place in one of the two sets, or that of an evicted flow of lower rank; null if there is none. */
function findPlace(hash: u64, account: u32, isPoliced: bool): Flow {
  const first = firstSet(hash);
  const second = secondSet(hash);
  const flow = freeIn(first, second);
  if (flow != NONE) return flow;
  const least = giveWay(first, second, account, isPoliced);
  if (least != NONE) forget(least);
  return least;
}

// ------------------------------------------------------------------------ changes

/** Marks the connection as allowed by this rule, or without a rule, in this generation. */
export function allow(flow: Flow, rule: u32): void {
  charge(flow, -1);
  setAllowed(flow, rule);
  setAllowed(flow.twin, rule);
  charge(flow, 1);
}

function setAllowed(flow: Flow, rule: u32): void {
  flow.judged = generation();
  flow.rule = rule;
}

/**
 * The sender of this flow opened the connection again. If the other end had opened the old one, the
 * rules are applied again.
 */
export function setFirst(flow: Flow): void {
  if (isFirst(flow)) return;
  const twin = flow.twin;
  charge(flow, -1);
  const isOut = directionOf(flow) == OUT;
  const account = isOut ? accountHere(familyOf(flow), flowAddresses(flow)) : flow.peer;
  flow.account = twin.account = <u16>account;
  charge(flow, 1);
  flow.flags = <u8>(swapped(flow.flags) | IS_FIRST);
  twin.flags = <u8>swapped(twin.flags);
  flow.judged = twin.judged = NO_GENERATION;
  flow.generation = twin.generation = NO_GENERATION;
}

/** The flags of a connection that the other end opened: what was its source is its destination. */
function swapped(flags: u32): u32 {
  const both = IS_SOURCE_MAPPED | IS_DESTINATION_MAPPED;
  const isOne = (flags & both) == IS_SOURCE_MAPPED || (flags & both) == IS_DESTINATION_MAPPED;
  return (isOne ? flags ^ both : flags) & ~IS_FIRST;
}

export function setState(flow: Flow, state: u32): void {
  if (flow.state == state) return;
  countState(flow.state, -1);
  charge(flow, -1);
  flow.state = <u8>state;
  flow.twin.state = <u8>state;
  charge(flow, 1);
  countState(state, 1);
}

/** Removes a connection: its next packet opens another one. */
export function forget(flow: Flow): void {
  countState(flow.state, -1);
  charge(flow, -1);
  if (flow.state == MAPPED) uncountMapping(firstOf(flow));
  else if (flow.flags & ~(IS_FIRST | IS_TRANSLATED)) useMappings(firstOf(flow), -1);
  if (flow.twin != NONE) release(flow.twin);
  release(flow);
}

/**
 * The rules deny the connection. Its records stay, because packets of the batch point to them; in the
 * next batch the rules are applied again.
 */
export function cut(flow: Flow): void {
  if (!isPointedAt(flow)) forget(flow);
}

/** Counts connections by state. */
export function countState(state: u32, difference: i32): void {
  const counter = FLOWS_BY_STATE + (state << 2);
  store<i32>(counter, load<i32>(counter) + difference);
}

/** Adds a connection to its account, if it needs its records. */
export function charge(flow: Flow, n: i32): void {
  if (needsRecords(flow)) hold(flow.account, isHalfOpen(flow.state), n);
}
