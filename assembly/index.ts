/** What the host may call, and the map of the memory it shares with the core. */

export { begin, settle } from "./batch";
export {
  CAPTURED_DIRECTION,
  CAPTURED_FROM,
  CAPTURED_KEPT,
  CAPTURED_LENGTH,
  CAPTURED_RULE,
  CAPTURED_SEGMENT_SIZE,
  CAPTURED_SENDER,
  CAPTURED_SIZE,
  CAPTURED_TIME,
  CAPTURED_TO,
  CAPTURED_VERDICT,
} from "./capture";
export {
  FLOW_ACCOUNT,
  FLOW_ADDRESSES,
  FLOW_BYTES,
  FLOW_IS_FIRST,
  FLOW_JUDGED,
  FLOW_KIND,
  FLOW_LAST,
  FLOW_PACKETS,
  FLOW_PORTS,
  FLOW_RULE,
  FLOW_STATE,
  FLOW_TWIN,
} from "./conntrack/flow";
export { expireAll } from "./conntrack/sweep";
export { writeFailed } from "./device-list";
export { noteError, prepareError } from "./error-message";
export * from "./linux";
export * from "./memory";
export { CT_ESTABLISHED } from "./packet";
export { inbound, outbound } from "./pipeline";
export * from "./reason";
export { prepareReceive } from "./receive-list";
export { finishWrite } from "./stages/offload";
export { copy, decapAll, encapAll, findRules } from "./stagewise";
// Parts for tests beside their slow twins, and for benchmarks.
export * from "./tables/acl";
export * from "./tables/lpm";
export {
  ASKED_FAR,
  ASKED_NEAR,
  ASKED_PORTS,
  ASKED_PROTOCOL,
  TRACE_CT_STATE,
  TRACE_LENGTH,
  TRACE_MET,
  TRACE_OWNER,
  TRACE_PEER,
  TRACE_PLACE,
  TRACE_RULE,
  TRACE_STAGE,
  TRACE_VERDICT,
} from "./trace";
export { fold, sum } from "./wire/checksum";
export { isGsoBatch, sendFailed, splitGsoBatches } from "./wire-list";
