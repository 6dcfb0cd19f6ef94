/** Sent probes that await an answer, by nonce. */

/** A probe without an answer for this long has failed, in milliseconds. */
export const PROBE_TIMEOUT = 2_000;
/** Until this long after the probe, in milliseconds, a late answer still counts. */
export const LATE_REPLY_WINDOW = 10_000;

interface PendingProbe<T> {
  readonly what: T;
  readonly at: number;
  /** Number of replies so far; none was genuine. */
  replies: number;
}

export class PendingProbes<T> {
  /** In the order of sending. */
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

  /** Whether no probe can still fail. */
  get isEmpty(): boolean {
    return this.#pending.size === 0;
  }

  /** The probes that have failed since the last call. */
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
