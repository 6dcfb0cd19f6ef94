/**
 * The hash table of records. Eight records are a set, and a flow is in one of two sets. 16 bits of its
 * hash, its tag, are stored apart, and the tags of a set are adjacent: one comparison checks eight
 * records. Tag 0 is a free place.
 */
import { FLOW_SEED, FLOW_SET_BITS, FLOW_SIZE, FLOW_TAGS, FLOWS } from "../memory";
import { Flow, FREE, flowAddresses, NONE } from "./flow";
import { isExpired } from "./timeouts";

export const SET_SIZE: u32 = 8;
const SET_TAGS: u32 = 16;

/** The record with this key, or NONE. `addresses`: address of source and destination. */
export function find(kind: u32, ports: u32, addresses: usize): Flow {
  const hash = hashOf(kind, ports, addresses);
  const tags = i16x8.splat(<i16>tagOf(hash));
  const flow = findIn(firstSet(hash), tags, kind, ports, addresses);
  return flow != NONE ? flow : findIn(secondSet(hash), tags, kind, ports, addresses);
}

/** The same, unless it has expired. */
export function findLive(kind: u32, ports: u32, addresses: usize): Flow {
  const flow = find(kind, ports, addresses);
  return flow == NONE || isExpired(flow) ? NONE : flow;
}

function findIn(set: u32, tags: v128, kind: u32, ports: u32, addresses: usize): Flow {
  let hits = i16x8.bitmask(i16x8.eq(v128.load(FLOW_TAGS + set * SET_TAGS), tags));
  for (; hits; hits &= hits - 1) {
    const flow = recordAt(set * SET_SIZE + <u32>ctz(hits));
    if (isOf(flow, kind, ports, addresses)) return flow;
  }
  return NONE;
}

function isOf(flow: Flow, kind: u32, ports: u32, addresses: usize): bool {
  if (flow.kind != kind || flow.ports != ports) return false;
  const own = flowAddresses(flow);
  if ((kind & 0xff) == 4) return load<u64>(own) == load<u64>(addresses);
  const sources = v128.xor(v128.load(own), v128.load(addresses));
  const destinations = v128.xor(v128.load(own, 16), v128.load(addresses, 16));
  return !v128.any_true(v128.or(sources, destinations));
}

// ------------------------------------------------------------------------- places

/**
 * Chooses the emptier set: the table then fills to 3/4 before both sets of a flow are full; with the
 * first free place it would fill to 1/2 only. A nearly empty first set is preferred, because it is
 * searched first.
 */
export function freeIn(first: u32, second: u32): Flow {
  const NEARLY_EMPTY = 6;
  let set = first;
  let free = freePlaces(first);
  if (popcnt(free) < NEARLY_EMPTY) {
    const others = freePlaces(second);
    if (popcnt(others) > popcnt(free)) {
      set = second;
      free = others;
    }
  }
  return free ? recordAt(set * SET_SIZE + <u32>ctz(free)) : NONE;
}

/** The free places of a set, as bits. */
function freePlaces(set: u32): i32 {
  return i16x8.bitmask(i16x8.eq(v128.load(FLOW_TAGS + set * SET_TAGS), i16x8.splat(0)));
}

export function recordAt(index: u32): Flow {
  return changetype<Flow>(FLOWS + index * FLOW_SIZE);
}

export function tagPlace(flow: Flow): usize {
  return FLOW_TAGS + (((changetype<usize>(flow) - FLOWS) / FLOW_SIZE) << 1);
}

export function release(flow: Flow): void {
  flow.state = <u8>FREE;
  store<u16>(tagPlace(flow), 0);
}

export function isEmpty(set: u32): bool {
  return !v128.any_true(v128.load(FLOW_TAGS + set * SET_TAGS));
}

// --------------------------------------------------------------------------- hash

/** Multiplying by an odd number mixes the low bits into the high ones; the shift mixes them back. */
function scramble(h: u64): u64 {
  h *= 0x9e3779b97f4a7c15;
  return h ^ (h >> 32);
}

export function hashOf(kind: u32, ports: u32, addresses: usize): u64 {
  let h = scramble(load<u64>(addresses) ^ load<u64>(FLOW_SEED));
  if ((kind & 0xff) == 6) {
    h = scramble(h ^ load<u64>(addresses, 8));
    h = scramble(h ^ load<u64>(addresses, 16));
    h = scramble(h ^ load<u64>(addresses, 24));
  }
  return scramble(h ^ ((<u64>kind) << 32) ^ ports);
}

export function tagOf(hash: u64): u32 {
  const tag = <u32>(hash >> 48);
  return tag ? tag : 1;
}

export function firstSet(hash: u64): u32 {
  return <u32>hash & setMask();
}

export function secondSet(hash: u64): u32 {
  return (<u32>hash ^ ((tagOf(hash) * 0x9e3b) | 1)) & setMask();
}

export function setMask(): u32 {
  return (1 << load<u32>(FLOW_SET_BITS)) - 1;
}
