/** From what the cluster says to what the core searches: peers and routes. */
import {
  type Address,
  formatPrefix,
  overlaps,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "../address.js";
import { WeftError } from "../error.js";
import type { Peer } from "../peer.js";
import { MAX_SENDERS, type PeerEntry } from "./peers.js";

/** This node, as its own dataplane sees it. */
export interface Own {
  readonly vni: number;
  readonly mac: Uint8Array;
  /** The largest inner packet, bytes. */
  readonly mtu: number;
  readonly leases: readonly Prefix[];
}

export interface Route {
  readonly prefix: Prefix;
  /** Index in the table of peers. */
  readonly peer: number;
}

export interface Compiled {
  readonly peers: readonly PeerEntry[];
  readonly routes: readonly Route[];
}

/** What `lookup` in the core answers for this node's own leases; peers come after it. */
export const THIS_NODE = 1;
export const FIRST_PEER = 2;

/**
 * @param indexOf gives each peer, by name, its place in the table
 * @throws WeftError when a peer cannot be read, or two nodes claim the same addresses
 */
export function compile(
  own: Own,
  peers: readonly Peer[],
  indexOf: (name: string) => number,
): Compiled {
  const entries: PeerEntry[] = [];
  const routes: Route[] = own.leases.map((prefix) => ({ prefix, peer: THIS_NODE }));
  const claims: Claim[] = own.leases.map((prefix) => ({ prefix, by: "this node" }));
  for (const peer of peers) {
    const index = indexOf(peer.name);
    const endpoint = parseEndpoint(peer.endpoint);
    const senders = sendersOf(peer);
    entries.push({ index, endpoint, mac: parseMac(peer.mac), senders, mtu: own.mtu });
    for (const lease of peer.leases) {
      const prefix = parsePrefix(lease);
      routes.push({ prefix, peer: index });
      claims.push({ prefix, by: `peer "${peer.name}"` });
    }
  }
  refuseOverlap(claims);
  return { peers: entries, routes };
}

function sendersOf({ name, senders = [] }: Peer): Address[] {
  if (senders.length > MAX_SENDERS) {
    throw new WeftError(
      "PEER",
      `peer "${name}" has ${senders.length} senders`,
      `name at most ${MAX_SENDERS} other addresses that its packets may come from`,
    );
  }
  return senders.map(parseAddress);
}

interface Claim {
  readonly prefix: Prefix;
  readonly by: string;
}

/** Sorted by base, shorter first, a prefix overlaps another only if it overlaps the last wide one. */
function refuseOverlap(claims: Claim[]): void {
  claims.sort((a, b) => inOrder(a.prefix, b.prefix));
  let wide: Claim | undefined;
  for (const claim of claims) {
    if (wide && overlaps(wide.prefix, claim.prefix)) {
      throw new WeftError(
        "OVERLAP",
        `${formatPrefix(claim.prefix)} of ${claim.by} overlaps ${formatPrefix(wide.prefix)} of ${wide.by}`,
        "every address belongs to one node: change one of the two",
      );
    }
    wide = claim;
  }
}

const inOrder = (a: Prefix, b: Prefix): number =>
  a.family - b.family || Number(a.base > b.base) - Number(a.base < b.base) || a.length - b.length;
