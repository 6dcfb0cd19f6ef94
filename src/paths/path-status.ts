/** The path to a member, as the mesh reports it. */

import type { Answering, PeerPaths } from "./peer-paths.js";
import type { RoutingTable } from "./routing-table.js";

/** The path of packets to a member, and its measurements. */
export interface PathStatus {
  readonly endpoint: string;
  /** No path has answered yet, so no packets are sent. */
  readonly noPath: boolean;
  readonly mac: string;
  /** Whether the next hop copies congestion marks from outer headers to packets (RFC 6040). */
  readonly ecn: boolean;
  readonly path: "direct" | `via ${string}`;
  readonly answering: Answering;
  /** When it last answered a probe, by `clock.elapsed`; missing if it never did. */
  readonly answeredAt?: number;
  /** Since when it says that it has no mesh session with any member, by `clock.elapsed`. */
  readonly aloneSince?: number;
  readonly rttMs?: number;
  readonly loss?: number;
  /** Endpoints from which its packets are accepted. */
  readonly senders: readonly string[];
  /** Its path MTU: the largest inner packet known to pass, in bytes. */
  readonly mtu: number;
}

/** The path of packets to this member at `now`, by `clock.elapsed`; `mtu` is its path MTU. */
export function pathStatus(
  peer: PeerPaths,
  table: RoutingTable,
  mtu: number,
  now: number,
): PathStatus {
  const { used } = peer;
  const relay = used?.nextHop.kind === "via" && table.get(used.nextHop.neighbour);
  const endpoint = table.destination(peer);
  const { mac, ecn = false } = (relay || peer).record;
  return {
    endpoint: endpoint ?? peer.record.vtep,
    noPath: endpoint === undefined,
    mac,
    ecn,
    path: relay ? `via ${relay.name}` : "direct",
    answering: peer.answering(now),
    ...(peer.answeredAt !== undefined && { answeredAt: peer.answeredAt }),
    ...(peer.aloneSince !== undefined && { aloneSince: peer.aloneSince }),
    ...(used?.rttMs !== undefined && { rttMs: Math.round(used.rttMs * 100) / 100 }),
    ...(used && { loss: Math.round(used.loss * 1000) / 1000 }),
    senders: peer.allowedSources.endpoints,
    mtu,
  };
}
