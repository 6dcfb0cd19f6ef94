/**
 * What each rule decided, or saw: packets and bytes, by the rule's number. A rule counts the
 * packets that it let pass or refused; one that only counts, those that passed or were refused
 * after they met it. A packet that ends for another reason (its connection's state, no route,
 * its size) is counted by that reason alone. A number stays a rule's own as long as the rule
 * does, so its count outlives every publication.
 */
import {
  MAX_MET_RULES,
  MAX_RULE_NUMBERS,
  MET_COUNT,
  MET_RULES,
  RULE_COUNTER_SIZE,
  RULES,
} from "../memory";
import { Packet } from "../packet";

const BYTES: usize = 8;

/** The packet passed by the rule that decided about it or about its connection, or was refused by it. */
export function countRule(p: Packet): void {
  if (p.rule) add(p.rule, p.length);
}

/** The rules begin to be asked about a packet. */
export function meetNone(): void {
  store<u32>(MET_COUNT, 0);
}

/** The packet met a rule that only counts; whether it will is known when the packet passed or was refused. */
export function meetRule(number: u32): void {
  const count = load<u32>(MET_COUNT);
  if (count == MAX_MET_RULES) return;
  store<u32>(MET_RULES + (count << 2), number);
  store<u32>(MET_COUNT, count + 1);
}

/** The packet passed or was refused: those that only count, and that it met, count it. */
export function countMet(p: Packet): void {
  const count = load<u32>(MET_COUNT);
  for (let i: u32 = 0; i < count; i++) add(load<u32>(MET_RULES + (i << 2)), p.length);
}

function add(number: u32, bytes: u32): void {
  const counter = RULES + (number & (MAX_RULE_NUMBERS - 1)) * RULE_COUNTER_SIZE;
  store<u64>(counter, load<u64>(counter) + 1);
  store<u64>(counter, load<u64>(counter, BYTES) + bytes, BYTES);
}
