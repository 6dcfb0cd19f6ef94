/**
 * Accepts each probe of a member once (RFC 4303, 3.4.3), so that nobody gains by
 * sending again what was recorded. Probes that take different paths may overtake
 * each other by up to WINDOW.
 */
export const WINDOW = 256;

export class ReplayWindow {
  #epoch = "";
  #newest = -1;
  /** Counts that were accepted, none older than the window. */
  readonly #seen = new Set<number>();

  /** False when it was accepted before, or is too old to tell. `epoch` is the member's run; a new one counts from the start. */
  accept(epoch: string, count: number): boolean {
    if (epoch !== this.#epoch) this.#begin(epoch);
    if (count <= this.#newest - WINDOW || this.#seen.has(count)) return false;
    if (count > this.#newest) this.#moveTo(count);
    this.#seen.add(count);
    return true;
  }

  #begin(epoch: string): void {
    this.#epoch = epoch;
    this.#newest = -1;
    this.#seen.clear();
  }

  #moveTo(newest: number): void {
    this.#newest = newest;
    for (const count of this.#seen) if (count <= newest - WINDOW) this.#seen.delete(count);
  }
}
