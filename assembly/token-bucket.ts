/**
 * A token bucket: a use takes a token, and a second refills the whole bucket. Zeros are a full bucket.
 *
 *   0        8         16
 *   +--------+---------+
 *   | missing| updated |
 *   +--------+---------+
 */
import { CLOCK } from "./memory";

@unmanaged
export class TokenBucket {
  /** Tokens missing from a full bucket at `updated`. */
  missing: f64;
  /** CLOCK of the last update, milliseconds. */
  updated: f64;
}

/** Whether a token is left in a bucket of `rate` tokens, which gains `rate` tokens a second. */
export function hasToken(bucket: TokenBucket, rate: f64): bool {
  const now = load<f64>(CLOCK);
  bucket.missing = max<f64>(0, bucket.missing - ((now - bucket.updated) * rate) / 1000);
  bucket.updated = now;
  return bucket.missing + 1 <= rate;
}

/** Call it only after `hasToken` returned true. */
export function takeToken(bucket: TokenBucket): void {
  bucket.missing += 1;
}
