/** This node's own addresses, as rules of translation have addresses: 16 bytes, IPv4 followed by zeros. */
import { HAIRPIN_ADDRESS, HAIRPIN_ADDRESS_6, OWN_ADDRESS, OWN_ADDRESS_6 } from "./memory";

/** The overlay address. */
export function ownAddress(family: u32): v128 {
  return family == 4 ? v128.load32_zero(OWN_ADDRESS) : v128.load(OWN_ADDRESS_6);
}

/** The source of a connection between two ends on this node, so that its replies pass the core. */
export function hairpinAddress(family: u32): v128 {
  return family == 4 ? v128.load32_zero(HAIRPIN_ADDRESS) : v128.load(HAIRPIN_ADDRESS_6);
}
