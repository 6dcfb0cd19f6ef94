/**
 * Decides whether a node that holds no policy knows that there is none. Until it does, its
 * dataplane passes no packet, because an unknown policy might deny it.
 *
 * The founder of the cluster knows it. Any other node learns it from its neighbours: each says
 * whether it knows that there is none, and one liar among several is not enough.
 */

import type { Session } from "../session/session.js";
import { type Clock, every } from "../time/clock.js";

/** Interval of the check whether enough members have answered, in milliseconds. */
const CHECK_EVERY = 250;
/** This many members, where there are as many, must have heard of no policy; one of them must be certain. */
const QUORUM = 2;
/**
 * Milliseconds after which the word of one member is enough, even of one that is not certain: so a
 * cluster in which no node knows any more does not stay closed for ever.
 */
export const SETTLE_AFTER = 30_000;

export interface NoPolicyParts {
  readonly clock: Clock;
  sessions(): readonly Session[];
  isMember(id: string): boolean;
  /** Number of other members that are not dead. */
  others(): number;
  /** Whether this node has heard of a policy, from any node, that it has not refused. */
  isPolicyAnnounced(): boolean;
  /** The value on disk. */
  isKnown(): boolean;
  /** Called when it becomes known that there is none, to keep that on disk and announce it. */
  onKnown(): void;
}

export class NoPolicy {
  readonly #parts: NoPolicyParts;
  /** By session, whether the other end is certain that there is none; if not, it has only heard of none. */
  readonly #answers = new Map<Session, boolean>();
  #since = Number.POSITIVE_INFINITY;
  #cancel = () => {};

  constructor(parts: NoPolicyParts) {
    this.#parts = parts;
  }

  get isKnown(): boolean {
    return this.#parts.isKnown();
  }

  start(): void {
    if (!this.isKnown) this.#cancel = every(this.#parts.clock, CHECK_EVERY, () => this.#check());
  }

  stop(): void {
    this.#cancel();
  }

  onNone(session: Session, isCertain: boolean): void {
    this.#answers.set(session, isCertain);
    this.#check();
  }

  /** The other end announced a policy. */
  withdraw(session: Session): void {
    this.#answers.delete(session);
  }

  closed(session: Session): void {
    this.#answers.delete(session);
  }

  #check(): void {
    if (this.isKnown || !this.#isSettled()) return;
    this.stop();
    this.#parts.onKnown();
  }

  #isSettled(): boolean {
    const { clock, isMember, isPolicyAnnounced } = this.#parts;
    const members = this.#parts.sessions().filter(({ peer }) => isMember(peer.id));
    if (isPolicyAnnounced()) return false;
    const words = members.flatMap((session) => this.#answers.get(session) ?? []);
    if (members.length === 0) this.#since = Number.POSITIVE_INFINITY;
    else this.#since = Math.min(this.#since, clock.elapsed());
    if (clock.elapsed() - this.#since >= SETTLE_AFTER) return words.length > 0;
    const isEnough = words.length >= Math.min(QUORUM, this.#parts.others());
    return words.length === members.length && isEnough && words.includes(true);
  }
}
