/** The TOS of outer headers, derived from that of the inner packet (assembly/wire/tos.ts). */

/** DSCP of outer headers: 0 to 63, or that of the inner packet. */
export type Dscp = number | "inherit";

export const MAX_DSCP = 63;

/** Masks that make an outer TOS: the bits `kept` of the inner TOS, and the bits `set`. */
export interface OuterTos {
  readonly kept: number;
  readonly set: number;
}

const DSCP_BITS = 0xfc;
const ECN_BITS = 0x03;

/** `ecn` tells whether congestion marks are copied to inner packets. If not, outer headers have no ECN (RFC 6040, 4.1). */
export const outerTos = (dscp: Dscp, ecn: boolean): OuterTos => ({
  kept: (dscp === "inherit" ? DSCP_BITS : 0) | (ecn ? ECN_BITS : 0),
  set: dscp === "inherit" ? 0 : dscp << 2,
});
