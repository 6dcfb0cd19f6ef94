/** Checks that the endpoints in a record can belong to a host on this node's underlay. */
import {
  type Address,
  contains,
  isHost,
  isLoopback,
  isSameAddress,
  type Prefix,
  parseEndpoint,
} from "../address.js";
import type { NodeRecord } from "./record.js";

/** A node's own underlay. */
export interface Underlay {
  /** This node's underlay address. */
  readonly address: Address;
  /** The cluster's networks: endpoints must lie outside them. */
  readonly networks: readonly Prefix[];
}

/**
 * Says what is wrong with the endpoints in a record; nothing when they can belong to another host.
 * The rules are those of the configuration, so no record can make this node send packets to, or
 * dial, an address that its operator could not configure.
 */
export function badEndpoint({ vtep, mesh }: NodeRecord, underlay: Underlay): string | undefined {
  const { address } = parseEndpoint(vtep);
  const isOurs = isLoopback(address) && isLoopback(underlay.address);
  if (!isHost(address) && !isOurs) return `says it is at ${vtep}, which is no other host's`;
  if (underlay.networks.some((network) => contains(network, address))) {
    return `says it is at ${vtep}, inside the overlay`;
  }
  const dialled = parseEndpoint(mesh).address;
  const isSame = isSameAddress(dialled, address);
  return isSame ? undefined : `has its VTEP at ${vtep}, another address than its mesh`;
}
