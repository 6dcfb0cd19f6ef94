/**
 * A token bucket for each key, usually a peer's id: a new session does not refill it. A bucket that
 * is full again equals a new one, so it is dropped.
 */

import type { Clock } from "./clock.js";
import { TokenBucket } from "./token-bucket.js";

/** Most buckets that are kept. Beyond that the least recently used one is dropped, and so refilled. */
export const MAX_BUCKETS = 4096;

/** Tokens that may be spent at once, and tokens added per second. */
export interface RateLimit {
  readonly burst: number;
  readonly rate: number;
}

export class KeyedRateLimiter {
  readonly #clock: Clock;
  readonly #limit: RateLimit;
  /** By key, the most recently used last. */
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

  /** Drops full buckets from the oldest on, and others while there are too many. */
  #forget(): void {
    for (const [id, bucket] of this.#buckets) {
      if (!bucket.isFull && this.#buckets.size < MAX_BUCKETS) return;
      this.#buckets.delete(id);
    }
  }
}
