/**
 * Why a packet was not delivered: one number, one counter. The sentence for
 * each stands in src/core/reasons.ts, in the same order.
 *
 * A stage returns 0 to go on, or one of these.
 */

// Any packet
export const TRUNCATED: i32 = 1;
export const NOT_IPV4: i32 = 2;
export const BAD_HEADER: i32 = 3;
export const BAD_CHECKSUM: i32 = 4;
export const MARTIAN_SOURCE: i32 = 5;
export const MARTIAN_DESTINATION: i32 = 6;

// From the device
export const BAD_OFFLOAD: i32 = 7;
export const NO_ROUTE: i32 = 8;
export const NO_HOST: i32 = 9;
export const TTL_EXCEEDED: i32 = 10;
export const TOO_BIG: i32 = 11;

// From the wire
export const NOT_VXLAN: i32 = 12;
export const WRONG_VNI: i32 = 13;
export const UNKNOWN_PEER: i32 = 14;
export const SPOOFED_SOURCE: i32 = 15;
export const NOT_LOCAL: i32 = 16;

// From the kernel, at the last step
export const SEND_BUFFER_FULL: i32 = 17;
export const SEND_FAILED: i32 = 18;
export const DEVICE_BUFFER_FULL: i32 = 19;
export const DEVICE_FAILED: i32 = 20;

/** How many there are, 0 (delivered) included. */
export const REASONS: i32 = 21;

/** Set beside the reason when the sender got an ICMP answer instead of silence. */
export const ANSWERED: i32 = 0x100;
