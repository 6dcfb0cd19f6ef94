/**
 * A budget for each peer, whatever sessions it has one after another. One that
 * is full again is as good as a new one, so it need not be kept.
 */

import type { Clock } from "./clock.js";
import { TokenBucket } from "./token-bucket.js";

/** Peers whose budgets are kept; of more, those that spent longest ago are as new. */
export const MAX_BUCKETS = 4096;

/** So much at once, and so much a second after that. */
export interface RateLimit {
  readonly burst: number;
  readonly rate: number;
}

export class KeyedRateLimiter {
  readonly #clock: Clock;
  readonly #limit: RateLimit;
  /** By the peer's id. Who spent last comes last. */
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clock: Clock, limit: RateLimit) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get size(): number {
    return this.#buckets.size;
  }

  of(id: string): TokenBucket {
    const { burst, rate } = this.#limit;
    const bucket = this.#buckets.get(id) ?? new TokenBucket(this.#clock, burst, rate);
    this.#buckets.delete(id);
    this.#forget();
    this.#buckets.set(id, bucket);
    return bucket;
  }

  #forget(): void {
    for (const [id, bucket] of this.#buckets) {
      if (!bucket.isFull && this.#buckets.size < MAX_BUCKETS) return;
      this.#buckets.delete(id);
    }
  }
}
