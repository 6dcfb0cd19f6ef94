/** What the host may call, and the map of the memory it shares with the core. */

export { begin, settle } from "./batch";
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
export { fold, sum } from "./wire/checksum";
export { isGsoBatch, sendFailed, splitGsoBatches } from "./wire-list";
