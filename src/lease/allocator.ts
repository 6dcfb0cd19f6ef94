/**
 * What an owner of free space does when it is asked for some. The journal of
 * grants made is on disk before a grant leaves the node: see docs/leases.md.
 */
import type { Prefix } from "../address.js";
import { WeftError } from "../error.js";
import type { Identity } from "../mesh/identity.js";
import { type Cluster, describe, inside, type Network, subnets } from "./genesis.js";
import { type Grant, type Proof, signGrant } from "./grant.js";

export interface AllocatorParts {
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Every grant made so far. */
  readonly journal: readonly Grant[];
  /** Space that is never given. */
  readonly reserved: readonly Prefix[];
  /** Writes the journal to disk, or throws. */
  save(journal: readonly Grant[]): void;
}

export class Allocator {
  readonly #parts: AllocatorParts;
  #journal: readonly Grant[];

  constructor(parts: AllocatorParts) {
    this.#parts = parts;
    this.#journal = parts.journal;
  }

  /**
   * One lease in each network for the holder of this public key: the ones it
   * already has, or fresh ones. Answers with the reason when there are none.
   */
  give(to: string): Proof[] | WeftError {
    const { identity, cluster, reserved, save } = this.#parts;
    if (cluster.genesis.founder !== identity.publicKey) return NOT_AN_OWNER;
    const journal = [...this.#journal];
    const proofs: Proof[] = [];
    for (const network of cluster.genesis.network) {
      const had = journal.find((grant) => grant.to === to && inside(network.prefix, grant.prefix));
      if (had) {
        proofs.push([had]);
        continue;
      }
      const prefix = free(network, journal, reserved);
      if (prefix === undefined) return full(cluster);
      const grant = signGrant(identity, cluster, { prefix, to, sequence: journal.length + 1 });
      journal.push(grant);
      proofs.push([grant]);
    }
    if (journal.length > this.#journal.length) {
      save(journal);
      this.#journal = journal;
    }
    return proofs;
  }
}

function free(
  network: Network,
  journal: readonly Grant[],
  reserved: readonly Prefix[],
): string | undefined {
  const taken = new Set(journal.map(({ prefix }) => prefix));
  for (const subnet of subnets(network, reserved)) if (!taken.has(subnet)) return subnet;
  return undefined;
}

const NOT_AN_OWNER = new WeftError(
  "NOT_AN_OWNER",
  "this node owns no free space",
  "ask the node that founded the cluster",
);

const full = ({ genesis }: Cluster): WeftError =>
  new WeftError(
    "NETWORK_FULL",
    `every subnet of the cluster network is given away (${describe(genesis)})`,
    "found a cluster with a larger --network or a longer --subnet-len or --subnet-len-6",
  );
