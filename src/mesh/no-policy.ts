/**
 * Whether a node that holds no policy knows that there is none. Until it does, its dataplane passes
 * no packet: the policy that it lacks might deny that.
 *
 * A node that founds the cluster knows it. Any other hears it: each neighbour says whether it knows
 * that there is none, and one liar among several is not enough.
 */
import { type Clock, every } from "./clock.js";
import type { Session } from "./session.js";

/** How often a node looks whether enough has been said, in milliseconds. */
const LOOK_EVERY = 250;
/** As many members must have heard of none, where there are as many; one of them must know. */
const ENOUGH = 2;
/**
 * After so many milliseconds the word of one member is enough, and that of members that do not
 * know either: so a cluster in which nobody knows any more does not stay closed for ever.
 */
export const SETTLE_AFTER = 30_000;

export interface NoPolicyParts {
  readonly clock: Clock;
  sessions(): readonly Session[];
  isMember(id: string): boolean;
  /** How many others there are that are not dead. */
  others(): number;
  /** Has this node heard of a policy, from whomever, that it has not refused? */
  isTold(): boolean;
  /** As it stands on disk. */
  isKnown(): boolean;
  /** From now on it is known that there is none: to be kept on disk, and told. */
  learned(): void;
}

export class NoPolicy {
  readonly #parts: NoPolicyParts;
  /** By session: does the other end know that there is none? If not, it has heard of none either. */
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

  /** The other end tells of a policy. */
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
