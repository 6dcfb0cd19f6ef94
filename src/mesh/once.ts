/**
 * Each probe of a member counts once, and an old one not at all: who recorded
 * it on its way can do nothing with it. Probes that take different ways may
 * overtake each other a little.
 */
import type { Probe } from "./probe.js";

/** How far a probe may be behind the newest. */
export const WINDOW = 256;

export class Once {
  #edition = 0;
  #newest = 0;
  #seen: number[] = [];

  /** Whether this is the first time. `held` is the version of the member's record that is known here. */
  first({ edition, count }: Pick<Probe, "edition" | "count">, held: number): boolean {
    if (edition < Math.max(held, this.#edition)) return false;
    if (edition > this.#edition) {
      this.#edition = edition;
      this.#newest = 0;
      this.#seen = [];
    }
    if (this.#isOld(count) || this.#seen.includes(count)) return false;
    this.#newest = Math.max(this.#newest, count);
    this.#seen = this.#seen.filter((seen) => !this.#isOld(seen));
    this.#seen.push(count);
    return true;
  }

  #isOld(count: number): boolean {
    return count + WINDOW <= this.#newest;
  }
}
