/** The TOS of outer headers, made from that of the packet inside (assembly/wire/tos.ts). */

/** DSCP of outer headers: 0 to 63, or that of the packet inside. */
export type Dscp = number | "inherit";

export const MAX_DSCP = 63;

/** An outer TOS: the bits of the inner one that are `kept`, and those that are `set`. */
export interface OuterTos {
  readonly kept: number;
  readonly set: number;
}

const DSCP_BITS = 0xfc;
const ECN_BITS = 0x03;

/** `ecn`: congestion marks reach the packet inside (RFC 6040, 4.1: else the outside has no ECN). */
export const outerTos = (dscp: Dscp, ecn: boolean): OuterTos => ({
  kept: (dscp === "inherit" ? DSCP_BITS : 0) | (ecn ? ECN_BITS : 0),
  set: dscp === "inherit" ? 0 : dscp << 2,
});
