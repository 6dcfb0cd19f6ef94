/**
 * Decides whether a node that holds no document of a kind knows that there is none. Until it does,
 * its dataplane passes no packet, because an unknown policy might deny it.
 *
 * The founder of the cluster knows it. Any other node learns it from its neighbours: each says
 * whether it knows that there is none, and one liar among several is not enough.
 */

import type { FailureDetector } from "../failure-detector/failure-detector.js";
import type { Members } from "../gossip/members.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, every } from "../time/clock.js";
import type { DocumentMessage, DocumentSession } from "./messages.js";

/** Interval of the check whether enough members have answered, in milliseconds. */
const CHECK_EVERY = 250;
/** This many members, where there are as many, must hold none; one of them must be certain. */
const QUORUM = 2;
/**
 * Milliseconds after which the answer of one member is enough, even of one that is not certain: so
 * a cluster in which no node knows any more does not stay closed for ever.
 */
export const SETTLE_AFTER = 30_000;

export interface AbsenceParts {
  readonly clock: Clock;
  readonly connections: Sessions<DocumentMessage>;
  readonly members: Pick<Members, "has">;
  readonly failureDetector: Pick<FailureDetector, "living">;
  /** Whether any node announced a document that this node has not refused. */
  isAnnounced(): boolean;
  /** Whether there is nothing to learn: a document is held, or there is known to be none. */
  isKnown(): boolean;
  /** Called when it becomes known that there is none, to keep that on disk and announce it. */
  onKnown(): void;
}

export class Absence {
  readonly #parts: AbsenceParts;
  /** By session, whether the other end is certain that there is none; if not, it only holds none. */
  readonly #answers = new Map<DocumentSession, boolean>();
  #since = Number.POSITIVE_INFINITY;
  #cancel = () => {};

  constructor(parts: AbsenceParts) {
    this.#parts = parts;
  }

  start(): void {
    const { clock, isKnown } = this.#parts;
    if (!isKnown()) this.#cancel = every(clock, CHECK_EVERY, () => this.#check());
  }

  stop(): void {
    this.#cancel();
  }

  /** The other end holds none. */
  answered(session: DocumentSession, isCertain: boolean): void {
    this.#answers.set(session, isCertain);
    this.#check();
  }

  /** The other end announced a document, or is gone. */
  withdrawn(session: DocumentSession): void {
    this.#answers.delete(session);
  }

  #check(): void {
    if (this.#parts.isKnown() || !this.#isSettled()) return;
    this.stop();
    this.#parts.onKnown();
  }

  #isSettled(): boolean {
    const { clock, connections, members, failureDetector, isAnnounced } = this.#parts;
    const asked = connections.sessions().filter(({ peer }) => members.has(peer.id));
    if (isAnnounced()) return false;
    const answers = asked.flatMap((session) => this.#answers.get(session) ?? []);
    if (asked.length === 0) this.#since = Number.POSITIVE_INFINITY;
    else this.#since = Math.min(this.#since, clock.elapsed());
    if (clock.elapsed() - this.#since >= SETTLE_AFTER) return answers.length > 0;
    const isEnough = answers.length >= Math.min(QUORUM, failureDetector.living);
    return answers.length === asked.length && isEnough && answers.includes(true);
  }
}
