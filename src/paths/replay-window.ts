/**
 * Accepts each probe of a member once (RFC 4303, 3.4.3), so that replayed probes have no effect.
 * Probes that take different paths may overtake each other by up to WINDOW.
 */

import { evictOldest } from "../evict-oldest.js";
import { MAX_RECORDS } from "../gossip/members.js";

export const WINDOW = 256;
/** Most nodes with a window, former members included. */
const MAX_WINDOWS = 2 * MAX_RECORDS;

/** One window for each node. It outlasts membership, so a node that leaves and returns in one run keeps it. */
export class ReplayWindows {
  readonly #windows = new Map<string, ReplayWindow>();

  /** False when the probe with this count was accepted before or is older than the window. */
  accept({ id, epoch }: { readonly id: string; readonly epoch: string }, count: number): boolean {
    const window = this.#windows.get(id) ?? new ReplayWindow();
    this.#windows.delete(id);
    this.#windows.set(id, window);
    evictOldest(this.#windows, MAX_WINDOWS);
    return window.accept(epoch, count);
  }
}

export class ReplayWindow {
  #epoch: string | undefined;
  #newest = 0;
  /** A bit for each count of the window, at the count modulo WINDOW. */
  readonly #seen = new Uint32Array(WINDOW / 32);

  /**
   * False when the count was accepted before or is older than the window. A new epoch resets the
   * window. Counts wrap at 2^32: of two, the one less than 2^31 ahead is newer (RFC 1982).
   */
  accept(epoch: string, count: number): boolean {
    if (epoch !== this.#epoch) this.#begin(epoch, count);
    const ahead = (count - this.#newest) | 0;
    if (ahead <= -WINDOW) return false;
    if (ahead > 0) this.#moveTo(count, ahead);
    const [word, bit] = [(count % WINDOW) >> 5, 1 << (count % 32)];
    if ((this.#seen[word]! & bit) !== 0) return false;
    this.#seen[word]! |= bit;
    return true;
  }

  #begin(epoch: string, count: number): void {
    this.#epoch = epoch;
    this.#newest = count;
    this.#seen.fill(0);
  }

  /** Clears the bits of counts that enter the window. */
  #moveTo(newest: number, ahead: number): void {
    for (let i = 0; i < Math.min(ahead, WINDOW); i++) {
      const count = (newest - i) >>> 0;
      this.#seen[(count % WINDOW) >> 5]! &= ~(1 << (count % 32));
    }
    this.#newest = newest;
  }
}
