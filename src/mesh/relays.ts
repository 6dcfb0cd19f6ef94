/** Probes this node carried on for others, and to whom their replies go back. */

/** How long a reply may take, in milliseconds. */
export const REPLY_WITHIN = 5_000;
export const MAX_CARRIED = 4096;

export class Relays {
  /** By nonce, the oldest first. */
  readonly #carried = new Map<string, { readonly from: string; readonly at: number }>();

  carried(nonce: string, from: string, now: number): void {
    for (const [oldest, { at }] of this.#carried) {
      if (now - at <= REPLY_WITHIN && this.#carried.size < MAX_CARRIED) break;
      this.#carried.delete(oldest);
    }
    this.#carried.set(nonce, { from, at: now });
  }

  /** Where the reply to this probe goes: once, and while it is not too late. */
  back(nonce: string, now: number): string | undefined {
    const probe = this.#carried.get(nonce);
    this.#carried.delete(nonce);
    return probe && now - probe.at <= REPLY_WITHIN ? probe.from : undefined;
  }
}
