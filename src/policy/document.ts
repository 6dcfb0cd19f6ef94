/**
 * The policy document: who may talk to whom, as a person wrote it, checked
 * whole. docs/policy.md tells what each word means.
 */
import { type Prefix, printable } from "../address.js";
import type { Range } from "../compile/acl.js";
import { asJson, type Entry, readDocument } from "../config/entry.js";
import { nodeName, wholeNumber } from "../config/read.js";
import { WeftError } from "../error.js";
import {
  addresses,
  filled,
  ICMPS,
  protocolNumber,
  readIcmp,
  readPorts,
  WITH_PORTS,
} from "./read.js";

export const MAX_DOCUMENT = 4 * 1024 * 1024;
export const MAX_GROUPS = 1024;
export const MAX_TIERS = 64;
export const MAX_POLICIES = 4096;
/** In all policies together. The core has numbers for those that go and those that come. */
export const MAX_DOCUMENT_RULES = 32_000;
/** Addresses, nodes and groups in one list. */
export const MAX_SELECTORS = 16_384;
const MAX_ORDER = 1_000_000;

export const DEFAULT_TIER = { name: "default", order: 1000 } as const;

export interface PolicyDocument {
  /** Of the timeouts of flows. */
  readonly profile: "rfc" | "linux";
  readonly groups: ReadonlyMap<string, readonly Selector[]>;
  /** In the order in which they judge, each with its policies in theirs. */
  readonly tiers: readonly Tier[];
}

export interface Tier {
  readonly name: string;
  readonly order: number;
  readonly policies: readonly Policy[];
}

export interface Policy {
  readonly name: string;
  readonly tier: string;
  readonly order: number;
  readonly isShadow: boolean;
  /** The endpoints it protects. */
  readonly applies: readonly Selector[];
  /** Not there: it does not police this direction. */
  readonly egress?: readonly Rule[];
  readonly ingress?: readonly Rule[];
}

/** `egress` is judged where a packet leaves, `ingress` where it arrives. */
export const DIRECTIONS = ["egress", "ingress"] as const;
export type Direction = (typeof DIRECTIONS)[number];

export type Selector =
  | { readonly kind: "prefix"; readonly prefix: Prefix }
  | { readonly kind: "node" | "group"; readonly name: string };

const ACTIONS = ["allow", "deny", "pass", "log"] as const;
export type Action = (typeof ACTIONS)[number];

/** A packet meets a rule when it fits all that the rule says. */
export interface Rule {
  readonly line: number;
  /** The rule as it was written, without where it stands. */
  readonly words: string;
  readonly action: Action;
  readonly protocol?: number;
  readonly notProtocol?: number;
  /** The other end: `to` of egress, `from` of ingress. */
  readonly peers?: readonly Selector[];
  readonly notPeers: readonly Selector[];
  readonly sourcePorts?: readonly Range[];
  readonly notSourcePorts: readonly Range[];
  /** Of the destination. Type and code of ICMP, `type << 8 | code`, stand in their place. */
  readonly ports?: readonly Range[];
  readonly notPorts: readonly Range[];
}

/** What a document of the other kind has. */
const OF_NAT = Object.fromEntries(
  ["masquerade", "snat", "ports", "netmap", "services"].map((key) => [
    key,
    [
      `"${key}" translates addresses, which is not policy`,
      "put it in a document of its own",
    ] as const,
  ]),
);

const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/**
 * @param text YAML or JSON
 * @param file how it is called in messages
 * @throws WeftError POLICY, naming file, line and path
 */
export function readPolicy(text: string, file: string): PolicyDocument {
  if (text.length > MAX_DOCUMENT) {
    throw new WeftError(
      "POLICY",
      `${printable(file)}: ${text.length} characters are more than ${MAX_DOCUMENT}`,
      "let one rule name more addresses and ports",
    );
  }
  const root = readDocument(text, file, "POLICY");
  const { optional, required } = root.fields(["profile", "groups", "tiers", "policies"], OF_NAT);
  const groups = readGroups(optional("groups"));
  const tiers = readTiers(optional("tiers"));
  const policies = readPolicies(required("policies"), { groups, tiers });
  return {
    profile: optional("profile")?.word("rfc", "linux") ?? "rfc",
    groups,
    tiers: [...tiers]
      .map(([name, order]) => ({ name, order, policies: policies.filter((p) => p.tier === name) }))
      .sort(inOrder)
      .map((tier) => ({ ...tier, policies: tier.policies.sort(inOrder) })),
  };
}

/**
 * The document as JSON, every part on the line on which it stood: it means the same, its mistakes
 * and rules have the same lines, and it is read many times faster.
 */
export const policyAsJson = (text: string, file: string): string => asJson(text, file, "POLICY");

/** What policies can refer to. */
interface Names {
  readonly groups: ReadonlyMap<string, unknown>;
  readonly tiers: ReadonlyMap<string, unknown>;
}

type Ordered = { readonly name: string; readonly order: number };
const inOrder = (a: Ordered, b: Ordered): number =>
  a.order - b.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function readGroups(entry: Entry | undefined): ReadonlyMap<string, readonly Selector[]> {
  const groups = new Map<string, readonly Selector[]>();
  for (const [name, members] of entry?.named(MAX_GROUPS) ?? []) {
    checkName(name, members);
    groups.set(name, members.list(MAX_SELECTORS).map(readMember));
  }
  return groups;
}

/** Order by name. */
function readTiers(entry: Entry | undefined): ReadonlyMap<string, number> {
  const tiers = new Map<string, number>([[DEFAULT_TIER.name, DEFAULT_TIER.order]]);
  for (const tier of entry?.list(MAX_TIERS) ?? []) {
    const { required } = tier.fields(["name", "order"]);
    const name = readName(required("name"));
    if (name === DEFAULT_TIER.name) {
      throw tier.bad(
        `the tier "${name}" is always there, with order ${DEFAULT_TIER.order}`,
        "leave it out, and give the others an order before or behind it",
      );
    }
    if (tiers.has(name)) throw tier.bad(`there are two tiers "${name}"`, "give them two names");
    tiers.set(name, readOrder(required("order")));
  }
  return tiers;
}

function readPolicies(entry: Entry, names: Names): Policy[] {
  const seen = new Set<string>();
  let rules = 0;
  return entry.list(MAX_POLICIES).map((one) => {
    const policy = readOnePolicy(one, names);
    if (seen.has(policy.name)) {
      throw one.bad(`there are two policies "${policy.name}"`, "give them two names");
    }
    seen.add(policy.name);
    rules += (policy.egress?.length ?? 0) + (policy.ingress?.length ?? 0);
    if (rules <= MAX_DOCUMENT_RULES) return policy;
    throw one.bad(
      `with this policy there are ${rules} rules, more than ${MAX_DOCUMENT_RULES}`,
      "let one rule name more addresses and ports",
    );
  });
}

function readOnePolicy(entry: Entry, names: Names): Policy {
  const { optional, required } = entry.fields([
    "name",
    "tier",
    "order",
    "applies",
    "mode",
    ...DIRECTIONS,
  ]);
  const egress = optional("egress");
  const ingress = optional("ingress");
  if (!egress && !ingress) {
    throw entry.bad("this policy has neither ingress nor egress", "say which rules it has");
  }
  const order = optional("order");
  return {
    name: readName(required("name")),
    tier: readTier(optional("tier"), names),
    order: order ? readOrder(order) : DEFAULT_TIER.order,
    isShadow: optional("mode")?.word("enforce", "shadow") === "shadow",
    applies: readSelectors(required("applies"), names),
    ...(egress && { egress: readRules(egress, "egress", names) }),
    ...(ingress && { ingress: readRules(ingress, "ingress", names) }),
  };
}

function readTier(entry: Entry | undefined, { tiers }: Names): string {
  const name = entry?.read(String) ?? DEFAULT_TIER.name;
  if (tiers.has(name)) return name;
  throw entry!.bad(
    `there is no tier "${printable(name)}"`,
    `add it to tiers, or use one of: ${[...tiers.keys()].join(", ")}`,
  );
}

/** A policy without rules is one that lets nothing pass. */
const readRules = (entry: Entry, direction: Direction, names: Names): Rule[] =>
  entry.list(MAX_DOCUMENT_RULES).map((rule) => readRule(rule, direction, names));

const ENDS = {
  egress: { peers: "to", notPeers: "notTo" },
  ingress: { peers: "from", notPeers: "notFrom" },
} as const;

/** What a rule about packets in the other direction would say. */
const WRONG_END = {
  egress: endElsewhere("egress", "from", "to"),
  ingress: endElsewhere("ingress", "to", "from"),
} as const;

function endElsewhere(direction: Direction, wrong: string, right: string) {
  const say = (key: string, instead: string) =>
    [
      `"${key}" has no meaning in ${direction}: there, the policy's own endpoints stand at that end`,
      `write "${instead}" for the other end`,
    ] as const;
  const not = (key: string) => `not${key[0]!.toUpperCase()}${key.slice(1)}`;
  return { [wrong]: say(wrong, right), [not(wrong)]: say(not(wrong), not(right)) };
}

function readRule(entry: Entry, direction: Direction, names: Names): Rule {
  const { peers, notPeers } = ENDS[direction];
  const fields = [
    "action",
    "protocol",
    "notProtocol",
    "sourcePorts",
    "notSourcePorts",
    "ports",
    "notPorts",
    "icmp",
    "notIcmp",
    peers,
    notPeers,
  ] as const;
  const { optional, required } = entry.fields(fields, WRONG_END[direction]);
  const protocol = optional("protocol")?.read(protocolNumber);
  const notProtocol = optional("notProtocol")?.read(protocolNumber);
  const portsIn = (key: "ports" | "notPorts" | "sourcePorts" | "notSourcePorts") => {
    const ports = optional(key);
    if (ports) needs(ports, protocol, WITH_PORTS, "tcp, udp or sctp");
    return ports && readPorts(ports);
  };
  const icmpIn = (key: "icmp" | "notIcmp") => {
    const icmp = optional(key);
    if (icmp) needs(icmp, protocol, ICMPS, "icmp or icmpv6");
    return icmp && readIcmp(icmp);
  };
  const far = optional(peers);
  const sourcePorts = portsIn("sourcePorts");
  const ports = portsIn("ports") ?? icmpIn("icmp");
  return {
    line: entry.line,
    words: entry.words,
    action: required("action").word(...ACTIONS),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(far && { peers: readSelectors(far, names) }),
    notPeers: optional(notPeers) ? readSelectors(required(notPeers), names) : [],
    ...(sourcePorts && { sourcePorts }),
    notSourcePorts: portsIn("notSourcePorts") ?? [],
    ...(ports && { ports }),
    notPorts: portsIn("notPorts") ?? icmpIn("notIcmp") ?? [],
  };
}

function needs(
  entry: Entry,
  protocol: number | undefined,
  known: readonly number[],
  which: string,
): void {
  if (protocol !== undefined && known.includes(protocol)) return;
  throw entry.bad("this rule's protocol has no such field", `give it protocol: ${which}`);
}

function readSelectors(entry: Entry, names: Names): Selector[] {
  return filled(entry, MAX_SELECTORS).map((item) => {
    const selector = item.read(selectorOf);
    if (selector.kind !== "group" || names.groups.has(selector.name)) return selector;
    throw item.bad(
      `there is no group "${printable(selector.name)}"`,
      names.groups.size > 0
        ? `add it to groups, or use one of: ${[...names.groups.keys()].slice(0, 10).join(", ")}`
        : "add it to groups",
    );
  });
}

function readMember(entry: Entry): Selector {
  const selector = entry.read(selectorOf);
  if (selector.kind !== "group") return selector;
  throw entry.bad("a group cannot be in a group", "name its members here");
}

function selectorOf(text: string): Selector {
  const [kind, name] = text.split(/:(.*)/s);
  if (kind === "node") return { kind, name: nodeName(name ?? "") };
  if (kind === "group") return { kind, name: name ?? "" };
  return { kind: "prefix", prefix: addresses(text) };
}

const readOrder = (entry: Entry): number => entry.read(wholeNumber(0, MAX_ORDER));

function readName(entry: Entry): string {
  const name = entry.read(String);
  checkName(name, entry);
  return name;
}

function checkName(name: string, entry: Entry): void {
  if (NAME.test(name)) return;
  throw entry.bad(
    `"${printable(name)}" is not a name`,
    "use 1 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at each end",
  );
}
