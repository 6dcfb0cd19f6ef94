/**
 * Evaluates the document for a packet as it is written: tier after tier, policy after policy, rule
 * after rule. It is the slow, obvious twin of the compiled rules, and tests compare the two.
 */
import { type Address, contains } from "../address.js";
import type { PortRange } from "../compile/acl-rule.js";
import type { Policy, PolicyDocument, Tier } from "./document.js";
import { type Place, placeOfDefault, placeOfRule } from "./place.js";
import type { Members } from "./resolver.js";
import type { Direction, Rule } from "./rule.js";
import type { Selector } from "./selector.js";

export interface PolicyPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  /** For ICMP, type and code: `type << 8 | code`. */
  readonly destinationPort: number;
}

export interface PolicyDecision {
  readonly action: "allow" | "deny";
  /** The rule or tier end that decided. Absent: no policy applies here, or none of them denies. */
  readonly place?: Place;
  /** The rules and tier ends that only counted the packet. */
  readonly counted: readonly Place[];
}

export class PolicyEvaluator {
  readonly #document: PolicyDocument;
  readonly #members: Members;

  constructor(document: PolicyDocument, members: Members) {
    this.#document = document;
    this.#members = members;
  }

  /** One decision for each end of the packet that is in the overlay. A "deny" ends the list. */
  evaluate(packet: PolicyPacket): PolicyDecision[] {
    const decisions: PolicyDecision[] = [];
    if (this.#isHeld(packet.source)) decisions.push(this.evaluateAt("egress", packet));
    if (decisions[0]?.action !== "deny" && this.#isHeld(packet.destination)) {
      decisions.push(this.evaluateAt("ingress", packet));
    }
    return decisions;
  }

  evaluateAt(direction: Direction, packet: PolicyPacket): PolicyDecision {
    const counted: Place[] = [];
    for (const tier of this.#document.tiers) {
      const place = this.#decide(tier, direction, packet, counted);
      if (!place || place.action === "pass") continue;
      return { action: place.action === "allow" ? "allow" : "deny", place, counted };
    }
    return { action: "allow", counted };
  }

  /** The rule that decides, or the end of the tier. */
  #decide(
    tier: Tier,
    direction: Direction,
    packet: PolicyPacket,
    counted: Place[],
  ): Place | undefined {
    const near = direction === "egress" ? packet.source : packet.destination;
    const policies = tier.policies.filter(
      (policy) => policy[direction] && this.#isIn(policy.applies, near),
    );
    let isLeftToShadows = true;
    for (const policy of policies) {
      if (policy.isShadow && !isLeftToShadows) continue;
      const place = this.#firstMet(policy, direction, packet, counted);
      if (!place) continue;
      if (place.action === "pass" || policy.isShadow) counted.push(place);
      if (!policy.isShadow) return place;
      isLeftToShadows = false;
    }
    if (policies.some(({ isShadow }) => !isShadow)) {
      return placeOfDefault(direction, tier.name, "tier default");
    }
    if (policies.length > 0 && isLeftToShadows) {
      counted.push(placeOfDefault(direction, tier.name, "shadow default"));
    }
    return undefined;
  }

  /** The first rule that matches the packet, except rules that only log. */
  #firstMet(
    policy: Policy,
    direction: Direction,
    packet: PolicyPacket,
    counted: Place[],
  ): Place | undefined {
    for (const [index, rule] of policy[direction]!.entries()) {
      if (!this.#meets(rule, direction, packet)) continue;
      const place = placeOfRule(direction, policy, index);
      if (rule.action !== "log") return place;
      counted.push(place);
    }
    return undefined;
  }

  #meets(rule: Rule, direction: Direction, packet: PolicyPacket): boolean {
    const { source, destination, protocol, sourcePort, destinationPort } = packet;
    const far = direction === "egress" ? destination : source;
    return (
      (rule.protocol === undefined || rule.protocol === protocol) &&
      rule.notProtocol !== protocol &&
      (rule.peers === undefined || this.#isIn(rule.peers, far)) &&
      !this.#isIn(rule.notPeers, far) &&
      (rule.sourcePorts === undefined || isWithin(rule.sourcePorts, sourcePort)) &&
      !isWithin(rule.notSourcePorts, sourcePort) &&
      (rule.ports === undefined || isWithin(rule.ports, destinationPort)) &&
      !isWithin(rule.notPorts, destinationPort)
    );
  }

  #isIn(selectors: readonly Selector[], address: Address): boolean {
    return selectors.some((selector) => {
      if (selector.kind === "prefix") return contains(selector.prefix, address);
      if (selector.kind === "group") {
        return this.#isIn(this.#document.groups.get(selector.name)!, address);
      }
      return this.#members.get(selector.name)?.some((lease) => contains(lease, address)) ?? false;
    });
  }

  #isHeld(address: Address): boolean {
    return [...this.#members.values()].flat().some((lease) => contains(lease, address));
  }
}

const isWithin = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.some(({ from, to }) => from <= port && port <= to);
