/** Probes that were sent and not answered yet, by their nonce. */

/** A probe that is not answered for so long has failed; one answered before the second is over has been answered after all. Milliseconds. */
export const PATIENCE = 2_000;
export const LATEST = 10_000;

interface Sent<T> {
  readonly what: T;
  readonly at: number;
  /** Number of replies so far, none of them genuine. */
  replies: number;
}

export class Awaited<T> {
  /** In the order they were sent. */
  readonly #young = new Map<string, Sent<T>>();
  readonly #late = new Map<string, Sent<T>>();

  add(nonce: string, what: T, now: number): void {
    this.#young.set(nonce, { what, at: now, replies: 0 });
  }

  get(nonce: string): Sent<T> | undefined {
    return this.#young.get(nonce) ?? this.#late.get(nonce);
  }

  delete(nonce: string): void {
    this.#young.delete(nonce);
    this.#late.delete(nonce);
  }

  /** Whether none can fail any more. */
  get isEmpty(): boolean {
    return this.#young.size === 0;
  }

  /** What has failed since this was asked last. */
  failed(now: number): Sent<T>[] {
    const failed: Sent<T>[] = [];
    for (const [nonce, sent] of this.#young) {
      if (now - sent.at < PATIENCE) break;
      this.#young.delete(nonce);
      this.#late.set(nonce, sent);
      failed.push(sent);
    }
    for (const [nonce, { at }] of this.#late) {
      if (now - at < LATEST) break;
      this.#late.delete(nonce);
    }
    return failed;
  }
}
