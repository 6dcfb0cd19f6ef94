/**
 * What each rule met: packets and bytes, by the rule's number. A number stays a
 * rule's own as long as the rule does, so its count outlives every publication.
 */
import { MAX_RULE_NUMBERS, RULE_COUNTER_SIZE, RULES } from "../memory";

const BYTES: usize = 8;

export function countRule(number: u32, bytes: u32): void {
  const counter = RULES + (number & (MAX_RULE_NUMBERS - 1)) * RULE_COUNTER_SIZE;
  store<u64>(counter, load<u64>(counter) + 1);
  store<u64>(counter, load<u64>(counter, BYTES) + bytes, BYTES);
}
