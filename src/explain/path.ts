/** The path that a packet takes to the next node, as probes have found it. */
import type { Peer } from "../peer.js";

/** A member, as far as its path goes. */
export interface OnPath {
  /** As in `weft peers`. */
  readonly state: string;
  readonly path: "direct" | `via ${string}`;
  /** When it last answered a probe of its path, in milliseconds since the epoch. Missing: never, or not probed. */
  readonly answered?: number;
}

export const PATH_STATES = ["answers", "silent", "unknown"] as const;

export interface PathView {
  /**
   * `answers`: its probes are answered. `silent`: they were, and are no more, so what is sent is
   * probably lost. `unknown`: it is not probed, as that to a static peer.
   */
  readonly state: (typeof PATH_STATES)[number];
  /** When its last answered probe was answered, ISO 8601 by the clock of the node that sends; missing with `unknown`. */
  readonly answered?: string;
  readonly path: OnPath["path"];
  /** `ip:port` that the packet is sent to. */
  readonly endpoint: string;
}

/** @param member of the peer's name; a static peer has none */
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
