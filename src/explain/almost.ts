/** For a packet that matched no rule: the rule that would have allowed it but for one field. */
import type { Core } from "../core/instance.js";
import type { MatchedRule } from "./trace.js";

/** Indexed by the core's numbers of fields. */
export const FIELDS = ["applies", "peer", "protocol", "source ports", "ports"] as const;
export type Field = (typeof FIELDS)[number];

/** The fields in the order in which mistakes in them are likely. */
const LIKELY: readonly Field[] = ["ports", "source ports", "protocol", "peer", "applies"];

const ACTION_SHIFT = 24;
const ALLOW = 1;

/**
 * Returns the first rule before the one that denied in which all fields but one match; undefined when
 * each fails in two or more. The tables must be searched from copy 0, as those of a core copy are.
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
