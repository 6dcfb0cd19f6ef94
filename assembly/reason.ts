/**
 * The reasons for which packets are not delivered. Each is a number and a counter; its sentence is in
 * src/core/reasons.ts, in the same order.
 *
 * A stage returns 0 to continue, or one of these.
 */

// Any packet
export const TRUNCATED: i32 = 1;
export const NOT_IP: i32 = 2;
export const BAD_HEADER: i32 = 3;
export const BAD_CHECKSUM: i32 = 4;
export const HEADER_CHAIN: i32 = 5;
export const MARTIAN_SOURCE: i32 = 6;
export const MARTIAN_DESTINATION: i32 = 7;

// From the device
export const BAD_OFFLOAD: i32 = 8;
export const NO_ROUTE: i32 = 9;
export const NO_HOST: i32 = 10;
export const TTL_EXCEEDED: i32 = 11;
export const TOO_BIG: i32 = 12;

// From the wire
export const NOT_VXLAN: i32 = 13;
export const WRONG_VNI: i32 = 14;
export const UNKNOWN_PEER: i32 = 15;
export const SPOOFED_SOURCE: i32 = 16;
export const RELAY_LOOP: i32 = 17;

// From the kernel, at the last step
export const SEND_BUFFER_FULL: i32 = 18;
export const SEND_FAILED: i32 = 19;
export const DEVICE_BUFFER_FULL: i32 = 20;
export const DEVICE_FAILED: i32 = 21;

// From the access lists: of the sending node, of the receiving node
export const DENIED_EGRESS: i32 = 22;
export const DENIED_INGRESS: i32 = 23;

// From the state of connections and datagrams, where a policy decides
export const INVALID_STATE: i32 = 24;
export const FLOW_TABLE_FULL: i32 = 25;
export const FRAGMENT_BEFORE_FIRST: i32 = 26;
export const TINY_FRAGMENT: i32 = 27;
export const FRAGMENT_OVERLAP: i32 = 28;

// From the options and extension headers
export const SOURCE_ROUTE: i32 = 29;

// Before the policy is known
export const POLICY_UNKNOWN: i32 = 30;

// Where no path to the peer has answered a probe yet
export const NO_PATH: i32 = 31;

// From the congestion marks of the underlay
export const NOT_ECN_CAPABLE: i32 = 32;

// From the translation of addresses
export const NAT_EXHAUSTED: i32 = 33;
export const NOT_TRANSLATABLE: i32 = 34;
export const NO_BACKEND: i32 = 35;
export const NO_GATEWAY: i32 = 36;

/** Number of reasons, including 0 (delivered). */
export const REASONS: i32 = 37;

/** Bit set beside the reason when the sender got an ICMP error. */
export const ANSWERED: i32 = 0x100;
