/**
 * How many leases' worth of space nobody owns any more, and how many can still be given, reckoned
 * from the disks alone. Nobody owns what was lost with a disk, or given to a node that never took it.
 */
import { type Prefix, parsePrefix } from "../address.js";
import { inside, type Network } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { freeBlocks, sizeOf } from "../lease/space.js";
import type { ClusterState } from "../state/store.js";

/** What one node has on its disk. */
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

/** What its owners can still give, or take for themselves. */
export const spare = (holdings: readonly Holding[]): number =>
  sum(holdings, (network) => total(holdings.flatMap((one) => freeOf(one, network))));

/** Over all networks, in leases. */
function sum(holdings: readonly Holding[], addresses: (network: Network) => bigint): number {
  const networks = holdings[0]?.cluster.genesis.network ?? [];
  return networks.reduce((sum, network) => {
    const lease = sizeOf({ ...parsePrefix(network.prefix), length: network.leaseLength });
    return sum + Number(addresses(network) / lease);
  }, 0);
}

/** Of its space what it has not given away. */
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
