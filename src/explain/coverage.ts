/**
 * The packets of a node's workloads that its core sees. The host routes the others by itself, so no
 * policy and no translation applies to them. `status`, `policy apply`, `policy test` and `explain` all
 * take their sentences from here.
 *
 *   addresses of a packet -> its two ends -> the reason why the core does not see it, or none
 */
import {
  bits,
  contains,
  formatAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  printable,
} from "../address.js";

/** A route of the host to addresses in a lease of this node. */
export interface WorkloadRoute {
  readonly prefix: string;
  readonly device: string;
  /** Whether the host leads what comes from the device to the core first. */
  readonly isLed: boolean;
}

export interface Coverage {
  /** Whether the host leads packets of workloads to the core (`--through-core`). */
  readonly throughCore: boolean;
  /** The prefixes that are routed to the overlay device: the cluster network, and subnets of static peers beyond it. */
  readonly routed: readonly string[];
  /** The overlay addresses of the host itself. */
  readonly own: readonly string[];
  readonly workloads: readonly WorkloadRoute[];
}

/** A reason why the core does not see packets. */
export interface Unseen {
  readonly why: string;
  readonly remedy?: string;
}

/** One end of a packet, as this node sees it: `overlay` is an overlay address that no workload of this host has. */
export type End =
  | { readonly kind: "host" | "overlay" | "outside" }
  | { readonly kind: "workload"; readonly route: WorkloadRoute };

export const NO_WORKLOADS: Coverage = { throughCore: false, routed: [], own: [], workloads: [] };

export class CoverageView {
  readonly #coverage: Coverage;
  readonly #routed: readonly Prefix[];
  /** The longest prefixes first. */
  readonly #routes: readonly { readonly prefix: Prefix; readonly route: WorkloadRoute }[];

  constructor(coverage: Coverage) {
    this.#coverage = coverage;
    this.#routed = coverage.routed.map(parsePrefix);
    this.#routes = coverage.workloads
      .map((route) => ({ prefix: parsePrefix(route.prefix), route }))
      .sort((a, b) => b.prefix.length - a.prefix.length);
  }

  endOf(text: string): End {
    const address = parseAddress(text);
    if (this.#coverage.own.includes(formatAddress(address))) return { kind: "host" };
    const found = this.#routes.find(({ prefix }) => contains(prefix, address));
    if (found) return { kind: "workload", route: found.route };
    const isRouted = this.#routed.some((prefix) => contains(prefix, address));
    return { kind: isRouted ? "overlay" : "outside" };
  }

  /** Undefined if the core sees packets from one end to the other. */
  unseenBetween(from: End, to: End): Unseen | undefined {
    const { throughCore } = this.#coverage;
    if (from.kind === "overlay" || to.kind === "overlay") return undefined;
    if (from.kind === "workload" && to.kind === "workload") {
      if (isSameLink(from, to)) return sameLink([from.route]);
      return throughCore ? undefined : this.#routedByHost();
    }
    if (from.kind !== "workload" && to.kind !== "workload") {
      return from.kind === "host" && to.kind === "host" ? HOST_ITSELF : OUTSIDE;
    }
    if (from.kind === "host" || to.kind === "host") return HOST_AND_WORKLOADS;
    if (!throughCore) return this.#routedByHost();
    return from.kind === "workload" && !from.route.isLed ? notLed([from.route]) : undefined;
  }

  /** The packets from and to the workloads of this host that the core does not see; empty where there are none. */
  unseen(): Unseen[] {
    const { throughCore, workloads } = this.#coverage;
    if (workloads.length === 0) return [];
    const links = workloads.filter((route) => !isOneAddress(route));
    const others = workloads.filter(({ isLed }) => !isLed);
    return [
      ...(throughCore ? [] : [this.#routedByHost()]),
      ...(throughCore && others.length > 0 ? [notLed(others)] : []),
      ...(links.length > 0 ? [sameLink(links)] : []),
      HOST_AND_WORKLOADS,
    ];
  }

  #routedByHost(): Unseen {
    const { workloads } = this.#coverage;
    const patterns = listed(
      workloads.map(({ device }) => patternFor(device)),
      ",",
    );
    return {
      why: `${listed(workloads.map(({ prefix }) => prefix))}: the host routes packets between its workloads, and between them and the outside, and weft does not see them`,
      remedy: `start weft with --through-core --workload-interfaces '${patterns}'`,
    };
  }
}

/** The packets that the core sees, in words. */
export const seenOf = ({ throughCore }: Coverage): string =>
  throughCore
    ? "packets from and to other nodes, and those of workloads that this host routes"
    : "packets from and to other nodes";

/** `WHY: REMEDY` */
export const unseenInWords = ({ why, remedy }: Unseen): string =>
  remedy === undefined ? why : `${why}: ${remedy}`;

/** Two addresses of one route share a link, on which their packets pass without the host's routing. */
export const isSameLink = (from: End, to: End): boolean =>
  from.kind === "workload" && to.kind === "workload" && from.route.prefix === to.route.prefix;

const isOneAddress = ({ prefix }: WorkloadRoute): boolean => {
  const { family, length } = parsePrefix(prefix);
  return length === bits(family);
};

const OUTSIDE: Unseen = {
  why: "the host routes packets between itself and the outside, and weft does not see them",
};
const HOST_ITSELF: Unseen = { why: "the host keeps packets to itself" };
const HOST_AND_WORKLOADS: Unseen = {
  why: "this host and its workloads reach each other without weft: a node always reaches its workloads",
};

const notLed = (routes: readonly WorkloadRoute[]): Unseen => {
  const names = listed(routes.map(({ device }) => device));
  return {
    why: `no pattern of --workload-interfaces matches ${names}: weft does not see what comes from there for the outside, and takes the answers for new packets`,
    remedy: `add ${names} to --workload-interfaces`,
  };
};

const sameLink = (routes: readonly WorkloadRoute[]): Unseen => ({
  why: `${listed(routes.map(({ prefix, device }) => `${prefix} on ${device}`))}: packets between addresses of one link pass without the host's routing, and weft does not see them`,
  remedy: "give each workload an interface of its own",
});

/** Names that a sentence lists. */
const MAX_LISTED = 4;

function listed(names: readonly string[], separator = ", "): string {
  const all = [...new Set(names)];
  const first = all.slice(0, MAX_LISTED).map(printable).join(separator);
  return all.length > MAX_LISTED && separator !== ","
    ? `${first} and ${all.length - MAX_LISTED} more`
    : first;
}

/** Interfaces of these families come and go under other names. */
const patternFor = (device: string): string => {
  const [family] = /^(veth|cali|lxc|tap|vnet|br-)/.exec(device) ?? [];
  return family === undefined ? device : `${family}*`;
};
