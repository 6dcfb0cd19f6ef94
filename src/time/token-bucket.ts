import type { Clock } from "./clock.js";

/** Holds up to `burst` tokens, refilled by `rate` per second. */
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

  /** Returns tokens that were spent. */
  refund(amount: number): void {
    this.#left = Math.min(this.burst, this.#left + amount);
  }

  /** Takes tokens for work whose cost was not known before. The bucket may go into debt. */
  debit(amount: number): void {
    this.#left = this.#now - amount;
    this.#at = this.clock.elapsed();
  }

  /** Whether debits exceed the tokens. */
  get inDebt(): boolean {
    return this.#now < 0;
  }

  get isFull(): boolean {
    return this.#now === this.burst;
  }

  /** Spends tokens; false, spending none, when fewer are left. */
  spend(amount: number): boolean {
    this.#left = this.#now;
    this.#at = this.clock.elapsed();
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }

  /** Tokens left now, refill included; negative in debt. */
  get #now(): number {
    const seconds = Math.max(0, this.clock.elapsed() - this.#at) / 1000;
    return Math.min(this.burst, this.#left + seconds * this.rate);
  }
}
