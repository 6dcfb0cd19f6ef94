/** The path to the next node, and whether its probes are answered. */
import type { Peer } from "../peer.js";

/** The path state of a member. */
export interface OnPath {
  /** As printed by `weft peers`. */
  readonly state: string;
  readonly path: "direct" | `via ${string}`;
  /** Time of the last answered probe, in milliseconds since the epoch. Absent: never, or not probed. */
  readonly answered?: number;
}

export const PATH_STATES = ["answers", "silent", "unknown"] as const;

export interface PathView {
  /**
   * `answers`: probes are answered. `silent`: they were answered before and are not now, so packets are
   * probably lost. `unknown`: the path is not probed, such as one to a static peer.
   */
  readonly state: (typeof PATH_STATES)[number];
  /** Time of the last answered probe, ISO 8601 by the sending node's clock; absent for `unknown`. */
  readonly answered?: string;
  readonly path: OnPath["path"];
  /** The `ip:port` to which the packet is sent. */
  readonly endpoint: string;
}

/** @param member the member with the peer's name; undefined for a static peer */
export function pathTo({ endpoint }: Peer, member: OnPath | undefined): PathView {
  const { answered, path = "direct", state } = member ?? ({} as Partial<OnPath>);
  if (answered === undefined) return { state: "unknown", path, endpoint };
  return {
    state: state !== undefined && ANSWERING.includes(state) ? "answers" : "silent",
    answered: new Date(answered).toISOString(),
    path,
    endpoint,
  };
}

const ANSWERING: readonly string[] = ["established", "no-mesh"];
