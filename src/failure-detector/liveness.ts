/**
 * Declares members dead. A node that misses a member doubts it, and the doubt travels like news; a
 * member that lives answers with a newer record. Without one it is dead, until one comes.
 * docs/failure-detection.md tells why.
 */

import { MAX_RECORDS, type Members } from "../gossip/members.js";
import { MAX_IDS, type Version } from "../gossip/messages.js";
import type { NodeRecord } from "../gossip/record.js";
import type { Protocol } from "../session/protocol.js";
import { MISSED_AFTER, type Session } from "../session/session.js";
import { Budget } from "../time/budget.js";
import { Budgets } from "../time/budgets.js";
import type { Clock } from "../time/clock.js";
import { type LivenessMessage, livenessSpec } from "./messages.js";

/** All in milliseconds. Who was doubted and did not answer within this is dead: longer than a pause of 5 s and the ways. */
export const ANSWER_WITHIN = 6_000;
/** A verdict that comes so late was slept through, and so was what speaks against it. */
export const LATE = 500;
/** A node answers doubts of itself no more often. */
export const RENEW_AGAIN = 2_000;
/** How long doubts wait for others, to travel together. */
export const DOUBTS_GATHER = 50;
/** Doubts of its own a node raises at once, and per second after that; those that prove right do not count. */
export const RAISED = { burst: 16, rate: 1 / 600 };
/** Doubts that are taken from one session at once, and per second after that. */
export const TAKEN = { burst: MAX_RECORDS, rate: 8 };

export interface LivenessParts {
  readonly clock: Clock;
  /** The node id of this node. */
  readonly own: string;
  readonly members: Members;
  sessions(): readonly LivenessSession[];
  /** When a member made itself heard last otherwise than in a session, by `clock.elapsed`. */
  heard(id: string): number;
  /** This node is doubted: publish a newer record, to be pushed to all. */
  renew(): void;
  /** Says which versions are held here: they are newer than those a peer doubts. */
  tell(session: Session, ids: readonly string[]): void;
  /** There are versions of which nothing is known here: ask for them. */
  seek(session: Session, versions: Version[]): void;
  /** A member is declared dead from now on, or no more. */
  judged(id: string, isDead: boolean): void;
}

type LivenessSession = Session<LivenessMessage>;

interface Doubt {
  readonly version: number;
  readonly since: number;
  readonly isOwn: boolean;
  isDead: boolean;
  cancel: () => void;
}

export class Liveness implements Protocol<LivenessMessage> {
  readonly spec = livenessSpec;
  readonly #parts: LivenessParts;
  readonly #doubts = new Map<string, Doubt>();
  /** Doubts of versions that have not come here yet. */
  readonly #early = new Map<string, number>();
  readonly #raised: Budget;
  readonly #taken: Budgets;
  #outbox: { readonly doubt: Version; readonly from: LivenessSession | undefined }[] = [];
  #renewed = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelRenew: (() => void) | undefined;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#taken = new Budgets(parts.clock, TAKEN);
    this.#raised = new Budget(parts.clock, RAISED.burst, RAISED.rate);
  }

  stop(): void {
    for (const { cancel } of this.#doubts.values()) cancel();
    this.#cancelFlush?.();
    this.#cancelRenew?.();
  }

  isDead(id: string): boolean {
    return this.#doubts.get(id)?.isDead ?? false;
  }

  /** Whether many wait for a newer record of this node. */
  isDoubted(id: string): boolean {
    return this.#doubts.has(id);
  }

  // ---- what gives rise to a doubt

  /** The other end of a session is quiet. Not to be doubted for that if it makes itself heard elsewhere. */
  quiet({ peer, isHeard }: Session): void {
    if (!isHeard) this.silent(peer.id, this.#parts.clock.elapsed() - MISSED_AFTER);
  }

  /** A node is missed since then: so long was its session quiet, or was it dialled in vain. */
  silent(id: string, since: number): void {
    const record = this.#parts.members.get(id);
    if (!record || record.withdrawn || this.#knows(id, record.version)) return;
    if (this.#isHeard(id, since) || !this.#raised.spend(1)) return;
    this.#take(id, record.version, { isOwn: true });
  }

  /** A new neighbour is told whom this node doubts or holds for dead, itself included. */
  opened(session: LivenessSession): void {
    sendDoubts(
      session,
      [...this.#doubts].map(([id, { version }]) => [id, version]),
    );
    this.#clear(session.peer.id);
  }

  // ---- what others doubt

  received(session: LivenessSession, { versions }: LivenessMessage): void {
    const { members, own, tell, seek } = this.#parts;
    const budget = this.#taken.of(session.peer.id);
    const refuted: string[] = [];
    const ahead: Version[] = [];
    for (const [id, version] of versions) {
      if (this.#knows(id, version) || !budget.spend(1)) continue;
      const held = members.get(id);
      if (held && version < held.version) refuted.push(id);
      else if (held?.withdrawn) continue;
      else if (id === own) this.#answer(version);
      else if (version === held?.version) this.#take(id, version, { from: session });
      else if (this.#expect(id, version)) ahead.push([id, version]);
    }
    tell(session, refuted);
    seek(session, ahead);
  }

  /** A record came that is newer than the one before. */
  news(record: NodeRecord): void {
    const { id } = record;
    this.#clear(id);
    const early = this.#early.get(id) ?? Number.POSITIVE_INFINITY;
    if (early > record.version) return;
    this.#early.delete(id);
    if (early === record.version && !record.withdrawn) this.#take(id, early);
  }

  /** Records were dropped: nothing is left to be doubted of their owners. */
  expired(): void {
    for (const id of this.#doubts.keys()) if (!this.#parts.members.get(id)) this.#clear(id);
  }

  // ---- from the doubt to the verdict

  #take(
    id: string,
    version: number,
    { from, isOwn = false }: { from?: LivenessSession; isOwn?: boolean } = {},
  ): void {
    const since = this.#parts.clock.elapsed();
    const doubt = { version, since, isOwn, isDead: false, cancel: () => {} };
    this.#doubts.set(id, doubt);
    this.#await(id, doubt);
    this.#outbox.push({ doubt: [id, version], from });
    this.#cancelFlush ??= this.#parts.clock.after(DOUBTS_GATHER, () => this.#flush());
  }

  #await(id: string, doubt: Doubt): void {
    const { clock } = this.#parts;
    const due = clock.elapsed() + ANSWER_WITHIN;
    doubt.cancel = clock.after(ANSWER_WITHIN, () => {
      if (clock.elapsed() - due > LATE) this.#await(id, doubt);
      else this.#judge(id, doubt);
    });
  }

  #judge(id: string, doubt: Doubt): void {
    const session = this.#parts.sessions().find(({ peer }) => peer.id === id);
    if (session?.isHeard || this.#isHeard(id, doubt.since)) {
      this.#clear(id);
    } else {
      if (doubt.isOwn) this.#raised.earn(1);
      doubt.isDead = true;
      this.#parts.judged(id, true);
    }
  }

  #clear(id: string): void {
    const doubt = this.#doubts.get(id);
    if (!doubt) return;
    doubt.cancel();
    this.#doubts.delete(id);
    if (doubt.isDead) this.#parts.judged(id, false);
  }

  // ---- small things

  /** This node is doubted itself. One answer is for all who doubt this version. */
  #answer(version: number): void {
    const { clock, members, own, renew } = this.#parts;
    if (version !== members.get(own)?.version) return;
    const wait = Math.max(0, this.#renewed + RENEW_AGAIN - clock.elapsed());
    this.#cancelRenew ??= clock.after(wait, () => {
      this.#cancelRenew = undefined;
      this.#renewed = clock.elapsed();
      renew();
    });
  }

  #isHeard(id: string, since: number): boolean {
    return this.#parts.heard(id) > since;
  }

  #knows(id: string, version: number): boolean {
    return this.#doubts.get(id)?.version === version;
  }

  /** Keeps a doubt until the version it speaks of comes; false if it is kept already. */
  #expect(id: string, version: number): boolean {
    if (this.#early.get(id) === version) return false;
    if (this.#early.size >= MAX_RECORDS) this.#early.clear();
    this.#early.set(id, version);
    return true;
  }

  #flush(): void {
    this.#cancelFlush = undefined;
    const outbox = this.#outbox.splice(0);
    for (const session of this.#parts.sessions()) {
      const news = outbox.filter(({ from }) => from !== session);
      sendDoubts(
        session,
        news.map(({ doubt }) => doubt),
      );
    }
  }
}

function sendDoubts(session: LivenessSession, doubts: readonly Version[]): void {
  for (let n = 0; n < doubts.length; n += MAX_IDS) {
    session.send({ type: "doubt", versions: doubts.slice(n, n + MAX_IDS) });
  }
}
