/**
 * Limits how many probes are verified: a flood cannot make this node verify more than it has time
 * for, nor take the share of other members.
 */

import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { PeerPaths } from "./peer-paths.js";

/**
 * Probes that are verified from endpoints not known as their origin's, of all members together, at
 * once and per second. Limits of each member are in peer-paths.ts.
 */
export const UNKNOWN_SOURCES = { burst: 256, rate: 64 };
/** Probes that are verified in all, at once and per second. */
export const VERIFICATIONS = { burst: 1024, rate: 512 };
/** Replies to one probe that are verified: an attacker that sees the probe may send forged ones first. */
export const MAX_REPLIES = 4;
/** Challenges to all members together, at once and per second. */
const CHALLENGES = { burst: 256, rate: 64 };

export class ProbeLimits {
  readonly #unknownSources: TokenBucket;
  readonly #all: TokenBucket;
  readonly #challenges: TokenBucket;

  constructor(clock: Clock) {
    this.#unknownSources = new TokenBucket(clock, UNKNOWN_SOURCES.burst, UNKNOWN_SOURCES.rate);
    this.#all = new TokenBucket(clock, VERIFICATIONS.burst, VERIFICATIONS.rate);
    this.#challenges = new TokenBucket(clock, CHALLENGES.burst, CHALLENGES.rate);
  }

  /** Whether to verify a probe that claims this origin; if so, takes the tokens. */
  mayVerify(origin: PeerPaths, from: string): boolean {
    const isKnown = origin.isKnownSource(from);
    const mayBe = isKnown ? origin.knownSourceProbes.spend(1) : this.#mayVerifyElsewhere(origin);
    return mayBe && this.#all.spend(1);
  }

  /** The member's own limit comes first, so that a flood in its name leaves the shared tokens to others. */
  #mayVerifyElsewhere(origin: PeerPaths): boolean {
    return origin.otherSourceProbes.spend(1) && this.#unknownSources.spend(1);
  }

  /**
   * Whether to challenge an endpoint from which a verified probe of this member came, and at which
   * the member has not answered; if so, takes the tokens.
   */
  mayChallenge(origin: PeerPaths): boolean {
    return origin.promptedProbes.spend(1) && this.#challenges.spend(1);
  }
}
