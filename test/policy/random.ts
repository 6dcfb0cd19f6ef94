/** Documents, members and packets with few different values, so that they meet often. */
import { type Address, parseAddress, parsePrefix } from "../../src/address.js";
import type { PolicyPacket } from "../../src/policy/evaluator.js";
import type { Members } from "../../src/policy/resolver.js";
import { random } from "../packets.js";

const ADDRESSES = [
  "10.1.0.1",
  "10.1.0.2",
  "10.1.1.1",
  "10.2.0.1",
  "10.3.0.1",
  "fd00:1::1",
  "fd00:2::1",
];
const PREFIXES = ["10.0.0.0/8", "10.1.0.0/24", "10.1.0.0/23", "10.2.0.1/32", "fd00:1::/64", "::/0"];
const NODES = ["n1", "n2", "n3", "nobody"];
const LEASES = [
  "10.1.0.0/24",
  "10.1.1.0/24",
  "10.2.0.0/24",
  "10.3.0.0/24",
  "fd00:1::/64",
  "fd00:2::/64",
];
const GROUPS = ["a", "b"];
const TIERS = ["default", "t1", "t2"];
const PROTOCOLS = ["tcp", "udp", "icmp", "icmpv6", 47];
const PORTS = [80, 81, 443, "79-80", "400-500"];
const ICMPS = [{ type: 8 }, { type: 8, code: 0 }, { type: 3, code: 1 }];

/** A document as plain values, to be written down and changed. */
export interface Plain {
  groups: Record<string, unknown[]>;
  tiers: { name: string; order: number }[];
  policies: Record<string, unknown>[];
}

export class Maker {
  readonly #rnd: () => number;

  constructor(seed: number) {
    this.#rnd = random(seed);
  }

  below(n: number): number {
    return Math.floor(this.#rnd() * n);
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }

  #maybe<T>(chance: number, make: () => T): T | undefined {
    return this.#rnd() < chance ? make() : undefined;
  }

  #some<T>(least: number, most: number, make: () => T): T[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make);
  }

  member(): string {
    return this.pick([this.pick(ADDRESSES), this.pick(PREFIXES), `node:${this.pick(NODES)}`]);
  }

  #selectors(): string[] {
    return this.#some(1, 2, () =>
      this.#rnd() < 0.25 ? `group:${this.pick(GROUPS)}` : this.member(),
    );
  }

  rule(direction: "ingress" | "egress"): Record<string, unknown> {
    const protocol = this.#maybe(0.6, () => this.pick(PROTOCOLS));
    const hasPorts = protocol === "tcp" || protocol === "udp";
    const isIcmp = protocol === "icmp" || protocol === "icmpv6";
    const ports = () => this.#some(1, 2, () => this.pick(PORTS));
    const [peers, notPeers] = direction === "egress" ? ["to", "notTo"] : ["from", "notFrom"];
    return {
      action: this.pick(["allow", "deny", "pass", "log"]),
      protocol,
      notProtocol: this.#maybe(0.15, () => this.pick(PROTOCOLS)),
      [peers!]: this.#maybe(0.5, () => this.#selectors()),
      [notPeers!]: this.#maybe(0.2, () => this.#selectors()),
      ports: hasPorts ? this.#maybe(0.5, ports) : undefined,
      notPorts: hasPorts ? this.#maybe(0.2, ports) : undefined,
      sourcePorts: hasPorts ? this.#maybe(0.2, ports) : undefined,
      notSourcePorts: hasPorts ? this.#maybe(0.1, ports) : undefined,
      icmp: isIcmp ? this.#maybe(0.5, () => this.pick(ICMPS)) : undefined,
      notIcmp: isIcmp ? this.#maybe(0.2, () => this.pick(ICMPS)) : undefined,
    };
  }

  policy(name: string): Record<string, unknown> {
    const rules = (way: "ingress" | "egress") => this.#some(0, 4, () => this.rule(way));
    return {
      name,
      tier: this.#maybe(0.7, () => this.pick(TIERS)),
      order: this.#maybe(0.7, () => this.below(3)),
      mode: this.#maybe(0.5, () => this.pick(["shadow", "enforce"])),
      applies: this.#selectors(),
      ingress: rules("ingress"),
      egress: this.#maybe(0.7, () => rules("egress")),
    };
  }

  document(): Plain {
    return {
      groups: Object.fromEntries(
        GROUPS.map((name) => [name, this.#some(0, 3, () => this.member())]),
      ),
      tiers: TIERS.slice(1).map((name) => ({ name, order: this.pick([5, 5, 1000, 2000]) })),
      policies: Array.from({ length: this.below(7) }, (_, i) => this.policy(`p${i}`)),
    };
  }

  /** A rule or a policy gone, come or changed, or a group. */
  change(document: Plain): Plain {
    const next = structuredClone(document);
    const policy = next.policies[this.below(next.policies.length)];
    if (!policy || this.#rnd() < 0.1) return this.document();
    const way = this.pick(["ingress", "egress"] as const);
    const rules = (policy[way] ?? []) as unknown[];
    const at = this.below(rules.length + 1);
    switch (this.below(4)) {
      case 0:
        next.groups[this.pick(GROUPS)] = this.#some(0, 3, () => this.member());
        break;
      case 1:
        policy.mode = this.pick(["shadow", "enforce"]);
        break;
      default:
        rules.splice(at, this.below(2), ...this.#some(0, 2, () => this.rule(way)));
        policy[way] = rules;
    }
    return next;
  }

  /** Who holds which leases. */
  members(): Members {
    const leases = LEASES.map(parsePrefix);
    const holders = leases.map(() => this.pick(["n1", "n1", "n2", "n3"]));
    return new Map(
      ["n1", "n2", "n3"].map((name) => [name, leases.filter((_, i) => holders[i] === name)]),
    );
  }

  packet(): PolicyPacket {
    const family = this.pick([4, 4, 6]);
    const address = (): Address =>
      parseAddress(this.pick(ADDRESSES.filter((one) => one.includes(":") === (family === 6))));
    const protocol = this.pick([1, 6, 6, 17, 58, 47]);
    const isIcmp = protocol === 1 || protocol === 58;
    return {
      source: address(),
      destination: address(),
      protocol,
      sourcePort: isIcmp ? 0 : this.pick([79, 80, 443, 40_000]),
      destinationPort: isIcmp
        ? this.pick([0x800, 0x801, 0x301])
        : this.pick([79, 80, 81, 443, 401]),
    };
  }
}
