/**
 * Where each MAC address is: one VTEP has it, at one endpoint. Peers that are
 * reached through the same VTEP share both.
 */
import type { Peer } from "../peer.js";

export class Macs {
  readonly #known = new Map<string, { readonly endpoint: string; bearers: number }>();

  /** A peer whose MAC address would be at another endpoint, too, if these went and those came; nothing changes yet. */
  conflict(gone: readonly Peer[], come: readonly Peer[]): Peer | undefined {
    const leaving = new Map<string, number>();
    for (const peer of gone) leaving.set(key(peer), (leaving.get(key(peer)) ?? 0) + 1);
    const coming = new Map<string, string>();
    return come.find((peer) => {
      const known = this.#known.get(key(peer));
      const stays = known && known.bearers > (leaving.get(key(peer)) ?? 0);
      const endpoint = stays ? known.endpoint : (coming.get(key(peer)) ?? peer.endpoint);
      coming.set(key(peer), endpoint);
      return endpoint !== peer.endpoint;
    });
  }

  /** To be asked for a conflict first. */
  exchange(gone: readonly Peer[], come: readonly Peer[]): void {
    for (const peer of gone) {
      const known = this.#known.get(key(peer))!;
      if (--known.bearers === 0) this.#known.delete(key(peer));
    }
    for (const peer of come) {
      const known = this.#known.get(key(peer));
      if (known) known.bearers++;
      else this.#known.set(key(peer), { endpoint: peer.endpoint, bearers: 1 });
    }
  }
}

const key = ({ mac }: Peer): string => mac.toLowerCase();
