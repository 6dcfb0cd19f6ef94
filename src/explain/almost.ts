/** For a packet that met no rule: the rule that would have allowed it but for one field. */
import type { Core } from "../core/instance.js";
import type { MatchedRule } from "./trace.js";

/** By the core's numbers. */
export const FIELDS = ["applies", "peer", "protocol", "source ports", "ports"] as const;
export type Field = (typeof FIELDS)[number];

/** What a person is most likely to have got wrong comes first. */
const LIKELY: readonly Field[] = ["ports", "source ports", "protocol", "peer", "applies"];

const ACTION_SHIFT = 24;
const ALLOW = 1;

/**
 * The first rule before the one that denied which every field but one would let
 * match; nothing when each fails in two. It is asked of tables that are searched
 * from copy 0, as those of a twin are.
 */
export function almost(
  { exports, layout }: Core,
  denied: MatchedRule,
): { readonly number: number; readonly field: Field } | undefined {
  const acl = layout.TABLES + layout.ACL_AT;
  const { direction, near, far, protocol, sourcePort, destinationPort } = denied;
  const header = [near, far, protocol, sourcePort, destinationPort] as const;
  for (const field of LIKELY) {
    const left = FIELDS.indexOf(field);
    for (let from = 0; ; from++) {
      from = exports.findRuleBut(left, acl, direction, ...header, from);
      if (from >= denied.bit) break;
      const rule = exports.ruleAt(acl, direction, from) >>> 0;
      if (rule >>> ACTION_SHIFT === ALLOW) return { number: rule & 0xffffff, field };
    }
  }
  return undefined;
}
