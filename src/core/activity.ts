/** To which peers packets went of late: what was sent to each is compared with what it was when last asked. */
import type { Core } from "./instance.js";

export class Activity {
  readonly #core: Core;
  /** By place in the table of peers, modulo 2^32. */
  readonly #seen: Uint32Array;

  constructor(core: Core) {
    this.#core = core;
    this.#seen = new Uint32Array(core.layout.MAX_PEERS);
  }

  /** Did packets go to the peer at this place since this was asked last? */
  take(index: number): boolean {
    const { view, layout } = this.#core;
    const sent = view.getUint32(layout.TRAFFIC + index * layout.TRAFFIC_SIZE, true);
    const before = this.#seen[index];
    this.#seen[index] = sent;
    return sent !== before && sent !== 0;
  }
}
