/** The public interface of the package. */

export type { CaptureOptions } from "./core/capture.js";
export type {
  Counters,
  DirectionCounters,
  PeerTraffic,
  RuleTraffic,
} from "./core/counters.js";
export type { FlowEnds, FlowState } from "./core/flows.js";
export type { Outcome, Verdict } from "./core/packet-runner.js";
export { explainReason, type Reason } from "./core/reasons.js";
export {
  type Capture,
  type CapturedPacket,
  Dataplane,
  type DataplaneCounters,
  type DataplaneOptions,
  type FlowView,
  type RuleCounter,
} from "./dataplane.js";
export { WeftError } from "./error.js";
export type { Explanation, Step } from "./explain/explain.js";
export type { HeaderChange, PacketWords } from "./explain/headers.js";
export type { PacketQuestion, Question, TupleQuestion } from "./explain/question.js";
export type { BackendView, ServiceView } from "./nat/services.js";
export type { Peer } from "./peer.js";
export type { Place } from "./policy/rules.js";
