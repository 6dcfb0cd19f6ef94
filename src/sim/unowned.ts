/**
 * How many leases' worth of space nobody owns any more, reckoned from the disks alone: what was
 * lost with a disk, and what was given to a node that never took it.
 */
import { parsePrefix } from "../address.js";
import { inside, type Network } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { freeBlocks, sizeOf } from "../lease/space.js";
import type { ClusterState } from "../lease/store.js";

/** What one node has on its disk. */
export interface Holding {
  readonly publicKey: string;
  readonly cluster: ClusterState;
}

export function unowned(holdings: readonly Holding[]): number {
  const networks = holdings[0]?.cluster.genesis.network ?? [];
  return networks.reduce((sum, network) => sum + unownedIn(network, holdings), 0);
}

function unownedIn(network: Network, holdings: readonly Holding[]): number {
  const whole = parsePrefix(network.prefix);
  const owned = holdings.reduce((sum, holding) => sum + ownedBy(holding, network), 0n);
  const lease = sizeOf({ ...whole, length: network.leaseLength });
  return Number((sizeOf(whole) - owned) / lease);
}

/** Addresses: its leases, and of its space what it has not given away. */
function ownedBy({ publicKey, cluster }: Holding, network: Network): bigint {
  const { genesis, journal, spaces, leases } = cluster;
  const isHere = (prefix: string) => inside(network.prefix, prefix);
  const given = journal
    .filter(({ prefix, signature }) => isHere(prefix) && !cluster.void.includes(signature))
    .map(({ prefix }) => parsePrefix(prefix));
  const own =
    genesis.founder === publicKey ? [network.prefix] : spaces.map(subnetOf).filter(isHere);
  const free = own.flatMap((space) => freeBlocks(parsePrefix(space), given, network.leaseLength));
  const held = leases.map(subnetOf).filter(isHere).map(parsePrefix);
  return [...free, ...held].reduce((sum, prefix) => sum + sizeOf(prefix), 0n);
}
