/** The exports for the host: functions, and the map of the shared memory. */

export { beginBatch, finishBatch } from "./batch";
export {
  CAPTURE_END_MASK,
  CAPTURE_END_PORT,
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
export { FRAGMENT_RULE, FRAGMENT_SINCE, FRAGMENT_VERDICT } from "./conntrack/datagram";
export {
  FLOW_ACCOUNT,
  FLOW_ADDRESSES,
  FLOW_BATCH,
  FLOW_BYTES,
  FLOW_FLAGS,
  FLOW_GENERATION,
  FLOW_JUDGED,
  FLOW_KIND,
  FLOW_LAST,
  FLOW_OWNER,
  FLOW_PACKETS,
  FLOW_PEER,
  FLOW_PORTS,
  FLOW_RULE,
  FLOW_SCALE,
  FLOW_SIDE,
  FLOW_STATE,
  FLOW_TWIN,
  IS_FIRST,
  IS_TRANSLATED,
} from "./conntrack/flow";
export {
  countEntered,
  enterRecord,
  freePlace,
  loosen,
  sourceAccount,
  useEntered,
} from "./conntrack/restore";
export { expireAll } from "./conntrack/sweep";
export { writeFailed } from "./device-list";
export { noteError, prepareError } from "./error-message";
export {
  AF_INET,
  AF_INET6,
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  EE_ERRNO,
  EE_INFO,
  EE_ORIGIN,
  EE_SIZE,
  EMSGSIZE,
  IOVEC_LEN,
  IOVEC_SIZE,
  IP_RECVERR,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVERR,
  IPV6_TCLASS,
  MMSGHDR_CONTROL,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_LEN,
  MMSGHDR_NAME,
  MMSGHDR_NAMELEN,
  MMSGHDR_SIZE,
  SO_EE_ORIGIN_LOCAL,
  SOCKADDR_IPV4,
  SOCKADDR_IPV6,
  SOCKADDR_PORT,
  SOCKADDR_SCOPE,
  SOCKADDR_SIZE,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from "./linux";
export {
  MAILBOX_CLOCK,
  MAILBOX_LENGTH,
  MAILBOX_RING_PUT,
  MAILBOX_RING_TAKEN,
} from "./mailbox";
export * from "./memory";
export { CT_ESTABLISHED } from "./packet";
export { inbound, outbound } from "./pipeline";
export * from "./reason";
export { prepareReceive } from "./receive-list";
export { resetGone } from "./reset-gone";
export { finishWrite } from "./stages/offload";
export { chooseBackends, copy, decapAll, encapAll, findRules } from "./stagewise";
// Parts for tests against their slow twins, and for benchmarks.
export * from "./tables/acl";
export { ENDPOINT_BITS, ENDPOINT_HASH, ENDPOINT_PEER, ENDPOINT_SIZE } from "./tables/endpoint";
export * from "./tables/lpm";
export {
  BACKEND_PORT,
  NAT_BACKEND,
  NAT_BACKEND_SIZE,
  NAT_EGRESS,
  NAT_INDEX,
  NAT_INDEX_BITS,
  NAT_MAX_BACKENDS,
  NAT_MAX_RULES,
  NAT_MAX_SERVICES,
  NAT_MAX_SLOTS,
  NAT_NETMAPS,
  NAT_RULE,
  NAT_RULE_ADDRESS,
  NAT_RULE_ADDRESSES,
  NAT_RULE_FAMILY,
  NAT_RULE_FROM_MASK,
  NAT_RULE_HIGH_PORT,
  NAT_RULE_LOW_PORT,
  NAT_RULE_SIZE,
  NAT_RULE_TO,
  NAT_RULE_TO_MASK,
  NAT_RULE_VIA,
  NAT_SERVICE,
  NAT_SERVICE_SIZE,
  NAT_SERVICES,
  NAT_SLOT,
  NAT_SOURCES,
  SERVICE_BACKEND_COUNT,
  SERVICE_BACKENDS,
  SERVICE_BY_CLIENT,
  SERVICE_IS_PORT,
  SERVICE_KIND,
  SERVICE_PORT,
  SERVICE_SLOT_COUNT,
  SERVICE_SLOTS,
} from "./tables/nat";
export {
  PEER_HEADERS,
  PEER_IS_VERIFIED,
  PEER_MTU,
  PEER_SENDER_SIZE,
  PEER_SENDERS,
  PEER_SOCKADDR_LENGTH,
  PEER_TOS_KEPT,
  PEER_TOS_SET,
} from "./tables/peer";
export {
  ASKED_FAR,
  ASKED_NEAR,
  ASKED_PORTS,
  ASKED_PROTOCOL,
  TRACE_CT_STATE,
  TRACE_LENGTH,
  TRACE_MATCHED,
  TRACE_OWNER,
  TRACE_PEER,
  TRACE_PLACE,
  TRACE_RULE,
  TRACE_STAGE,
  TRACE_VERDICT,
} from "./trace";
export { fold, sum } from "./wire/checksum";
export { isGsoBatch, sendFailed, splitGsoBatches } from "./wire-list";
