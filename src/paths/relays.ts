/** Probes that this node forwarded for others, and the endpoints that their replies return to. */

/** How long a reply may take, in milliseconds. */
export const REPLY_WITHIN = 5_000;
export const MAX_CARRIED = 4096;

interface Carried {
  readonly from: string;
  readonly to: string;
  readonly at: number;
}

export class Relays {
  /** By nonce, the oldest first. */
  readonly #carried = new Map<string, Carried>();

  /** `from` and `to` are the endpoints of the nodes before and after this one. */
  carried(nonce: string, from: string, to: string, now: number): void {
    for (const [oldest, { at }] of this.#carried) {
      if (now - at <= REPLY_WITHIN && this.#carried.size < MAX_CARRIED) break;
      this.#carried.delete(oldest);
    }
    this.#carried.set(nonce, { from, to, at: now });
  }

  /**
   * The endpoint to return a reply to, once and within REPLY_WITHIN, if it came from where the
   * probe went.
   */
  back(nonce: string, from: string, now: number): string | undefined {
    const probe = this.#carried.get(nonce);
    if (probe?.to !== from) return undefined;
    this.#carried.delete(nonce);
    return now - probe.at <= REPLY_WITHIN ? probe.from : undefined;
  }
}
