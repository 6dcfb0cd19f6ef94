/** The bits of rules in a set. They stand in the order of the search, so the first bit set decides. */
import type { AclRule } from "./acl-rule.js";
import { MAX_RULES } from "./sets.js";

/** A rule and its bit. */
export interface PlacedRule {
  readonly rule: AclRule;
  readonly bit: number;
}

/** Earlier rules keep their bits, and new ones get bits between. If none are left, all get new ones. */
export function place(
  list: readonly AclRule[],
  before: readonly PlacedRule[],
): readonly PlacedRule[] {
  const known = new Map(before.map(({ rule, bit }) => [rule, bit]));
  const placed: PlacedRule[] = [];
  let last = -1;
  for (let i = 0; i < list.length; ) {
    let end = i;
    while (end < list.length && !known.has(list[end]!)) end++;
    const next = end < list.length ? known.get(list[end]!)! : MAX_RULES;
    const step = (next - last) / (end - i + 1);
    if (next <= last || (end > i && step < 1)) return spread(list);
    for (let k = i; k < end; k++) {
      placed.push({ rule: list[k]!, bit: last + Math.floor(step * (k - i + 1)) });
    }
    if (end < list.length) placed.push({ rule: list[end]!, bit: next });
    last = next;
    i = end + 1;
  }
  return placed;
}

const spread = (list: readonly AclRule[]): PlacedRule[] =>
  list.map((rule, i) => ({ rule, bit: Math.floor((i * MAX_RULES) / list.length) }));

/** The rules that are removed or added, with their bits. */
export function differences(before: readonly PlacedRule[], after: readonly PlacedRule[]) {
  const removed = new Map(before.map((placed) => [placed.rule, placed]));
  const added: PlacedRule[] = [];
  for (const placed of after) {
    if (removed.get(placed.rule)?.bit === placed.bit) removed.delete(placed.rule);
    else added.push(placed);
  }
  return { removed: [...removed.values()], added };
}
