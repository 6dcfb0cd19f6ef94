/** Finds the node that owns an address, among the leases of all nodes. */
import { type Address, contains, covers, type Family, type Prefix, prefixOf } from "../address.js";
import type { Members } from "../policy/resolver.js";

export class Owners {
  /** By family and length: the names by the base of the lease. */
  readonly #leases: Record<Family, Map<number, Map<bigint, string>>> = {
    4: new Map(),
    6: new Map(),
  };

  constructor(members: Members) {
    for (const [name, leases] of members) {
      for (const { family, length, base } of leases) {
        const some = this.#leases[family].get(length) ?? new Map<bigint, string>();
        this.#leases[family].set(length, some.set(base, name));
      }
    }
  }

  /** The name of the node; undefined for an address that no node owns. */
  of(address: Address): string | undefined {
    for (const [length, names] of this.#leases[address.family]) {
      const name = names.get(prefixOf(address, length).base);
      if (name !== undefined) return name;
    }
    return undefined;
  }
}

export const owns = (leases: readonly Prefix[], address: Address): boolean =>
  leases.some((lease) => contains(lease, address));

export const ownsAll = (leases: readonly Prefix[], prefix: Prefix): boolean =>
  leases.some((lease) => covers(lease, prefix));
