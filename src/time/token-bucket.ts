import type { Clock } from "./clock.js";

/** So much at once, and so much a second after that. */
export class TokenBucket {
  #left: number;
  #at: number;

  constructor(
    readonly clock: Clock,
    readonly burst: number,
    readonly rate: number,
  ) {
    this.#left = burst;
    this.#at = clock.elapsed();
  }

  /** Gives back what was spent. */
  refund(amount: number): void {
    this.#left = Math.min(this.burst, this.#left + amount);
  }

  /** Takes off what was spent before it was known how much it would be: more, perhaps, than was left. */
  debit(amount: number): void {
    this.#left = this.#now - amount;
    this.#at = this.clock.elapsed();
  }

  /** More was charged than there was. */
  get inDebt(): boolean {
    return this.#now < 0;
  }

  get isFull(): boolean {
    return this.#now === this.burst;
  }

  /** False when there is not that much left; then nothing is spent. */
  spend(amount: number): boolean {
    this.#left = this.#now;
    this.#at = this.clock.elapsed();
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }

  /** What is left by now. */
  get #now(): number {
    const seconds = Math.max(0, this.clock.elapsed() - this.#at) / 1000;
    return Math.min(this.burst, this.#left + seconds * this.rate);
  }
}
