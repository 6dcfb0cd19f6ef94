/** Whose probes are verified: nobody can make this node verify more than it has time for, nor take the time of others. */

import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { PeerPaths } from "./peer-paths.js";

/**
 * Signatures of probes that are verified at once, and each second after that: of all members
 * together from endpoints that are not known to be theirs, and of all members from anywhere. The
 * share of each member is in reach.ts.
 */
export const UNKNOWN_SOURCES = { burst: 256, rate: 64 };
export const VERIFICATIONS = { burst: 1024, rate: 512 };
/**
 * Replies to one probe that are verified: an attacker that sees the probe may forge some before the
 * true one comes.
 */
export const MAX_REPLIES = 4;
/** Challenges at once, and each second after that, to all members together. */
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

  /** A probe says it is of this member. */
  mayVerify(origin: PeerPaths, from: string): boolean {
    const isKnown = origin.isKnownSource(from);
    const mayBe = isKnown ? origin.knownSourceProbes.spend(1) : this.#mayVerifyElsewhere(origin);
    return mayBe && this.#all.spend(1);
  }

  /** A flood in one member's name from many endpoints takes no other member's share. */
  #mayVerifyElsewhere(origin: PeerPaths): boolean {
    return origin.otherSourceProbes.spend(1) && this.#unknownSources.spend(1);
  }

  /** A verified probe of this member came from an endpoint at which it has not answered. */
  mayChallenge(origin: PeerPaths): boolean {
    return origin.promptedProbes.spend(1) && this.#challenges.spend(1);
  }
}
