/**
 * A budget for each peer, whatever sessions it has one after another. One that
 * is full again is as good as a new one, so it need not be kept.
 */
import { Budget } from "./budget.js";
import type { Clock } from "./clock.js";

/** Peers whose budgets are kept; of more, those that spent longest ago are as new. */
export const MAX_BUDGETS = 4096;

/** So much at once, and so much a second after that. */
export interface Limit {
  readonly burst: number;
  readonly rate: number;
}

export class Budgets {
  readonly #clock: Clock;
  readonly #limit: Limit;
  /** By the peer's id. Who spent last comes last. */
  readonly #budgets = new Map<string, Budget>();

  constructor(clock: Clock, limit: Limit) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get size(): number {
    return this.#budgets.size;
  }

  of(id: string): Budget {
    const { burst, rate } = this.#limit;
    const budget = this.#budgets.get(id) ?? new Budget(this.#clock, burst, rate);
    this.#budgets.delete(id);
    this.#forget();
    this.#budgets.set(id, budget);
    return budget;
  }

  #forget(): void {
    for (const [id, budget] of this.#budgets) {
      if (!budget.isFull && this.#budgets.size < MAX_BUDGETS) return;
      this.#budgets.delete(id);
    }
  }
}
