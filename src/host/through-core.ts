/**
 * Policy routing that leads the packets of workloads to the overlay device before the host routes
 * them on. docs/through-core.md has the rules and the reason for each.
 *
 * Like the unreachable routes (unreachable.ts), the rules outlive the process: when an agent dies, the
 * packets that it would judge are refused.
 */
import { bits, type Family, formatPrefix, type Prefix, parsePrefix } from "../address.js";
import { attempt, sentence, WeftError } from "../error.js";
import { FORWARDING, forwards } from "./forwarding.js";
import { ask, change } from "./ip.js";
import { hasIpv6 } from "./ipv6.js";
import { metricOf, ROUTE_PROTOCOL } from "./unreachable.js";

/** The routing table whose default route leads to the overlay device. */
export const TABLE = 6784;

/** Priorities of the rules; the kernel evaluates lower ones first. */
const WRITTEN = 100;
const OF_THIS_HOST = 101;
const TO_NETWORK = 102;
const OF_WORKLOAD = 103;
/** The target of a goto; what the host looks up without weft follows it. */
const AS_ROUTED = 104;

const PROTOCOL = String(ROUTE_PROTOCOL);

/** A rule in `ip -j rule show`. */
interface ShownRule {
  readonly priority: number;
  readonly src?: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly iif?: string;
  readonly table?: string;
  readonly goto?: number;
  readonly nop?: null;
  readonly protocol?: string;
}

interface ShownRoute {
  readonly type?: string;
  readonly dst: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly metric?: number;
}

/** Rules and routes of one family, each in the words that `ip rule add` and `ip route add` take. */
interface Lines {
  /** In the order in which they are added; they are removed in reverse. */
  readonly rules: readonly string[];
  readonly routes: readonly string[];
}

interface Found extends Lines {
  /** Names the rules and routes of others in the way; undefined if there are none. */
  readonly conflict: WeftError | undefined;
}

export interface Covered {
  /** Name of the overlay device. */
  readonly device: string;
  /** The cluster network; its families are those whose packets are led to the device. */
  readonly network: readonly Prefix[];
  /** Names of the interfaces of workloads. */
  readonly interfaces: readonly string[];
}

const NOTHING: Lines = { rules: [], routes: [] };
const FAMILIES = [4, 6] as const;

export class ThroughCore {
  /** The metric of the route that refuses; it tells this agent's table from another's. */
  readonly #metric: number;
  /** Families where this agent has nothing. Unknown before the first check. */
  readonly #bare = new Set<Family>();
  /** The lines of this agent that the first check found. */
  readonly #before = new Map<Family, Lines>();

  /** @param state the agent's state directory, which exists */
  constructor(state: string) {
    this.#metric = metricOf(state);
  }

  /**
   * Sets exactly the rules and routes for these networks and interfaces, and removes all others of
   * this agent, also those of an earlier run. If one family fails, the other is still set.
   * @returns one sentence for each failure, and for each family in which others are in the way
   */
  async set(covered: Covered | undefined): Promise<string[]> {
    const trouble: string[] = [];
    for (const family of familiesHere()) {
      const wanted = covered ? this.#wanted(family, covered) : NOTHING;
      trouble.push(...(await attempt(() => this.#setFamily(family, wanted))));
      if (wanted !== NOTHING) trouble.push(...(await unforwarded(family)));
    }
    return trouble;
  }

  /**
   * Restores what was there before the first `set`.
   * @returns one sentence for each family that failed
   */
  async restore(): Promise<string[]> {
    const trouble: string[] = [];
    for (const [family, before] of this.#before) {
      trouble.push(...(await attempt(() => this.#setFamily(family, before))));
    }
    return trouble;
  }

  /** @throws WeftError CONFLICT if others use the priorities or the table */
  async refuseConflicts(): Promise<void> {
    for (const family of familiesHere()) {
      const { conflict } = await this.#look(family);
      if (conflict) throw conflict;
    }
  }

  #wanted(family: Family, { device, network, interfaces }: Covered): Lines {
    const prefixes = network.filter((it) => it.family === family).map(formatPrefix);
    if (prefixes.length === 0) return NOTHING;
    const lookup = `lookup ${TABLE}`;
    return {
      routes: [this.#refusing(), `default dev ${device}`],
      rules: [
        `pref ${AS_ROUTED} nop`,
        `pref ${OF_THIS_HOST} iif lo goto ${AS_ROUTED}`,
        `pref ${WRITTEN} iif ${device} goto ${AS_ROUTED}`,
        ...prefixes.map((it) => `pref ${TO_NETWORK} to ${it} ${lookup}`),
        ...interfaces.map((it) => `pref ${OF_WORKLOAD} iif ${it} ${lookup}`),
      ],
    };
  }

  #refusing(): string {
    return `unreachable default metric ${this.#metric}`;
  }

  async #setFamily(family: Family, wanted: Lines): Promise<string[]> {
    if (wanted === NOTHING && this.#bare.has(family)) return [];
    const present = await this.#look(family);
    if (!this.#before.has(family)) this.#before.set(family, present);
    const isBare = wanted.rules.length + wanted.routes.length === 0;
    if (isBare) this.#bare.add(family);
    else this.#bare.delete(family);
    try {
      await change(changes(present, wanted), family);
    } catch (error) {
      this.#bare.delete(family);
      throw error;
    }
    return isBare || !present.conflict ? [] : [sentence(present.conflict)];
  }

  async #look(family: Family): Promise<Found> {
    const rules = await ask<ShownRule>(`-${family}`, "rule", "show");
    const routes = await routesOfTable(family);
    const refusing = routes.filter((it) => isOurs(it) && it.type === "unreachable");
    // Without its refusing route a table has lost its owner; the agent that runs claims the rest of it.
    const isAnothers =
      refusing.length > 0 && refusing.every(({ metric }) => metric !== this.#metric);
    const mine = <T extends Pick<ShownRule, "protocol">>(all: readonly T[]): T[] =>
      isAnothers ? [] : all.filter(isOurs);
    const near = rules.filter(isNear);
    const own: Lines = { rules: mine(near).map(ruleWords), routes: mine(routes).map(routeWords) };
    const others = [
      ...near.filter((it) => isAnothers || !isOurs(it)).map((it) => `rule "${ruleWords(it)}"`),
      ...routes
        .filter((it) => isAnothers || !isOurs(it))
        .map((it) => `route "${routeWords(it)} table ${TABLE}"`),
    ];
    return { ...own, conflict: others.length > 0 ? conflictWith(family, others) : undefined };
  }
}

const familiesHere = (): readonly Family[] => (hasIpv6() ? FAMILIES : [4]);

const isOurs = ({ protocol }: Pick<ShownRule, "protocol">): boolean => protocol === PROTOCOL;

/** Whether a rule has a priority or the table of those here. */
const isNear = ({ priority, table }: ShownRule): boolean =>
  (priority >= WRITTEN && priority <= AS_ROUTED) || table === String(TABLE);

async function routesOfTable(family: Family): Promise<ShownRoute[]> {
  try {
    return await ask<ShownRoute>(`-${family}`, "route", "show", "table", String(TABLE));
  } catch (error) {
    // A table exists as long as it has a route.
    if (error instanceof WeftError && /table does not exist/.test(error.message)) return [];
    throw error;
  }
}

function ruleWords(rule: ShownRule): string {
  const words = [
    `pref ${rule.priority}`,
    rule.src !== undefined && rule.src !== "all" && `from ${whole(rule.src, rule.srclen)}`,
    rule.dst !== undefined && `to ${whole(rule.dst, rule.dstlen)}`,
    rule.iif !== undefined && `iif ${rule.iif}`,
    rule.table !== undefined && `lookup ${rule.table}`,
    rule.goto !== undefined && `goto ${rule.goto}`,
    "nop" in rule && "nop",
  ];
  return words.filter(Boolean).join(" ");
}

function whole(address: string, length: number | undefined): string {
  const family = address.includes(":") ? 6 : 4;
  return formatPrefix(parsePrefix(`${address}/${length ?? bits(family)}`));
}

/** The metric of a device's route is the default of its family; the refusing route leads to no device. */
function routeWords({ type, dst, dev, metric }: ShownRoute): string {
  if (type !== undefined) return `${type} ${dst} metric ${metric ?? 0}`;
  return dev === undefined ? dst : `${dst} dev ${dev}`;
}

/** The refusing route comes before any rule, and goes after all of them. */
function changes(present: Lines, wanted: Lines): string[] {
  const missing = (kind: keyof Lines) => wanted[kind].filter((it) => !present[kind].includes(it));
  const surplus = (kind: keyof Lines) => present[kind].filter((it) => !wanted[kind].includes(it));
  return [
    ...missing("routes").map((it) => `route add ${it} table ${TABLE} proto ${PROTOCOL}`),
    ...missing("rules").map((it) => `rule add ${it} protocol ${PROTOCOL}`),
    ...surplus("rules")
      .sort(byPriorityDown)
      .map((it) => `rule del ${it} protocol ${PROTOCOL}`),
    ...surplus("routes").map((it) => `route del ${it} table ${TABLE} proto ${PROTOCOL}`),
  ];
}

/** Rules that lead packets to the device go first; the target of the gotos goes last. */
const byPriorityDown = (a: string, b: string): number => rank(b) - rank(a);
const rank = (rule: string): number => {
  const priority = Number(rule.split(" ")[1]);
  return priority === AS_ROUTED ? 0 : priority;
};

function conflictWith(family: Family, others: readonly string[]): WeftError {
  const named = others.slice(0, MAX_NAMED).join(", ");
  const rest = others.length > MAX_NAMED ? `, and ${others.length - MAX_NAMED} more` : "";
  return new WeftError(
    "CONFLICT",
    `--through-core needs the rule priorities ${WRITTEN} to ${AS_ROUTED} and the routing table ${TABLE}, and this host has the IPv${family} ${named}${rest}`,
    `move them (ip -${family} rule; ip -${family} route show table ${TABLE}), or start without --through-core`,
  );
}

/** Rules and routes of others that one sentence names. */
const MAX_NAMED = 4;

async function unforwarded(family: Family): Promise<string[]> {
  if (await forwards(family)) return [];
  const setting = FORWARDING[family];
  return [
    `no packet of a workload passes: this host forwards none, ${setting} is 0: set it with: sysctl -w ${setting}=1`,
  ];
}
