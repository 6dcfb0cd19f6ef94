/** Probes that this node forwarded as a relay, and the endpoints to which it returns their replies. */

/** How long a reply may take, in milliseconds. */
export const REPLY_TIMEOUT = 5_000;
/** Most remembered probes. Beyond that the oldest is forgotten. */
export const MAX_FORWARDED = 4096;

interface ForwardedProbe {
  readonly from: string;
  readonly to: string;
  readonly at: number;
}

export class ForwardedProbes {
  /** By nonce, the oldest first. */
  readonly #probes = new Map<string, ForwardedProbe>();

  /** `from` and `to` are the endpoints of the nodes before and after this one. */
  add(nonce: string, from: string, to: string, now: number): void {
    for (const [oldest, { at }] of this.#probes) {
      if (now - at <= REPLY_TIMEOUT && this.#probes.size < MAX_FORWARDED) break;
      this.#probes.delete(oldest);
    }
    this.#probes.set(nonce, { from, to, at: now });
  }

  /**
   * The endpoint to return a reply to. Given once, within REPLY_TIMEOUT, and only for a reply from
   * the endpoint that the probe was sent to.
   */
  takeReturn(nonce: string, from: string, now: number): string | undefined {
    const probe = this.#probes.get(nonce);
    if (probe?.to !== from) return undefined;
    this.#probes.delete(nonce);
    return now - probe.at <= REPLY_TIMEOUT ? probe.from : undefined;
  }
}
