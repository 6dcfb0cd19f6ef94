/**
 * Accepts each probe of a member once (RFC 4303, 3.4.3), so that nobody gains by
 * sending again what was recorded. Probes that take different paths may overtake
 * each other by up to WINDOW.
 */
import { MAX_RECORDS } from "./members.js";
import { dropOldest } from "./oldest.js";

export const WINDOW = 256;
/** Members of which a window is kept, whether they are members now or not. */
export const MAX_WINDOWS = 2 * MAX_RECORDS;

/** One for each member. A member that goes and comes back in one run finds its own again. */
export class ReplayWindows {
  readonly #windows = new Map<string, ReplayWindow>();

  /** False when the probe of this number was accepted before, or is too old to tell. */
  accept({ id, epoch }: { readonly id: string; readonly epoch: string }, count: number): boolean {
    const window = this.#windows.get(id) ?? new ReplayWindow();
    this.#windows.delete(id);
    this.#windows.set(id, window);
    dropOldest(this.#windows, MAX_WINDOWS);
    return window.accept(epoch, count);
  }
}

export class ReplayWindow {
  #epoch = "";
  #newest = -1;
  /** A bit for each count of the window, at its remainder by WINDOW. */
  readonly #seen = new Uint32Array(WINDOW / 32);

  /** False when it was accepted before, or is too old to tell. Another epoch begins anew. */
  accept(epoch: string, count: number): boolean {
    if (epoch !== this.#epoch) this.#begin(epoch);
    if (count <= this.#newest - WINDOW) return false;
    if (count > this.#newest) this.#moveTo(count);
    const [word, bit] = [(count % WINDOW) >> 5, 1 << (count % 32)];
    if ((this.#seen[word]! & bit) !== 0) return false;
    this.#seen[word]! |= bit;
    return true;
  }

  #begin(epoch: string): void {
    this.#epoch = epoch;
    this.#newest = -1;
    this.#seen.fill(0);
  }

  /** Counts that come into the window were not seen. */
  #moveTo(newest: number): void {
    for (let count = Math.max(this.#newest + 1, newest - WINDOW + 1); count <= newest; count++) {
      this.#seen[(count % WINDOW) >> 5]! &= ~(1 << (count % 32));
    }
    this.#newest = newest;
  }
}
