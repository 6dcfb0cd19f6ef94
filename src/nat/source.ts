/** The sections that replace sources: masquerade, snat, netmap and egress. */
import { type Address, type Family, formatPrefix, overlaps, type Prefix } from "../address.js";
import type { Entry } from "../config/entry.js";
import { nodeName } from "../config/read.js";
import { filled, portRange } from "../policy/read.js";
import { bad, hostAddress, hostPrefix, matched } from "./read.js";

export const MAX_GATEWAYS = 16;

/** The connections that a rule covers. */
export interface Covered {
  readonly line: number;
  readonly from: Prefix;
  readonly to: Prefix;
}

export interface Snat extends Covered {
  readonly addresses: Prefix;
  /** Both ends included; absent for the default classes. */
  readonly ports?: { readonly low: number; readonly high: number };
}

/** `from` is the prefix inside, `to` of the same length the one that the overlay knows. */
export type Netmap = Covered;

export interface Egress {
  readonly line: number;
  readonly from: readonly Prefix[];
  readonly to: readonly Prefix[];
  /** Names of nodes: the first living one is the gateway. */
  readonly via: readonly string[];
  readonly address: Address;
}

export function readMasquerade(entry: Entry): Covered | "outside" {
  if (entry.isText) return entry.word("outside");
  const { required } = entry.fields(["from", "to"]);
  const rule = {
    line: entry.line,
    from: required("from").read(matched),
    to: required("to").read(matched),
  };
  sameFamily(entry, rule.from.family, { to: rule.to });
  return rule;
}

export function readSnat(entry: Entry): Snat {
  const { optional, required } = entry.fields(["from", "to", "address", "ports"]);
  const ports = optional("ports")?.read(outsidePorts);
  const rule = {
    line: entry.line,
    from: required("from").read(matched),
    to: required("to").read(matched),
    addresses: required("address").read(hostPrefix),
    ...(ports && { ports }),
  };
  sameFamily(entry, rule.from.family, { to: rule.to, address: rule.addresses });
  return rule;
}

function outsidePorts(text: string) {
  const { from: low, to: high } = portRange(text);
  if (low > 0) return { low, high };
  throw bad("port 0 cannot be used", "begin with port 1 or a later one");
}

export function readNetmap(entry: Entry): Netmap {
  const { required } = entry.fields(["from", "to"]);
  const rule = {
    line: entry.line,
    from: required("from").read(hostPrefix),
    to: required("to").read(hostPrefix),
  };
  const { from, to } = rule;
  sameFamily(entry, from.family, { to });
  if (from.length !== to.length) {
    throw entry.bad(
      `${formatPrefix(from)} and ${formatPrefix(to)} are of unequal length`,
      `each address has one on the other side: give a /${from.length} as to, or a /${to.length} as from`,
    );
  }
  return rule;
}

/**
 * Two sites may use the same addresses inside, so prefixes inside may overlap each other; the overlay
 * knows each by addresses that are unique.
 */
export function refuseOverlap(netmap: Netmap, earlier: readonly Netmap[], entry: Entry): void {
  const { from, to } = netmap;
  const pairs: (readonly [Prefix, Prefix, line: number])[] = [[from, to, netmap.line]];
  for (const { line, ...other } of earlier) {
    pairs.push([to, other.to, line], [to, other.from, line], [from, other.to, line]);
  }
  const pair = pairs.find(([a, b]) => overlaps(a, b));
  if (!pair) return;
  const [a, b, line] = pair;
  throw entry.bad(
    `${formatPrefix(a)} overlaps ${formatPrefix(b)} (line ${line})`,
    "give each site, as the overlay knows it, a prefix that nothing else uses",
  );
}

export function readEgress(entry: Entry): Egress {
  const { required } = entry.fields(["from", "to", "via", "address"]);
  const address = required("address").read(hostAddress);
  const prefixes = (key: "from" | "to") =>
    filled(required(key), MAX_EGRESS_PREFIXES).map((item) => {
      const prefix = item.read(matched);
      sameFamily(item, address.family, { [key]: prefix }, "address");
      return prefix;
    });
  return {
    line: entry.line,
    from: prefixes("from"),
    to: prefixes("to"),
    via: readGateways(required("via")),
    address,
  };
}

/** Most prefixes in one list of an egress rule; each source with each destination is a rule. */
const MAX_EGRESS_PREFIXES = 256;

function readGateways(entry: Entry): string[] {
  const names = new Set<string>();
  for (const item of filled(entry, MAX_GATEWAYS)) {
    const name = item.read(nodeName);
    if (names.has(name)) throw item.bad(`"${name}" occurs twice`, "keep one of the two");
    names.add(name);
  }
  return [...names];
}

function sameFamily(
  entry: Entry,
  family: Family,
  others: Readonly<Record<string, Prefix>>,
  first = "from",
): void {
  for (const [key, prefix] of Object.entries(others)) {
    if (prefix.family === family) continue;
    throw entry.bad(
      `${first} and ${key} are of two families: ${formatPrefix(prefix)} is IPv${prefix.family}`,
      "make a rule for each family",
    );
  }
}
