/** What embedders import. */

export type { Counters, DirectionCounters, PeerTraffic } from "./core/counters.js";
export { explainReason, type Reason } from "./core/reasons.js";
export {
  Dataplane,
  type DataplaneOptions,
  type Outcome,
  type Verdict,
} from "./dataplane.js";
export { WeftError } from "./error.js";
export type { Peer } from "./peer.js";
