/** Whose probes are verified: nobody can make this node verify more than it has time for, nor take the time of others. */
import { Budget } from "../time/budget.js";
import type { Clock } from "../time/clock.js";
import type { Reach } from "./reach.js";

/**
 * Signatures of probes that are verified at once, and each second after that: of all members
 * together from endpoints that are not known to be theirs, and of all members from anywhere. The
 * share of each member is in reach.ts.
 */
export const STRANGERS = { burst: 256, perSecond: 64 };
export const VERIFIED = { burst: 1024, perSecond: 512 };
/**
 * Replies to one probe that are verified: an attacker that sees the probe may forge some before the
 * true one comes.
 */
export const MAX_REPLIES = 4;
/** Challenges at once, and each second after that, to all members together. */
const CHALLENGES = { burst: 256, perSecond: 64 };

export class Checks {
  readonly #strangers: Budget;
  readonly #all: Budget;
  readonly #challenges: Budget;

  constructor(clock: Clock) {
    this.#strangers = new Budget(clock, STRANGERS.burst, STRANGERS.perSecond);
    this.#all = new Budget(clock, VERIFIED.burst, VERIFIED.perSecond);
    this.#challenges = new Budget(clock, CHALLENGES.burst, CHALLENGES.perSecond);
  }

  /** A probe says it is of this member. */
  mayProbe(origin: Reach, from: string): boolean {
    const isKnown = origin.knows(from);
    const mayBe = isKnown ? origin.probes.spend(1) : this.#mayBeElsewhere(origin);
    return mayBe && this.#all.spend(1);
  }

  /** A flood in one member's name from many endpoints takes no other member's share. */
  #mayBeElsewhere(origin: Reach): boolean {
    return origin.elsewhere.spend(1) && this.#strangers.spend(1);
  }

  /** A verified probe of this member came from an endpoint at which it has not answered. */
  mayChallenge(origin: Reach): boolean {
    return origin.prompts.spend(1) && this.#challenges.spend(1);
  }
}
