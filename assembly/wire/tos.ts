/**
 * The TOS of IPv4 and the traffic class of IPv6 (RFC 2474, 3; RFC 3168, 5).
 *
 *     0   1   2   3   4   5   6   7
 *   +---+---+---+---+---+---+---+---+
 *   |         DSCP          |  ECN  |
 *   +---+---+---+---+---+---+---+---+
 */
export const ECN_MASK: u32 = 3;

export const NOT_ECT: u32 = 0;
export const ECT_1: u32 = 1;
export const ECT_0: u32 = 2;
export const CE: u32 = 3;
