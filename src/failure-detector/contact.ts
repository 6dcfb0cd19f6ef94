/**
 * Tells whether this node is in contact with the mesh: whether it heard any member in a session
 * within LOST_AFTER. Without contact packets may still flow by UDP, but policies, leases and member
 * records no longer spread.
 */

import type { Members } from "../gossip/members.js";
import type { Ledger } from "../lease/ledger.js";
import { type Session, SUSPECT_AFTER } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, toIso } from "../time/clock.js";

/** A node that has heard no member for this long has lost contact, in milliseconds. */
export const LOST_AFTER = SUSPECT_AFTER + 1_000;

export interface ContactParts {
  readonly clock: Clock;
  /** The node id of this node. */
  readonly own: string;
  readonly connections: Sessions;
  readonly members: Members;
  /** Knows of others before the first record comes in this run. */
  readonly ledger: Pick<Ledger, "knowsOthers">;
}

export class Contact {
  readonly #parts: ContactParts;
  /** When the last message came in a session that is now closed, by `clock.elapsed`. */
  #heardInClosed: number | undefined;
  readonly #startedAt: number;

  constructor(parts: ContactParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.elapsed();
  }

  closed(session: Session): void {
    if (!this.#parts.members.has(session.peer.id)) return;
    this.#heardInClosed = Math.max(this.#heardInClosed ?? session.heardAt, session.heardAt);
  }

  get isLost(): boolean {
    if (!this.#hasOthers) return false;
    return this.#parts.clock.elapsed() - (this.#lastHeard ?? this.#startedAt) >= LOST_AFTER;
  }

  /** When a member was last heard, for a sentence: a time of day, or when this agent started. */
  get since(): string {
    const { clock } = this.#parts;
    const at = (elapsed: number) => timeOfDay(clock, elapsed);
    const heard = this.#lastHeard;
    return heard === undefined ? `this agent started at ${at(this.#startedAt)}` : at(heard);
  }

  /** Whether the cluster has other members. */
  get #hasOthers(): boolean {
    const { own, members, ledger } = this.#parts;
    if (members.size <= Number(members.has(own))) return ledger.knowsOthers;
    const others = members.view.members;
    return others.size > Number(others.has(own));
  }

  get #lastHeard(): number | undefined {
    const { connections, members } = this.#parts;
    const open = connections.sessions().filter(({ peer }) => members.has(peer.id));
    const times = open.map(({ heardAt }) => heardAt);
    if (this.#heardInClosed !== undefined) times.push(this.#heardInClosed);
    return times.length > 0 ? Math.max(...times) : undefined;
  }
}

/** Converts a time by `clock.elapsed` to this host's time of day. */
export const timeOfDay = (clock: Clock, elapsed: number): string =>
  toIso(clock.now() - (clock.elapsed() - elapsed));
