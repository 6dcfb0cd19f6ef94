/** `Owners` finds the owner of an address from the proofs of leases: each grant moves space to its receiver. */
import { formatPrefix, type Prefix, prefixOf } from "../address.js";
import type { Genesis } from "./genesis.js";
import type { Proof } from "./grant.js";

/** A granted space, and the public key of the node that owns all of it that it has not granted on. */
export interface Owned {
  readonly prefix: string;
  readonly owner: string;
}

export class Owners {
  readonly #owners = new Map<string, string>();

  constructor(genesis: Genesis, proofs: Iterable<Proof>) {
    for (const { prefix } of genesis.network) this.#owners.set(prefix, genesis.founder);
    for (const proof of proofs) for (const { prefix, to } of proof) this.#owners.set(prefix, to);
  }

  /** The smallest space that covers a prefix; undefined for one outside of the cluster network. */
  around({ family, base, length }: Prefix): Owned | undefined {
    for (let shorter = length; shorter >= 0; shorter--) {
      const prefix = formatPrefix(prefixOf({ family, value: base }, shorter));
      const owner = this.#owners.get(prefix);
      if (owner !== undefined) return { prefix, owner };
    }
    return undefined;
  }
}
