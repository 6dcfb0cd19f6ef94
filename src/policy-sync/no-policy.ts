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
const LOOK_EVERY = 250;
/** This many members, where there are as many, must have heard of no policy; one of them must be certain. */
const ENOUGH = 2;
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
  isTold(): boolean;
  /** The value on disk. */
  isKnown(): boolean;
  /** Called when it becomes known that there is none, to keep that on disk and announce it. */
  learned(): void;
}

export class NoPolicy {
  readonly #parts: NoPolicyParts;
  /** By session, whether the other end is certain that there is none; if not, it has only heard of none. */
  readonly #words = new Map<Session, boolean>();
  #since = Number.POSITIVE_INFINITY;
  #cancel = () => {};

  constructor(parts: NoPolicyParts) {
    this.#parts = parts;
  }

  get isKnown(): boolean {
    return this.#parts.isKnown();
  }

  start(): void {
    if (!this.isKnown) this.#cancel = every(this.#parts.clock, LOOK_EVERY, () => this.#look());
  }

  stop(): void {
    this.#cancel();
  }

  heard(session: Session, isCertain: boolean): void {
    this.#words.set(session, isCertain);
    this.#look();
  }

  /** The other end announced a policy. */
  takenBack(session: Session): void {
    this.#words.delete(session);
  }

  closed(session: Session): void {
    this.#words.delete(session);
  }

  #look(): void {
    if (this.isKnown || !this.#isSaid()) return;
    this.stop();
    this.#parts.learned();
  }

  #isSaid(): boolean {
    const { clock, isMember, isTold } = this.#parts;
    const members = this.#parts.sessions().filter(({ peer }) => isMember(peer.id));
    if (isTold()) return false;
    const words = members.flatMap((session) => this.#words.get(session) ?? []);
    if (members.length === 0) this.#since = Number.POSITIVE_INFINITY;
    else this.#since = Math.min(this.#since, clock.elapsed());
    if (clock.elapsed() - this.#since >= SETTLE_AFTER) return words.length > 0;
    const isEnough = words.length >= Math.min(ENOUGH, this.#parts.others());
    return words.length === members.length && isEnough && words.includes(true);
  }
}
