/**
 * Turns the document into the ordered rules of this node's core: those that can match packets of
 * its own endpoints.
 */
import { overlaps, type Prefix } from "../address.js";
import type { AclEntry, AclRule, AclRules } from "../compile/acl-rule.js";
import type { Policy, PolicyDocument, Tier } from "./document.js";
import { fieldsOf } from "./fields.js";
import { type Place, placeOfDefault, placeOfRule } from "./place.js";
import { distinct, type Members, Resolver, samePrefixes } from "./resolver.js";
import type { Direction, Rule } from "./rule.js";
import {
  type Numbered,
  type NumberedRules,
  partsWith,
  RuleNumbers,
  type RuleNumbersByPart,
} from "./rule-numbers.js";

export type { Place } from "./place.js";

export interface PolicyRules {
  /** For the core: egress, ingress. */
  readonly rules: AclRules;
  /** By rule number. A rule that no packet can match now has a number too. */
  readonly places: ReadonlyMap<number, Place>;
  /** Numbers that belonged to another rule before, or to none: their counters start at 0. */
  readonly fresh: readonly number[];
  /** The rules of each part and their inputs, reused by the next call. */
  readonly parts: ReadonlyMap<string, NumberedRules>;
  readonly resolver: Resolver;
}

export const NO_RULES: PolicyRules = {
  rules: [[], []],
  places: new Map(),
  fresh: [],
  parts: new Map(),
  resolver: new Resolver(new Map(), new Map()),
};

/** No rules but their numbers, to be given to `rulesOf` as those in force. */
export const rulesWith = (numbers: RuleNumbersByPart): PolicyRules => ({
  ...NO_RULES,
  parts: partsWith(numbers),
});

/**
 * @param own the leases of this node
 * @param before the rules in force: a rule that does not change keeps its object and its number
 * @throws WeftError POLICY_FULL
 */
export function rulesOf(
  document: PolicyDocument,
  members: Members,
  own: readonly Prefix[],
  before: PolicyRules = NO_RULES,
): PolicyRules {
  const resolver = new Resolver(document.groups, members);
  const numbers = new RuleNumbers(before);
  const isSameGround = resolver.agrees(before.resolver);
  const listOf = (direction: Direction) => {
    const list = new RuleList();
    for (const tier of document.tiers) {
      new TierRules({ tier, direction, own, resolver, numbers, isSameGround }).addTo(list);
    }
    return list.entries;
  };
  const rules: AclRules = [listOf("egress"), listOf("ingress")];
  const { places, fresh, parts } = numbers;
  return { rules, places, fresh, parts, resolver };
}

/** A policy, and the prefixes of this node that it protects. */
interface PolicyForNode {
  readonly policy: Policy;
  readonly near: readonly Prefix[];
}

interface TierParts {
  readonly tier: Tier;
  readonly direction: Direction;
  readonly own: readonly Prefix[];
  readonly resolver: Resolver;
  readonly numbers: RuleNumbers;
  readonly isSameGround: boolean;
}

/**
 * The rules of a tier in one direction. A packet that matched a rule of a shadow policy continues in
 * the rest, as if there were no shadow policies.
 *
 *   policies, in order     those in shadow mode count
 *   shadow default         counts packets that only shadow policies would deny
 *   tier default           denies the remaining packets
 *   rest: the enforced policies behind the first in shadow mode, again
 *   tier default, again
 *
 * A packet that falls through to the rest is protected by no enforced policy, so it matches nothing there.
 */
class TierRules {
  readonly #tier: string;
  readonly #direction: Direction;
  readonly #resolver: Resolver;
  readonly #numbers: RuleNumbers;
  /** Whether selectors mean the same as before. */
  readonly #isSameGround: boolean;
  readonly #policies: readonly PolicyForNode[];
  /** Where the next tier begins. */
  readonly #end = new Label();

  constructor({ tier, direction, own, resolver, numbers, isSameGround }: TierParts) {
    this.#tier = tier.name;
    this.#isSameGround = isSameGround;
    this.#direction = direction;
    this.#resolver = resolver;
    this.#numbers = numbers;
    const concerns = (prefix: Prefix) => own.some((lease) => overlaps(lease, prefix));
    this.#policies = tier.policies
      .filter((policy) => policy[direction])
      .map((policy) => ({ policy, near: resolver.resolve(policy.applies).filter(concerns) }))
      .filter(({ near }) => near.length > 0);
  }

  addTo(list: RuleList): void {
    const shadows = this.#policies.filter(({ policy }) => policy.isShadow);
    const enforced = this.#policies.filter(({ policy }) => !policy.isShadow);
    const behind = new Map(shadows.map((one) => [one, new Label()]));
    for (const one of this.#policies) this.#addPolicy(list, one, behind.get(one) ?? this.#end);
    if (shadows.length > 0) this.#addDefault(list, "shadow default", shadows, enforced);
    if (enforced.length > 0) this.#addDefault(list, "tier default", enforced);
    if (shadows.length > 0) this.#addRest(list, behind, enforced);
    list.place(this.#end);
  }

  #addRest(
    list: RuleList,
    behind: ReadonlyMap<PolicyForNode, Label>,
    enforced: readonly PolicyForNode[],
  ) {
    const first = this.#policies.findIndex((one) => behind.has(one));
    for (const one of this.#policies.slice(first)) {
      const mark = behind.get(one);
      if (mark) list.place(mark);
      else this.#addPolicy(list, one, this.#end, AGAIN);
    }
    if (enforced.length > 0) this.#addDefault(list, "tier default", enforced, [], AGAIN);
  }

  #addPolicy(list: RuleList, { policy, near }: PolicyForNode, leave: Label, again = ""): void {
    const { name, isShadow } = policy;
    const key = `${this.#direction} ${this.#tier} ${name} ${isShadow}`;
    const rules = policy[this.#direction]!;
    const part = this.#asItWas(key + again, rules, near) ?? this.#partOf(policy, near, key, again);
    this.#numbers.parts.set(key + again, part);
    [...part.all.values()].forEach(({ number, made }, i) => {
      this.#numbers.places.set(number, placeOfRule(this.#direction, policy, i));
      if (made) list.add(made, rules[i]!.action === "log" ? undefined : leave);
    });
  }

  #asItWas(
    key: string,
    rules: readonly Rule[],
    near: readonly Prefix[],
  ): NumberedRules | undefined {
    const before = this.#isSameGround ? this.#numbers.before(key) : undefined;
    if (before?.from?.rules !== rules || !samePrefixes(before.from.near, near)) return undefined;
    this.#resolver.count(before.from.addresses);
    return before;
  }

  #partOf(policy: Policy, near: readonly Prefix[], key: string, again: string): NumberedRules {
    const { isShadow, [this.#direction]: rules = [] } = policy;
    const met = this.#resolver.addressCount;
    this.#resolver.count(rules.length * near.length);
    const all = new Map<string, Numbered>();
    const times = new Map<string, number>();
    for (const rule of rules) {
      const { action, words } = rule;
      const time = (times.get(words) ?? 0) + 1;
      times.set(words, time);
      const nth = `${time} ${words}`;
      const number = this.#numbers.numberOf(key, nth);
      const decides = !isShadow && (action === "allow" || action === "deny");
      const made = this.#make(rule, near, decides ? action : "count", number);
      all.set(nth, { number, made: made && this.#numbers.asBefore(key + again, nth, made) });
    }
    return { all, from: { rules, near, addresses: this.#resolver.addressCount - met } };
  }

  /** Undefined when no packet can match: a selector without addresses now does not mean all addresses. */
  #make(
    rule: Rule,
    near: readonly Prefix[],
    action: AclRule["action"],
    number: number,
  ): AclRule | undefined {
    const fields = fieldsOf(rule);
    const inside = rule.peers && this.#resolver.resolve(rule.peers);
    if (!fields || inside?.length === 0) return undefined;
    const far = { in: inside ?? [], not: this.#resolver.resolve(rule.notPeers) };
    return { number, near: { in: near, not: [] }, far, ...fields, action };
  }

  #addDefault(
    list: RuleList,
    kind: "tier default" | "shadow default",
    of: readonly PolicyForNode[],
    but: readonly PolicyForNode[] = [],
    again = "",
  ): void {
    const key = `${this.#direction} ${this.#tier} ${kind}`;
    const place = placeOfDefault(this.#direction, this.#tier, kind);
    const number = this.#numbers.numberOf(key, END);
    const made = {
      number,
      near: { in: protectedBy(of), not: protectedBy(but) },
      ...ANY,
      action: place.isShadow ? "count" : "deny",
    } as const;
    const rule = this.#numbers.asBefore(key + again, END, made);
    this.#numbers.parts.set(key + again, { all: new Map([[END, { number, made: rule }]]) });
    this.#numbers.places.set(number, place);
    list.add(rule);
  }
}

/** Key of the only rule at the end of a tier. */
const END = "";

/** Suffix for the rules in the rest of a tier. */
const AGAIN = " again";

const ANY = { far: { in: [], not: [] }, protocols: [], sourcePorts: [], destinationPorts: [] };

const protectedBy = (some: readonly PolicyForNode[]): readonly Prefix[] =>
  distinct(some.flatMap(({ near }) => near));

/** A position in the list that is known later. */
class Label {
  at = 0;
}

class RuleList {
  readonly #all: { readonly rule: AclRule; readonly next: Label | undefined }[] = [];

  /** @param next where the search continues after a rule that decides nothing; default: the rule below */
  add(rule: AclRule, next?: Label): void {
    this.#all.push({ rule, next });
  }

  place(mark: Label): void {
    mark.at = this.#all.length;
  }

  get entries(): AclEntry[] {
    return this.#all.map(({ rule, next }, i) => ({ rule, next: next?.at ?? i + 1 }));
  }
}
