/** Which endpoints of a record can be those of a host on this node's underlay. */
import {
  type Address,
  contains,
  isHost,
  isLoopback,
  type Prefix,
  parseEndpoint,
} from "../address.js";
import type { NodeRecord } from "./record.js";

/** What a node's own underlay is. */
export interface Underlay {
  /** This node's address there. */
  readonly address: Address;
  /** The cluster's: they are inside the overlay, endpoints outside it. */
  readonly networks: readonly Prefix[];
}

/**
 * What is wrong with the endpoints in a record, in words; nothing when other hosts can be
 * reached there. The rules are those of the configuration, so that no record can have this
 * node send packets to, or dial, what its operator could not.
 */
export function badEndpoint({ vtep, mesh }: NodeRecord, underlay: Underlay): string | undefined {
  const { address } = parseEndpoint(vtep);
  const isOurs = isLoopback(address) && isLoopback(underlay.address);
  if (!isHost(address) && !isOurs) return `says it is at ${vtep}, which is no other host's`;
  if (underlay.networks.some((network) => contains(network, address))) {
    return `says it is at ${vtep}, inside the overlay`;
  }
  const dialled = parseEndpoint(mesh).address;
  const isSame = dialled.family === address.family && dialled.value === address.value;
  return isSame ? undefined : `has its VTEP at ${vtep}, another address than its mesh`;
}
