/** The place in the document that decided or counted a packet. */

import type { Policy } from "./document.js";
import type { Action, Direction } from "./rule.js";

export interface Place {
  readonly direction: Direction;
  readonly tier: string;
  /** A rule, or the end of a tier: the default for packets that match none of its rules. */
  readonly kind: "rule" | "tier default" | "shadow default";
  readonly action: Action;
  /** A shadow policy counts what it would decide, and decides nothing. */
  readonly isShadow: boolean;
  /** Set for a rule. */
  readonly policy?: string;
  readonly index?: number;
  readonly line?: number;
}

export function placeOfRule(direction: Direction, policy: Policy, index: number): Place {
  const { action, line: below } = policy[direction]![index]!;
  const { tier, name, isShadow } = policy;
  const line = policy.line + below;
  return { direction, tier, kind: "rule", action, isShadow, policy: name, index, line };
}

export const placeOfDefault = (
  direction: Direction,
  tier: string,
  kind: "tier default" | "shadow default",
): Place => ({ direction, tier, kind, action: "deny", isShadow: kind === "shadow default" });

/** `web ingress 0`, or `end of default ingress`: the name in expectations and counters. */
export function nameOf({ direction, tier, kind, policy, index }: Place): string {
  if (kind === "rule") return `${policy} ${direction} ${index}`;
  return `${kind === "shadow default" ? "shadow " : ""}end of ${tier} ${direction}`;
}

/** `web ingress 0: allow (tier default, line 5)` */
export function inWords(place: Place): string {
  const line = place.line === undefined ? "" : `, line ${place.line}`;
  return `${nameOf(place)}: ${place.action}${place.isShadow ? " (shadow)" : ""} (tier ${place.tier}${line})`;
}
