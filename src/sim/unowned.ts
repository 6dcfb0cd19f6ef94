/**
 * Computes from the disks alone how much space has no owner any more, and how much can still be
 * granted, in leases. Space without an owner was lost with a disk, or granted to a node that never
 * accepted it.
 */
import { type Prefix, parsePrefix } from "../address.js";
import { inside, type Network } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { freeBlocks, sizeOf } from "../lease/space.js";
import type { ClusterState } from "../state/store.js";

/** The cluster state on one node's disk. */
export interface Holding {
  readonly publicKey: string;
  readonly cluster: ClusterState;
}

export function unowned(holdings: readonly Holding[]): number {
  return sum(holdings, (network) => {
    const parts = holdings.flatMap((one) => [...freeOf(one, network), ...heldBy(one, network)]);
    return sizeOf(parsePrefix(network.prefix)) - total(parts);
  });
}

/** Space that its owners can still grant, or take as their own leases, in leases. */
export const spare = (holdings: readonly Holding[]): number =>
  sum(holdings, (network) => total(holdings.flatMap((one) => freeOf(one, network))));

/** The sum of these addresses over all networks, in leases. */
function sum(holdings: readonly Holding[], addresses: (network: Network) => bigint): number {
  const networks = holdings[0]?.cluster.genesis.network ?? [];
  return networks.reduce((sum, network) => {
    const lease = sizeOf({ ...parsePrefix(network.prefix), length: network.leaseLength });
    return sum + Number(addresses(network) / lease);
  }, 0);
}

/** The blocks of a node's space that it has not granted. */
function freeOf({ publicKey, cluster }: Holding, network: Network): Prefix[] {
  const { genesis, journal, spaces } = cluster;
  const isHere = (prefix: string) => inside(network.prefix, prefix);
  const given = journal
    .filter(({ prefix, signature }) => isHere(prefix) && !cluster.revoked.includes(signature))
    .map(({ prefix }) => parsePrefix(prefix));
  const own =
    genesis.founder === publicKey ? [network.prefix] : spaces.map(subnetOf).filter(isHere);
  return own.flatMap((space) => freeBlocks(parsePrefix(space), given, network.leaseLength));
}

const heldBy = ({ cluster }: Holding, network: Network): Prefix[] =>
  cluster.leases
    .map(subnetOf)
    .filter((subnet) => inside(network.prefix, subnet))
    .map(parsePrefix);

const total = (prefixes: readonly Prefix[]): bigint =>
  prefixes.reduce((sum, prefix) => sum + sizeOf(prefix), 0n);
