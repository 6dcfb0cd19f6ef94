/**
 * The underlay endpoints (address and UDP port) that a member's packets come from,
 * as probes have proved: its own, where it answered a probe that this node sent
 * there; and those of relays, which carried a probe along a path that it signed.
 */

/** Most endpoints of one member, as many as fit into the dataplane's table. */
export const MAX_ALLOWED_SOURCES = 4;
/** How long a proof counts, in milliseconds. */
export const PROOF_TTL = 60_000;
/** An endpoint proved within this time is not evicted for one of the same kind. Milliseconds. */
const EVICTABLE_AFTER = 10_000;

interface Proof {
  /** When it was proved last. */
  at: number;
  /** The member itself answered there; otherwise a relay carries for it. */
  isOwn: boolean;
}

export class AllowedSources {
  readonly #proofs = new Map<string, Proof>();

  /** The member answered a probe from there. True when the endpoints changed. */
  answered(endpoint: string, now: number): boolean {
    return this.#prove(endpoint, now, true);
  }

  /** A relay at this endpoint carried its probe. True when the endpoints changed. */
  carried(endpoint: string, now: number): boolean {
    return this.#prove(endpoint, now, false);
  }

  /** Forgets endpoints proved too long ago, except `kept`. True when the endpoints changed. */
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

  /** The endpoint at which the member itself answered last. */
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

  /** Evicts the oldest; relays' endpoints first, and at once for one of the member's own. */
  #makeRoom(now: number, isOwn: boolean): boolean {
    if (this.size < MAX_ALLOWED_SOURCES) return true;
    const [endpoint, oldest] = [...this.#proofs].toSorted(
      ([, a], [, b]) => Number(a.isOwn) - Number(b.isOwn) || a.at - b.at,
    )[0]!;
    const outranked = isOwn && !oldest.isOwn;
    return (outranked || now - oldest.at >= EVICTABLE_AFTER) && this.#proofs.delete(endpoint);
  }
}
