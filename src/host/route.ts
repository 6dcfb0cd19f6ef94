/** The routes from this host to its peers, as the kernel would take them now. */
import { type Address, contains, formatAddress, LINK_LOCAL, parseAddress } from "../address.js";
import { askEach } from "./ip.js";

/** A route as `ip -j route get` shows it. */
export interface Route {
  /** Absent for a route to another host; `local` when this host has the address; or `broadcast`, `anycast`. */
  readonly type?: string;
  /** The source address that Linux prefers. */
  readonly prefsrc?: string;
  readonly dev?: string;
  readonly nexthops?: readonly { readonly dev?: string }[];
  readonly metrics?: readonly { readonly mtu?: number }[];
}

/** Peers whose routes are looked up, at most; each costs one line of a batch at every check. */
export const MOST_PEERS = 64;

export interface SourceAddress {
  readonly address: Address;
  /** Whether this host has the peer's address itself. */
  readonly isOwn: boolean;
}

/** The source address that Linux prefers for each peer with a unicast or local route; link-local ones are left out. */
export async function sourcesTo(peers: readonly Address[]): Promise<SourceAddress[]> {
  const questions = peers.slice(0, MOST_PEERS).map((peer) => `route get ${formatAddress(peer)}`);
  const routes = await askEach<Route>(questions);
  return routes.flatMap((route) => {
    const { prefsrc, type = "unicast" } = route ?? {};
    if (prefsrc === undefined || (type !== "unicast" && type !== "local")) return [];
    const address = parseAddress(prefsrc);
    return contains(LINK_LOCAL, address) ? [] : [{ address, isOwn: type === "local" }];
  });
}

/**
 * The routes of packets from `source` to each of these peers, with all their next hops; an address
 * that this host has itself is left out.
 *
 * With `fibmatch` the kernel returns the route itself. Without it, the result includes the path MTU
 * of an ICMP error, which may be forged.
 */
export async function routesTo(peers: readonly Address[], source: Address): Promise<Route[]> {
  const from = formatAddress(source);
  const questions = peers
    .filter(({ family }) => family === source.family)
    .slice(0, MOST_PEERS)
    .map((peer) => `route get fibmatch ${formatAddress(peer)} from ${from}`);
  const routes = await askEach<Route>(questions);
  return routes.flatMap((route) => (route && route.type === undefined ? [route] : []));
}

/** The most frequent of these addresses; the first of several that are equally frequent. */
export function mostFrequent(sources: readonly SourceAddress[]): Address | undefined {
  const counts = new Map<string, number>();
  for (const { address } of sources) {
    const text = formatAddress(address);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const [first] = [...counts].sort(([, a], [, b]) => b - a);
  return first && parseAddress(first[0]);
}

/**
 * The largest packet, in bytes, that may take any of a route's next hops: the smallest MTU of their
 * devices and of the route itself. Undefined when a device is not in `mtus`.
 */
export function routeMtu(
  { dev, nexthops, metrics = [] }: Route,
  mtus: ReadonlyMap<string, number>,
): number | undefined {
  const devices = (nexthops ?? [{ dev }]).map((hop) => mtus.get(hop.dev ?? ""));
  const all = [...devices, ...metrics.flatMap(({ mtu }) => mtu ?? [])];
  return all.every((mtu) => mtu !== undefined) ? Math.min(...all) : undefined;
}
