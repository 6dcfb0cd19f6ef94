/**
 * Routes of this host that take packets for the overlay away from its device: those of a bridge with
 * an address in the cluster network, or of a VPN that announces a part of it. An address of the host
 * is a route as well, in the table "local".
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
  /** The leases of this node: a bridge of the host may use them. */
  readonly leases: readonly Prefix[];
}

export interface Conflict {
  /** The addresses that are not reached through the device. */
  readonly taken: Prefix;
  /** The one of `Overlay.routed` that they belong to. */
  readonly routed: Prefix;
  /** In the words of `ip route`. */
  readonly route: string;
  /** Where it leads, if to a device. */
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
  /** Present if the rule is for all packets but those that it describes. */
  readonly not?: null;
  readonly iif?: string;
  readonly table?: string;
  /** The table's routes of this length and shorter are passed over. */
  readonly suppress_prefixlen?: number;
}

/** Rules by family, first one first. */
export type Rules = ReadonlyMap<Family, readonly ShownRule[]>;

/** A route that overlaps a prefix that is routed to the device. */
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

/** Only where a route is in a table that not every host has do the rules matter. */
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

/** In the order of addresses. A route stands for those within it that lead to the same device. */
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

/** Two prefixes are apart or nested, so in their order the last one of the device covers the next, or none does. */
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

/** A table that packets for the overlay are looked up in, before or where the device's route is found. */
interface Lookup {
  readonly table: string;
  /** The destinations whose packets the rule sends to the table. */
  readonly reach: Prefix;
  readonly routed: Prefix;
  /** Routes up to this length are passed over; -1 for none. */
  readonly suppressed: number;
}

/** The device's route is in the table "main", so no rule behind the one that looks there matters. */
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

/** Keys of rules that are for some packets only, which their author marked or chose. */
const NARROWING = ["fwmark", "oif", "tos", "uid_start", "ipproto", "sport", "dport", "tun_id"];

/** Whether a rule is for none, or for few, of the packets that come from the overlay or this host. */
function isForSome(rule: ShownRule, routed: Prefix): boolean {
  if ("not" in rule) return false;
  if (NARROWING.some((key) => key in rule) || (rule.iif ?? "lo") !== "lo") return true;
  return !overlaps(rangeOf(routed.family, rule.src, rule.srclen), routed);
}

/** Routes of a table that take packets for which neither the device nor a longer harmless route stands. */
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

/** Of two routes the longer one counts, of two for the same prefix the lower metric. */
const beatsDevice = ({ metric = 0 }: ShownRoute, dst: Prefix, routed: Prefix): boolean =>
  dst.length > routed.length ||
  (dst.length === routed.length && metric < DEFAULT_METRIC[routed.family]);

/** Whether all of the addresses are of these leases, which do not overlap. */
function isWithin(leases: readonly Prefix[], taken: Prefix): boolean {
  if (leases.some((lease) => covers(lease, taken))) return true;
  const inside = leases.filter((lease) => covers(taken, lease));
  return inside.reduce((sum, lease) => sum + sizeOf(lease), 0n) === sizeOf(taken);
}

/** Of two that overlap. */
const narrower = (a: Prefix, b: Prefix): Prefix => (a.length > b.length ? a : b);

/** @param address as `ip -j rule` has it: "all", or without its length */
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

/** Whether the node cannot do its work: all packets of a prefix are taken, or those for this node. */
export const isFatal = ({ taken, routed }: Conflict, addresses: readonly Address[]): boolean =>
  covers(taken, routed) || addresses.some((address) => contains(taken, address));

export const conflictError = ({ taken, route, device }: Conflict, overlay: string): WeftError =>
  new WeftError(
    "CONFLICT",
    `the route "${route}" of this host takes packets for ${formatPrefix(taken)} away from ${overlay}`,
    `change ${device ? `the network of ${device}` : "that route"}, or found the cluster on another network with --network`,
  );

/** One sentence for each, and one for those that are too many. */
export function conflictProblems(conflicts: readonly Conflict[], overlay: string): string[] {
  const said = conflicts.slice(0, MAX_SAID).map((it) => conflictError(it, overlay));
  const rest = conflicts.length - said.length;
  return [
    ...said.map(({ message, remedy }) => `${message}: ${remedy}`),
    ...(rest > 0 ? [`${rest} more routes of this host take packets away from ${overlay}`] : []),
  ];
}

/** Sentences in `weft status`; a host may have thousands of routes. */
const MAX_SAID = 8;
