/**
 * Counters of each rule: packets and bytes, by the rule's number. A rule counts the packets that it let
 * pass or refused; a count-only rule, those that matched it and then passed or were refused. A packet
 * that ends for another reason (its connection's state, no route, its size) is counted by that reason
 * alone. A number belongs to a rule as long as the rule exists, so its count survives every
 * publication.
 */
import {
  MATCHED_COUNT,
  MATCHED_RULES,
  MAX_MATCHED_RULES,
  MAX_RULE_NUMBERS,
  RULE_COUNTER_BYTES,
  RULE_COUNTER_SIZE,
  RULES,
} from "../memory";
import { Packet } from "../packet";

/** Counts a packet that passed by the rule that decided about it or its connection, or was refused by it. */
export function countRule(p: Packet): void {
  if (p.rule) add(p.rule, p.length);
}

/** Call it before the rules are applied to a packet. */
export function clearMatched(): void {
  store<u32>(MATCHED_COUNT, 0);
}

/** Stores a count-only rule that the packet matched; it counts the packet once that passed or was refused. */
export function matchRule(number: u32): void {
  const count = load<u32>(MATCHED_COUNT);
  if (count == MAX_MATCHED_RULES) return;
  store<u32>(MATCHED_RULES + (count << 2), number);
  store<u32>(MATCHED_COUNT, count + 1);
}

/** The packet passed or was refused: the count-only rules that it matched count it. */
export function countMatched(p: Packet): void {
  const count = load<u32>(MATCHED_COUNT);
  for (let i: u32 = 0; i < count; i++) add(load<u32>(MATCHED_RULES + (i << 2)), p.length);
}

function add(number: u32, bytes: u32): void {
  const counter = RULES + (number & (MAX_RULE_NUMBERS - 1)) * RULE_COUNTER_SIZE;
  store<u64>(counter, load<u64>(counter) + 1);
  store<u64>(counter, load<u64>(counter, RULE_COUNTER_BYTES) + bytes, RULE_COUNTER_BYTES);
}
