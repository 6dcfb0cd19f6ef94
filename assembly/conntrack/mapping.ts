/**
 * Mappings: the outside port that stands for an inside address and port in all its connections (RFC
 * 4787, REQ-1). A mapping is a pair of records in the table of flows, with keys of their own:
 *
 *                 direction           ports           addresses
 *   first         MAPPED_INSIDE       inside port     inside, outside address
 *   its twin      MAPPED_OUTSIDE      outside port    outside address, zeros
 *
 * A key exists once, so no two inside ends share an outside port. A mapping lives while connections use
 * it (mapped.ts) and some time longer, in which no other inside end gets its port.
 */
import { DRAWN, FLOW_SEED, PER_SOURCE } from "../memory";
import { countState, forget, makeRecord } from "./connection";
import { Flow, IS_FIRST, MAPPED, NONE } from "./flow";
import { makeKind } from "./key";
import { MAPPED_INSIDE, MAPPED_OUTSIDE, mappingsOf, writeKey } from "./mapped";
import { find, release } from "./table";
import { isExpired } from "./timeouts";

/** Random ports that are tried, and then those that follow the last of them. */
const DRAWS: u32 = 64;
const STEPS: u32 = 1024;

/**
 * The outside port, as in a packet, of an inside end: the one that it has, or a free one from `low` to
 * `high`; 0 if there is none.
 */
export function mapSource(
  family: u32,
  protocol: u32,
  inside: v128,
  port: u32,
  outside: v128,
  low: u32,
  high: u32,
): u32 {
  const kind = makeKind(family, protocol, MAPPED_INSIDE);
  const known = liveRecord(kind, port, writeKey(family, inside, outside));
  if (known) return known.twin.ports;
  const counter = mappingsOf(family, writeKey(family, inside, outside));
  if (load<u32>(counter) >= load<u32>(PER_SOURCE)) return 0;
  const chosen = freePort(family, protocol, outside, low, high);
  if (chosen == 0 || !make(family, protocol, inside, port, outside, chosen)) return 0;
  store<u32>(counter, load<u32>(counter) + 1);
  return chosen;
}

/** The mapping with this outside address and port; null if there is none. */
export function findMapping(family: u32, protocol: u32, outside: v128, port: u32): Flow {
  const kind = makeKind(family, protocol, MAPPED_OUTSIDE);
  const twin = liveRecord(kind, port, writeKey(family, outside, i64x2.splat(0)));
  return twin ? twin.twin : NONE;
}

/** The record with this key. One that expired is forgotten first, so that its key is free. */
function liveRecord(kind: u32, port: u32, key: usize): Flow {
  const record = find(kind, port, key);
  if (!record || !isExpired(record)) return record;
  forget(record);
  return NONE;
}

function freePort(family: u32, protocol: u32, outside: v128, low: u32, high: u32): u32 {
  const span = high - low + 1;
  let place: u32 = 0;
  for (let i: u32 = 0; i < DRAWS + min(STEPS, span); i++) {
    place = (i <= DRAWS ? draw() : place + 1) % span;
    const port: u32 = bswap<u16>(<u16>(low + place));
    if (!findMapping(family, protocol, outside, port)) return port;
  }
  return 0;
}

/** A number that no outsider can guess, nor from those before (SplitMix64 with a secret seed). */
function draw(): u32 {
  const n = load<u64>(DRAWN) + 1;
  store<u64>(DRAWN, n);
  let z = load<u64>(FLOW_SEED) ^ (n * 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27) ^ load<u64>(FLOW_SEED)) * 0x94d049bb133111eb;
  return <u32>(z >> 33);
}

/** Makes both records; false if there is no room. */
function make(
  family: u32,
  protocol: u32,
  inside: v128,
  port: u32,
  outside: v128,
  outsidePort: u32,
): bool {
  const key = writeKey(family, inside, outside);
  const first = makeRecord(makeKind(family, protocol, MAPPED_INSIDE), port, key, MAPPED, 0, false);
  if (!first) return false;
  const zeros = writeKey(family, outside, i64x2.splat(0));
  const kind = makeKind(family, protocol, MAPPED_OUTSIDE);
  const twin = makeRecord(kind, outsidePort, zeros, MAPPED, 0, false);
  if (!twin) {
    release(first);
    return false;
  }
  first.twin = twin;
  twin.twin = first;
  first.flags = <u8>IS_FIRST;
  countState(MAPPED, 1);
  return true;
}
