/**
 * The policy document: the packets that nodes, groups and prefixes may exchange, as an operator
 * wrote it. It is checked whole; docs/policy.md defines each key.
 */
import { printable } from "../address.js";
import { asJson, type Entry, readDocument, readJson } from "../config/entry.js";
import { wholeNumber } from "../config/read.js";
import { WeftError } from "../error.js";
import { DIRECTIONS, type Direction, type Rule, readRule } from "./rule.js";
import { type Groups, readMembers, readSelectors, type Selector } from "./selector.js";
import { refuseCostly } from "./work.js";

export const MAX_DOCUMENT = 4 * 1024 * 1024;
export const MAX_GROUPS = 1024;
export const MAX_TIERS = 64;
export const MAX_POLICIES = 4096;
/** Most rules of all policies together. The core has numbers for as many egress and ingress rules. */
export const MAX_DOCUMENT_RULES = 32_000;
const MAX_ORDER = 1_000_000;

export const DEFAULT_TIER = { name: "default", order: 1000 } as const;

export interface PolicyDocument {
  /** The timeouts of flows: those of the RFCs, or those of Linux. */
  readonly profile: "rfc" | "linux";
  readonly groups: Groups;
  /** In the order in which they apply; the policies of each are in order too. */
  readonly tiers: readonly Tier[];
}

export interface Tier {
  readonly name: string;
  readonly order: number;
  readonly policies: readonly Policy[];
}

export interface Policy {
  readonly name: string;
  readonly line: number;
  readonly tier: string;
  readonly order: number;
  readonly isShadow: boolean;
  /** The endpoints it protects. */
  readonly applies: readonly Selector[];
  /** Absent: the policy does not restrict packets that leave. */
  readonly egress?: readonly Rule[];
  readonly ingress?: readonly Rule[];
}

/** The error for a key that belongs to a document of address translation. */
const OF_NAT = Object.fromEntries(
  ["masquerade", "snat", "ports", "netmap", "services"].map((key) => [
    key,
    [
      `"${key}" translates addresses, which is not policy`,
      "put it in a document of its own, and apply that with: weft nat apply",
    ] as const,
  ]),
);

const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/**
 * Reads a policy that an operator of this host wrote.
 * @param text YAML or JSON
 * @param file its name in messages
 * @param before a document read earlier: policies with the same text are not read again
 * @throws WeftError POLICY, naming file, line and path
 */
export const readPolicy = (text: string, file: string, before?: PolicyDocument): PolicyDocument =>
  read(readDocument, text, file, before);

/**
 * Reads a policy from another node or process: JSON, as `policyAsJson` makes it. It never reaches
 * the YAML parser, whose time and memory have no bound that all nodes share.
 * @throws WeftError as `readPolicy`
 */
export const readSealed = (text: string, file: string, before?: PolicyDocument): PolicyDocument =>
  read(readJson, text, file, before);

function read(
  take: typeof readDocument,
  text: string,
  file: string,
  before: PolicyDocument | undefined,
): PolicyDocument {
  refuseLong(text, file);
  const known = (before && READ.get(before)) ?? NOTHING;
  const root = take(text, file, "POLICY", known.policies);
  const { optional, required } = root.fields(["profile", "groups", "tiers", "policies"], OF_NAT);
  const groups = readGroups(optional("groups"));
  const tiers = readTiers(optional("tiers"));
  const names = { groups, tiers };
  const all = { names, policies: new Map<string, Policy>() };
  const policies = readPolicies(required("policies"), (entry) => {
    const policy = asBefore(entry, known, names) ?? readOnePolicy(entry, names);
    if (entry.text !== undefined) all.policies.set(entry.text, policy);
    return policy;
  });
  const document = {
    profile: optional("profile")?.word("rfc", "linux") ?? "rfc",
    groups,
    tiers: [...tiers]
      .map(([name, order]) => ({ name, order, policies: policies.filter((p) => p.tier === name) }))
      .sort(inOrder)
      .map((tier) => ({ ...tier, policies: tier.policies.sort(inOrder) })),
  };
  refuseCostly(document, printable(file));
  READ.set(document, all);
  return document;
}

/**
 * Returns the document as JSON with every part on its original line: meaning, errors and line
 * numbers stay the same, and JSON is read many times faster than YAML.
 */
export function policyAsJson(text: string, file: string): string {
  refuseLong(text, file);
  return asJson(text, file, "POLICY");
}

function refuseLong(text: string, file: string): void {
  if (text.length <= MAX_DOCUMENT) return;
  throw new WeftError(
    "POLICY",
    `${printable(file)}: ${text.length} characters are more than ${MAX_DOCUMENT}`,
    "let one rule name more addresses and ports",
  );
}

/** The groups and tiers that policies can refer to. */
interface Names {
  readonly groups: Groups;
  readonly tiers: ReadonlyMap<string, unknown>;
}

/** Policies by their text, and the names that were defined when they were read. */
interface Read {
  readonly names: Names;
  readonly policies: ReadonlyMap<string, Policy>;
}

const READ = new WeakMap<PolicyDocument, Read>();
const NOTHING: Read = { names: { groups: new Map(), tiers: new Map() }, policies: new Map() };

/** The same text means the same policy while the names are the same. */
function asBefore(entry: Entry, { names, policies }: Read, now: Names): Policy | undefined {
  const policy = policies.get(entry.text ?? "");
  if (!policy || !sameKeys(names.groups, now.groups) || !sameKeys(names.tiers, now.tiers)) {
    return undefined;
  }
  const { line } = entry;
  return line === policy.line ? policy : { ...policy, line };
}

const sameKeys = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean =>
  a.size === b.size && [...a.keys()].every((key) => b.has(key));

type Ordered = { readonly name: string; readonly order: number };
const inOrder = (a: Ordered, b: Ordered): number =>
  a.order - b.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function readGroups(entry: Entry | undefined): Groups {
  const groups = new Map<string, readonly Selector[]>();
  for (const [name, members] of entry?.named(MAX_GROUPS) ?? []) {
    checkName(name, members);
    groups.set(name, readMembers(members));
  }
  return groups;
}

/** The order of each tier, by its name. */
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

function readPolicies(entry: Entry, readOne: (entry: Entry) => Policy): Policy[] {
  const seen = new Set<string>();
  let rules = 0;
  return entry.list(MAX_POLICIES).map((one) => {
    const policy = readOne(one);
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
  const { line } = entry;
  return {
    line,
    name: readName(required("name")),
    tier: readTier(optional("tier"), names),
    order: order ? readOrder(order) : DEFAULT_TIER.order,
    isShadow: optional("mode")?.word("enforce", "shadow") === "shadow",
    applies: readSelectors(required("applies"), names.groups),
    ...(egress && { egress: readRules(egress, "egress", names, line) }),
    ...(ingress && { ingress: readRules(ingress, "ingress", names, line) }),
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

/** A policy with an empty list of rules lets nothing pass. */
const readRules = (entry: Entry, direction: Direction, names: Names, from: number): Rule[] =>
  entry.list(MAX_DOCUMENT_RULES).map((rule) => readRule(rule, direction, names.groups, from));

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
