import type { Clock } from "./clock.js";

/** So much at once, and so much a second after that. */
export class Budget {
  #left: number;
  #at: number;

  constructor(
    readonly clock: Clock,
    readonly burst: number,
    readonly perSecond: number,
  ) {
    this.#left = burst;
    this.#at = clock.elapsed();
  }

  /** Gives back what was spent. */
  earn(amount: number): void {
    this.#left = Math.min(this.burst, this.#left + amount);
  }

  /** False when there is not that much left; then nothing is spent. */
  spend(amount: number): boolean {
    const now = this.clock.elapsed();
    const earned = (Math.max(0, now - this.#at) / 1000) * this.perSecond;
    this.#left = Math.min(this.burst, this.#left + earned);
    this.#at = now;
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }
}
