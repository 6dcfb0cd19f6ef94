/** The genesis of the cluster that a node's options ask for, and whether another one fits them. */
import { formatPrefix, type Prefix, parsePrefix } from "../address.js";
import { WeftError } from "../error.js";
import {
  type Cluster,
  describeNetworks,
  type Genesis,
  genesisSchema,
  KEEP_ONE,
} from "../lease/genesis.js";
import type { MeshOptions } from "./options.js";

/** Of leases, where none is asked for. */
export const LEASE_LENGTH = { 4: 24, 6: 64 } as const;

type Wanted = Pick<MeshOptions, "network" | "leaseLength" | "leaseLength6">;

/** @throws WeftError when there can be no such cluster */
export function genesisOf(options: Wanted, founder: string): Genesis {
  const network = (options.network ?? []).map((prefix) => ({
    prefix: formatPrefix(prefix),
    leaseLength: leaseLength(options, prefix) ?? LEASE_LENGTH[prefix.family],
  }));
  const genesis = { network, founder };
  const checked = genesisSchema.safeParse(genesis);
  if (checked.success) return checked.data;
  throw new WeftError(
    "NETWORK",
    `a cluster cannot be founded on ${describeNetworks(genesis) || "nothing"}`,
    "the lease length must be at least the network's, and networks must not overlap",
  );
}

/** Why a node with these options cannot be in the cluster of this genesis, if it cannot. */
export function contradiction(options: Wanted, genesis: Genesis): WeftError | undefined {
  const given = options.network?.map(formatPrefix);
  const length = new Map(genesis.network.map(({ prefix, leaseLength }) => [prefix, leaseLength]));
  const wanted = (given ?? [...length.keys()]).map((prefix) => ({
    prefix,
    leaseLength: leaseLength(options, parsePrefix(prefix)) ?? length.get(prefix),
  }));
  const fits = ({ prefix, leaseLength }: (typeof wanted)[number]) =>
    length.has(prefix) && length.get(prefix) === leaseLength;
  if (wanted.length === length.size && wanted.every(fits)) return undefined;
  return new WeftError(
    "OTHER_NETWORK",
    `the cluster's network is ${describeNetworks(genesis)}, this node was started with ${describeNetworks({ network: wanted })}`,
    "leave out --network, --subnet-len and --subnet-len-6; or use another --state directory for another cluster",
  );
}

/** Two clusters have grown apart, or together: nothing of them is merged. */
export const twoClusters = (known: Cluster, other: Cluster): WeftError =>
  new WeftError(
    "OTHER_CLUSTER",
    `two clusters meet: one with network ${describeNetworks(known.genesis)} (${known.id}), one with ${describeNetworks(other.genesis)} (${other.id})`,
    KEEP_ONE,
  );

const leaseLength = (options: Wanted, { family }: Prefix): number | undefined =>
  family === 4 ? options.leaseLength : options.leaseLength6;
