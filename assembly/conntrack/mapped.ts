/**
 * The use of mappings (mapping.ts). A mapping counts the connections that use it in place of packets,
 * and does not expire before the last of them.
 */
import { destinationIn, sourceIn, writeAddresses } from "../decision";
import { keyedHash } from "../keyed-hash";
import { MAPPING_KEY, MAPPING_SOURCE_BITS, MAPPINGS_BY_SOURCE, NOW } from "../memory";
import {
  Flow,
  familyOf,
  flowAddresses,
  IS_DESTINATION_MAPPED,
  IS_SOURCE_MAPPED,
  protocolOf,
} from "./flow";
import { makeKind } from "./key";
import { find } from "./table";

// In place of a direction.
export const MAPPED_INSIDE: u32 = 2;
export const MAPPED_OUTSIDE: u32 = 3;

/** Writes the addresses of a mapping's key; returns where. */
export function writeKey(family: u32, first: v128, second: v128): usize {
  writeAddresses(family, MAPPING_KEY, first, second);
  return MAPPING_KEY;
}

/** Address of the number of mappings of the inside address at `inside`, and of those that share its hash. */
export function mappingsOf(family: u32, inside: usize): usize {
  const hash = keyedHash(inside, family == 4 ? 1 : 4);
  return MAPPINGS_BY_SOURCE + ((<usize>(hash >> (64 - MAPPING_SOURCE_BITS))) << 2);
}

/** Counts the connection of this first record, `n` being 1 or -1, towards the mappings that it uses. */
export function useMappings(first: Flow, n: i32): void {
  const family = familyOf(first);
  const own = flowAddresses(first);
  const others = flowAddresses(first.twin);
  if (first.flags & IS_SOURCE_MAPPED) {
    const outside = destinationIn(family, others);
    use(first, sourceIn(family, own), first.ports & 0xffff, outside, n);
  }
  if (first.flags & IS_DESTINATION_MAPPED) {
    const inside = sourceIn(family, others);
    use(first, inside, first.twin.ports & 0xffff, destinationIn(family, own), n);
  }
}

function use(first: Flow, inside: v128, port: u32, outside: v128, n: i32): void {
  const family = familyOf(first);
  const kind = makeKind(family, protocolOf(first), MAPPED_INSIDE);
  const mapping = find(kind, port, writeKey(family, inside, outside));
  if (!mapping) return;
  mapping.packets += n;
  mapping.last = load<u32>(NOW);
}

/** Counts a mapping of its inside address that the host wrote. */
export function countMapping(mapping: Flow): void {
  const counter = mappingsOf(familyOf(mapping), flowAddresses(mapping));
  store<u32>(counter, load<u32>(counter) + 1);
}

/** Forgets a mapping of its inside address. */
export function uncountMapping(mapping: Flow): void {
  const counter = mappingsOf(familyOf(mapping), flowAddresses(mapping));
  store<u32>(counter, load<u32>(counter) - 1);
}
