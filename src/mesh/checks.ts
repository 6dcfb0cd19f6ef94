/** Whose probes are verified: nobody can make this node verify more than it has time for, nor take the time of others. */
import { Budget } from "./budget.js";
import type { Clock } from "./clock.js";
import type { Reach } from "./reach.js";

/** Signatures at once, and each second after that: of all members at endpoints that are not known to be theirs, and of anybody. */
export const STRANGERS = { burst: 256, perSecond: 64 };
export const VERIFIED = { burst: 1024, perSecond: 512 };

export class Checks {
  readonly #strangers: Budget;
  readonly #all: Budget;

  constructor(clock: Clock) {
    this.#strangers = new Budget(clock, STRANGERS.burst, STRANGERS.perSecond);
    this.#all = new Budget(clock, VERIFIED.burst, VERIFIED.perSecond);
  }

  /** A probe says it is of this member. */
  mayProbe(origin: Reach, from: string): boolean {
    const budget = origin.knows(from) ? origin.budget : this.#strangers;
    return budget.spend(1) && this.#all.spend(1);
  }

  /** A reply to a probe of this node, as its nonce says. */
  mayReply(): boolean {
    return this.#all.spend(1);
  }
}
