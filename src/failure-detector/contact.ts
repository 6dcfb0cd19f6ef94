/**
 * Whether this node is in contact with the mesh: a session with any member from which something was
 * heard of late. Packets may go on without one, by UDP; policies, leases and members do not.
 */

import { type Session, SUSPECT_AFTER } from "../session/session.js";
import { type Clock, toIso } from "../time/clock.js";

/** A node that heard from no member for so long has lost contact, in milliseconds. */
export const LOST_AFTER = SUSPECT_AFTER + 1_000;

export interface ContactParts {
  readonly clock: Clock;
  sessions(): readonly Session[];
  isMember(id: string): boolean;
  /** Whether there is any other member. */
  hasOthers(): boolean;
}

export class Contact {
  readonly #parts: ContactParts;
  /** When something was last heard in a session that is closed now, by `clock.elapsed`. */
  #heardInClosed: number | undefined;
  readonly #startedAt: number;

  constructor(parts: ContactParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.elapsed();
  }

  closed(session: Session): void {
    if (!this.#parts.isMember(session.peer.id)) return;
    this.#heardInClosed = Math.max(this.#heardInClosed ?? session.heardAt, session.heardAt);
  }

  get isLost(): boolean {
    if (!this.#parts.hasOthers()) return false;
    return this.#parts.clock.elapsed() - (this.#lastHeard ?? this.#startedAt) >= LOST_AFTER;
  }

  /** When something was last heard, as a time of day in words. */
  get since(): string {
    const { clock } = this.#parts;
    const at = (elapsed: number) => timeOfDay(clock, elapsed);
    const heard = this.#lastHeard;
    return heard === undefined ? `this agent started at ${at(this.#startedAt)}` : at(heard);
  }

  get #lastHeard(): number | undefined {
    const { sessions, isMember } = this.#parts;
    const open = sessions().filter(({ peer }) => isMember(peer.id));
    const times = open.map(({ heardAt }) => heardAt);
    if (this.#heardInClosed !== undefined) times.push(this.#heardInClosed);
    return times.length > 0 ? Math.max(...times) : undefined;
  }
}

/** A time by `clock.elapsed` as a time of day of this host. */
export const timeOfDay = (clock: Clock, elapsed: number): string =>
  toIso(clock.now() - (clock.elapsed() - elapsed));
