/**
 * Finds routes of this host that take packets for the overlay away from its device, as those of a
 * bridge with an address in the cluster network, or of a VPN that announces a part of it. An address
 * of the host is a route as well, in the table "local".
 *
 *   routes that overlap -> those in a table that is looked up first, or more specific -> conflicts
 */
import {
  type Address,
  bits,
  byBase,
  contains,
  covers,
  type Family,
  formatPrefix,
  overlaps,
  type Prefix,
  parsePrefix,
} from "../address.js";
import { WeftError } from "../error.js";
import { sizeOf } from "../lease/space.js";
import { ask, askAll } from "./ip.js";
import { DEFAULT_METRIC, inFull } from "./link.js";
import { ROUTE_PROTOCOL } from "./unreachable.js";

export interface Overlay {
  /** Name of the overlay device. */
  readonly device: string;
  /** The prefixes that are routed to the device: the cluster network, and static peers' subnets beyond it. */
  readonly routed: readonly Prefix[];
  /** The leases of this node, which a bridge of the host may use. */
  readonly leases: readonly Prefix[];
}

export interface Conflict {
  /** The addresses whose packets do not go to the overlay device. */
  readonly taken: Prefix;
  /** The prefix of `Overlay.routed` that contains them. */
  readonly routed: Prefix;
  /** The route as `ip route` prints it. */
  readonly route: string;
  /** The device that the route leads to, if any. */
  readonly device: string | undefined;
}

/** A route in `ip -j route show table all`; without a table it is in "main". */
export interface ShownRoute {
  readonly type?: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly table?: string;
  readonly protocol?: string;
  readonly metric?: number;
  readonly flags?: readonly string[];
}

/** A rule in `ip -j rule show`. */
export interface ShownRule {
  readonly src?: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
  /** Present if the rule matches all packets except those that it describes. */
  readonly not?: null;
  readonly iif?: string;
  readonly table?: string;
  /** Routes of the table up to this length are ignored. */
  readonly suppress_prefixlen?: number;
}

/** Rules by family, in the order of their priority. */
export type Rules = ReadonlyMap<Family, readonly ShownRule[]>;

/** A route that overlaps a prefix routed to the device. */
export interface RouteCandidate {
  readonly routed: Prefix;
  readonly route: ShownRoute;
}

/** @throws WeftError IP */
export async function findConflicts(overlay: Overlay): Promise<Conflict[]> {
  const asked = overlay.routed.flatMap((routed) =>
    ["root", "match"].map((which) => ({ routed, which })),
  );
  const answers = await askAll<ShownRoute>(
    asked.map(({ routed, which }) => `route show table all ${which} ${formatPrefix(routed)}`),
  );
  const candidates = asked.flatMap(({ routed }, i) =>
    (answers[i] ?? []).map((route) => ({ routed, route })),
  );
  return conflictsAmong(candidates, await rulesFor(candidates), overlay);
}

/** The rules of each family that has a candidate outside of the standard tables; only then do they matter. */
async function rulesFor(candidates: readonly RouteCandidate[]): Promise<Rules> {
  const families = candidates
    .filter(({ route }) => !STANDARD_TABLES.includes(tableOf(route)))
    .map(({ routed }) => routed.family);
  const rules = new Map<Family, readonly ShownRule[]>();
  for (const family of new Set(families)) {
    rules.set(family, await ask<ShownRule>(`-${family}`, "rule", "show"));
  }
  return rules;
}

const STANDARD_TABLES: readonly string[] = ["local", "main", "default"];
const STANDARD_RULES: readonly ShownRule[] = [{ table: "local" }, { table: "main" }];

/** The conflicts, by address. A conflict inside a wider one of the same device is left out. */
export function conflictsAmong(
  candidates: readonly RouteCandidate[],
  rules: Rules,
  overlay: Overlay,
): Conflict[] {
  return overlay.routed.flatMap((routed) => {
    const near = candidates.filter((it) => it.routed === routed).map(({ route }) => route);
    const lookups = lookupsOf(routed, rules.get(routed.family) ?? STANDARD_RULES);
    return widest(lookups.flatMap((lookup) => takenBy(near, lookup, overlay)));
  });
}

/**
 * Leaves out conflicts inside wider ones of the same device. Two prefixes are disjoint or nested, so
 * when sorted, the last kept one of a device covers the next, or none does.
 */
function widest(conflicts: Conflict[]): Conflict[] {
  const last = new Map<string | undefined, Prefix>();
  return conflicts
    .sort((a, b) => byBase(a.taken, b.taken))
    .filter(({ taken, device }) => {
      const before = last.get(device);
      if (before && covers(before, taken)) return false;
      last.set(device, taken);
      return true;
    });
}

/** A table that the kernel searches for packets to the overlay, up to the one with the device's route. */
interface Lookup {
  readonly table: string;
  /** The destinations whose packets the rule sends to the table. */
  readonly reach: Prefix;
  readonly routed: Prefix;
  /** Routes up to this length are ignored; -1 for none. */
  readonly suppressed: number;
}

/** The lookups up to the table "main", which has the device's route; later rules do not matter. */
function lookupsOf(routed: Prefix, rules: readonly ShownRule[]): Lookup[] {
  const lookups: Lookup[] = [];
  for (const rule of rules) {
    const isNot = "not" in rule;
    const to = isNot ? routed : rangeOf(routed.family, rule.dst, rule.dstlen);
    if (!rule.table || isForSome(rule, routed) || !overlaps(to, routed)) continue;
    const { table, suppress_prefixlen: suppressed = -1 } = rule;
    lookups.push({ table, reach: narrower(to, routed), routed, suppressed });
    const isForAll = !isNot && (rule.src ?? "all") === "all" && !rule.iif && covers(to, routed);
    if (table === "main" && isForAll && suppressed < routed.length) break;
  }
  return lookups;
}

/** Keys of rules that match only packets with a mark, port or the like. */
const NARROWING = ["fwmark", "oif", "tos", "uid_start", "ipproto", "sport", "dport", "tun_id"];

/** Whether a rule matches none or few of the packets from the overlay or from this host. */
function isForSome(rule: ShownRule, routed: Prefix): boolean {
  if ("not" in rule) return false;
  if (NARROWING.some((key) => key in rule) || (rule.iif ?? "lo") !== "lo") return true;
  return !overlaps(rangeOf(routed.family, rule.src, rule.srclen), routed);
}

/** Routes of a table that win against the device's route and are not covered by a longer harmless route. */
function takenBy(
  routes: readonly ShownRoute[],
  { table, reach, routed, suppressed }: Lookup,
  { device, leases }: Overlay,
): Conflict[] {
  const inTable = routes
    .filter((route) => tableOf(route) === table && !route.flags?.includes("dead"))
    .map((route) => ({ route, dst: parsePrefix(inFull(routed.family, route.dst)) }))
    .filter(({ dst }) => dst.length > suppressed && overlaps(dst, reach));
  const isHarmless = ({ type, dev, protocol }: ShownRoute) =>
    dev === device || protocol === String(ROUTE_PROTOCOL) || (type === "throw" && table !== "main");
  const harmless = inTable.filter(({ route }) => isHarmless(route));
  return inTable.flatMap(({ route, dst }) => {
    const taken = narrower(dst, reach);
    const isShielded = harmless.some(
      (other) => other.dst.length > dst.length && covers(other.dst, taken),
    );
    if (isHarmless(route) || isShielded || isWithin(leases, taken)) return [];
    if (table === "main" && !beatsDevice(route, dst, routed)) return [];
    return [{ taken, routed, route: inWords(route), device: route.dev }];
  });
}

/** Whether a route wins against the device's: the longer prefix wins, or the lower metric of equal prefixes. */
const beatsDevice = ({ metric = 0 }: ShownRoute, dst: Prefix, routed: Prefix): boolean =>
  dst.length > routed.length ||
  (dst.length === routed.length && metric < DEFAULT_METRIC[routed.family]);

/** Whether all addresses are in these leases, which do not overlap. */
function isWithin(leases: readonly Prefix[], taken: Prefix): boolean {
  if (leases.some((lease) => covers(lease, taken))) return true;
  const inside = leases.filter((lease) => covers(taken, lease));
  return inside.reduce((sum, lease) => sum + sizeOf(lease), 0n) === sizeOf(taken);
}

/** The longer of two overlapping prefixes. */
const narrower = (a: Prefix, b: Prefix): Prefix => (a.length > b.length ? a : b);

/** @param address as in `ip -j rule`: "all", or an address without its length */
const rangeOf = (family: Family, address = "all", length = bits(family)): Prefix =>
  parsePrefix(inFull(family, address === "all" ? "default" : `${address}/${length}`));

const tableOf = ({ table = "main" }: ShownRoute): string => table;

function inWords({ type, dst, gateway, dev, table }: ShownRoute): string {
  const words = [
    type,
    dst,
    gateway && `via ${gateway}`,
    dev && `dev ${dev}`,
    table && `table ${table}`,
  ];
  return words.filter(Boolean).join(" ");
}

/** Whether the node cannot work: the route takes all packets of a prefix, or those for this node. */
export const isFatal = ({ taken, routed }: Conflict, addresses: readonly Address[]): boolean =>
  covers(taken, routed) || addresses.some((address) => contains(taken, address));

export const conflictError = ({ taken, route, device }: Conflict, overlay: string): WeftError =>
  new WeftError(
    "CONFLICT",
    `the route "${route}" of this host takes packets for ${formatPrefix(taken)} away from ${overlay}`,
    `change ${device ? `the network of ${device}` : "that route"}, or found the cluster on another network with --network`,
  );

/** One sentence for each of the first `MAX_SAID` conflicts, and one for the rest. */
export function conflictProblems(conflicts: readonly Conflict[], overlay: string): string[] {
  const said = conflicts.slice(0, MAX_SAID).map((it) => conflictError(it, overlay));
  const rest = conflicts.length - said.length;
  return [
    ...said.map(({ message, remedy }) => `${message}: ${remedy}`),
    ...(rest > 0 ? [`${rest} more routes of this host take packets away from ${overlay}`] : []),
  ];
}

/** Conflicts that `weft status` names; a host may have thousands of routes. */
const MAX_SAID = 8;
