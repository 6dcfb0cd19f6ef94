/** The underlay addresses from which a member's packets may come, as its probes have proved. */

/** Addresses for one member; so many fit into the dataplane's table. */
export const MAX_SENDERS = 4;
/** How long a proof counts, in milliseconds. */
export const PROOF_LASTS = 60_000;
/** An address proved within this time gives its place to no other. Milliseconds. */
const SETTLED = 10_000;

export class Senders {
  /** When each was proved last. */
  readonly #proved = new Map<string, number>();

  /** True when the addresses changed. */
  prove(address: string, now: number): boolean {
    const isNew = !this.#proved.has(address);
    if (isNew && !this.#makeRoom(now)) return false;
    this.#proved.set(address, now);
    return isNew;
  }

  /** True when the addresses changed. */
  expire(now: number): boolean {
    const before = this.#proved.size;
    for (const [address, at] of this.#proved) {
      if (now - at > PROOF_LASTS) this.#proved.delete(address);
    }
    return this.#proved.size < before;
  }

  get size(): number {
    return this.#proved.size;
  }

  has(address: string): boolean {
    return this.#proved.has(address);
  }

  get addresses(): string[] {
    return [...this.#proved.keys()].sort();
  }

  #makeRoom(now: number): boolean {
    if (this.#proved.size < MAX_SENDERS) return true;
    const [oldest, at] = [...this.#proved].reduce((a, b) => (b[1] < a[1] ? b : a));
    if (now - at < SETTLED) return false;
    this.#proved.delete(oldest);
    return true;
  }
}
