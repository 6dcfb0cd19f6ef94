/**
 * The underlay endpoints (address and UDP port) from which a member's packets are accepted. Probes
 * prove them: the member answered a probe at its own endpoints, and its relays carried a probe along
 * a path that it signed.
 */

/** Most endpoints of one member: as many as fit into the dataplane's table. */
export const MAX_ALLOWED_SOURCES = 4;
/** How long a proof is valid, in milliseconds. */
export const PROOF_TTL = 60_000;
/** An endpoint proved within this time is not evicted for another of its kind. In milliseconds. */
const EVICTABLE_AFTER = 10_000;

interface Proof {
  /** When it was last proved. */
  at: number;
  /** Whether the member itself answered there; otherwise it is a relay's. */
  isOwn: boolean;
}

export class AllowedSources {
  readonly #proofs = new Map<string, Proof>();

  /** Records that the member answered a probe there. True when the endpoints changed. */
  answered(endpoint: string, now: number): boolean {
    return this.#prove(endpoint, now, true);
  }

  /** Records that a relay at this endpoint carried its probe. True when the endpoints changed. */
  carried(endpoint: string, now: number): boolean {
    return this.#prove(endpoint, now, false);
  }

  /** Drops endpoints whose proof is older than PROOF_TTL, except the own endpoint `kept`. True when the endpoints changed. */
  expire(now: number, kept: string): boolean {
    const before = this.size;
    for (const [endpoint, { at, isOwn }] of this.#proofs) {
      const isKept = isOwn && endpoint === kept;
      if (!isKept && now - at > PROOF_TTL) this.#proofs.delete(endpoint);
    }
    return this.size < before;
  }

  get size(): number {
    return this.#proofs.size;
  }

  has(endpoint: string): boolean {
    return this.#proofs.has(endpoint);
  }

  /** Whether the member itself answered there. */
  hasAnswered(endpoint: string): boolean {
    return this.#proofs.get(endpoint)?.isOwn ?? false;
  }

  get endpoints(): string[] {
    return [...this.#proofs.keys()].sort();
  }

  /** The endpoint at which the member itself last answered. */
  get answeredLast(): string | undefined {
    const own = [...this.#proofs].filter(([, { isOwn }]) => isOwn);
    return own.toSorted(([, a], [, b]) => b.at - a.at)[0]?.[0];
  }

  #prove(endpoint: string, now: number, isOwn: boolean): boolean {
    const known = this.#proofs.get(endpoint);
    if (!known && !this.#makeRoom(now, isOwn)) return false;
    this.#proofs.set(endpoint, { at: now, isOwn: isOwn || (known?.isOwn ?? false) });
    return !known;
  }

  /** Evicts the oldest endpoint, relays' first. An own endpoint evicts a relay's at any age. False when none may go. */
  #makeRoom(now: number, isOwn: boolean): boolean {
    if (this.size < MAX_ALLOWED_SOURCES) return true;
    const [endpoint, oldest] = [...this.#proofs].toSorted(
      ([, a], [, b]) => Number(a.isOwn) - Number(b.isOwn) || a.at - b.at,
    )[0]!;
    const outranked = isOwn && !oldest.isOwn;
    return (outranked || now - oldest.at >= EVICTABLE_AFTER) && this.#proofs.delete(endpoint);
  }
}
