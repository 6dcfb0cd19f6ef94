/** The source of a connection between two ends on this node whose replies must pass the core. */
import { type Address, type Family, type Prefix, parseAddress } from "../address.js";

/** For IPv4: an address that only the host's route to the device leads to. */
export const HAIRPIN_ADDRESS = parseAddress("169.254.1.2");

/** For IPv6 an address of the lease; undefined without one. */
export function hairpinAddress(family: Family, leases: readonly Prefix[]): Address | undefined {
  if (family === 4) return HAIRPIN_ADDRESS;
  const lease = leases.find((one) => one.family === 6);
  return lease && { family, value: lease.base | 0xffffn };
}
