/** Finds the node that owns an address, among the leases of all nodes. */
import { type Address, contains, covers, type Family, type Prefix, prefixOf } from "../address.js";
import type { Members } from "../policy/resolver.js";

export class Owners {
  readonly #names = new Map<string, string>();
  readonly #lengths: Record<Family, Set<number>> = { 4: new Set(), 6: new Set() };

  constructor(members: Members) {
    for (const [name, leases] of members) {
      for (const lease of leases) {
        this.#names.set(keyOf(lease), name);
        this.#lengths[lease.family].add(lease.length);
      }
    }
  }

  /** The name of the node; undefined for an address that no node owns. */
  of(address: Address): string | undefined {
    for (const length of this.#lengths[address.family]) {
      const name = this.#names.get(keyOf(prefixOf(address, length)));
      if (name !== undefined) return name;
    }
    return undefined;
  }
}

const keyOf = ({ family, base, length }: Prefix): string => `${family} ${length} ${base}`;

export const owns = (leases: readonly Prefix[], address: Address): boolean =>
  leases.some((lease) => contains(lease, address));

export const ownsAll = (leases: readonly Prefix[], prefix: Prefix): boolean =>
  leases.some((lease) => covers(lease, prefix));
