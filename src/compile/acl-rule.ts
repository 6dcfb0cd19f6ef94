/** A rule of an access list, and the lists of a node in the order of their search. */
import type { Prefix } from "../address.js";

/** Both bounds are included. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** An address in one of `in`, or any if it is empty, and in none of `not`. */
export interface Addresses {
  readonly in: readonly Prefix[];
  readonly not: readonly Prefix[];
}

/** A packet matches a rule when it matches all fields. */
export interface AclRule {
  /** Number of its counter, unchanged as long as the rule is. From 1 up to MAX_RULE_NUMBERS - 1. */
  readonly number: number;
  /** Addresses of the protected end: the source of egress rules, the destination of ingress rules. */
  readonly near: Addresses;
  readonly far: Addresses;
  /** Any protocol if empty. */
  readonly protocols: readonly number[];
  /** Any port if empty. For ICMP, `type << 8 | code` takes the place of the destination port. */
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  /** `count` decides nothing: the search continues. */
  readonly action: "allow" | "deny" | "count";
}

/** A rule in the order of the search. Each rule occurs once. */
export interface AclEntry {
  readonly rule: AclRule;
  /** Index at which the search continues after a rule that decides nothing; behind this one. */
  readonly next: number;
}

/** Rules for packets out, and for packets in. */
export type AclRules = readonly [readonly AclEntry[], readonly AclEntry[]];

/** The ends of a packet, and its ports: the fields that both directions search one by one. */
export const ENDS = ["near", "far"] as const;
export const PORT_FIELDS = ["sourcePorts", "destinationPorts"] as const;
export type PortField = (typeof PORT_FIELDS)[number];

/** Whether a field matches any value. */
export const isAny = (all: readonly unknown[]): boolean => all.length === 0;

/** Sorted, with touching ranges merged. */
export function joined(ranges: readonly PortRange[]): readonly PortRange[] {
  if (ranges.length < 2) return ranges;
  const out: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    if (last && range.from <= last.to + 1) {
      out[out.length - 1] = { from: last.from, to: Math.max(last.to, range.to) };
    } else out.push(range);
  }
  return out;
}
