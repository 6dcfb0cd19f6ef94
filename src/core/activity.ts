/**
 * Finds the peers to which packets went recently, or would have gone if there were a path, by
 * comparing each peer's counters with those at the last call.
 */
import type { Core } from "./instance.js";

export class Activity {
  readonly #core: Core;
  /** Packets by position in the table of peers, modulo 2^32. */
  readonly #seen: Uint32Array;

  constructor(core: Core) {
    this.#core = core;
    this.#seen = new Uint32Array(core.layout.MAX_PEERS);
  }

  /** The counters at the last call, of positions where there were any. */
  get seen(): (readonly [place: number, packets: number])[] {
    return [...this.#seen.entries()].filter(([, packets]) => packets > 0);
  }

  set seen(seen: Iterable<readonly [place: number, packets: number]>) {
    for (const [place, packets] of seen) this.#seen[place] = packets;
  }

  /** Whether there were packets for the peer at this position since the last call. */
  take(index: number): boolean {
    const { view, layout } = this.#core;
    const at = layout.TRAFFIC + index * layout.TRAFFIC_SIZE;
    const sent = view.getUint32(at + layout.TRAFFIC_SENT, true);
    const count = (sent + view.getUint32(at + layout.TRAFFIC_NO_PATH, true)) >>> 0;
    const before = this.#seen[index];
    this.#seen[index] = count;
    return count !== before && count !== 0;
  }
}
