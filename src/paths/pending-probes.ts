/** Probes that were sent and not answered yet, by their nonce. */

/** A probe that is not answered for so long has failed; one answered before the second is over has been answered after all. Milliseconds. */
export const PROBE_TIMEOUT = 2_000;
export const LATE_REPLY_WINDOW = 10_000;

interface PendingProbe<T> {
  readonly what: T;
  readonly at: number;
  /** Number of replies so far, none of them genuine. */
  replies: number;
}

export class PendingProbes<T> {
  /** In the order they were sent. */
  readonly #pending = new Map<string, PendingProbe<T>>();
  readonly #late = new Map<string, PendingProbe<T>>();

  add(nonce: string, what: T, now: number): void {
    this.#pending.set(nonce, { what, at: now, replies: 0 });
  }

  get(nonce: string): PendingProbe<T> | undefined {
    return this.#pending.get(nonce) ?? this.#late.get(nonce);
  }

  delete(nonce: string): void {
    this.#pending.delete(nonce);
    this.#late.delete(nonce);
  }

  /** Whether none can fail any more. */
  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  /** What has failed since this was asked last. */
  takeTimedOut(now: number): PendingProbe<T>[] {
    const failed: PendingProbe<T>[] = [];
    for (const [nonce, sent] of this.#pending) {
      if (now - sent.at < PROBE_TIMEOUT) break;
      this.#pending.delete(nonce);
      this.#late.set(nonce, sent);
      failed.push(sent);
    }
    for (const [nonce, { at }] of this.#late) {
      if (now - at < LATE_REPLY_WINDOW) break;
      this.#late.delete(nonce);
    }
    return failed;
  }
}
