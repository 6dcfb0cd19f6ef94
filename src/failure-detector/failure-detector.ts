/**
 * Declares members dead. A node that no longer hears a member suspects it, and the suspicion spreads
 * from neighbour to neighbour. A live member refutes it with a newer record; without one, every node
 * declares the member dead after SUSPECT_TIMEOUT. A later record revives it.
 * docs/failure-detection.md gives the reasons.
 */

import { EventEmitter } from "node:events";
import type { Gossip } from "../gossip/gossip.js";
import { MAX_RECORDS, type Members } from "../gossip/members.js";
import { MAX_IDS, type NodeVersion, type Version } from "../gossip/messages.js";
import type { OwnRecord } from "../gossip/own-record.js";
import type { NodeRecord } from "../gossip/record.js";
import { NODE } from "../gossip/record-kind.js";
import type { Protocol } from "../session/protocol.js";
import { type Session, SUSPECT_AFTER } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import { type FailureDetectorMessage, failureDetectorSpec } from "./messages.js";

/**
 * Time to refute a suspicion: longer than a pause of 5 s and the message delays. This and the next
 * three are in milliseconds.
 */
export const SUSPECT_TIMEOUT = 6_000;
/** A timer later than this means that the process was suspended and missed refutations: wait again. */
export const MAX_TIMER_LAG = 500;
/** Least time between two refutations of a node. */
export const REFUTE_EVERY = 2_000;
/** How long suspicions wait to be sent together. */
export const SUSPECTS_DELAY = 50;
/** Suspicions that this node raises, at once and per second. Those that end in a death are refunded. */
export const OWN_SUSPICIONS = { burst: 16, rate: 1 / 600 };
/** Suspicions accepted from one peer, at once and per second. */
export const RECEIVED_SUSPICIONS = { burst: MAX_RECORDS, rate: 8 };

export interface FailureDetectorParts {
  readonly clock: Clock;
  /** This node's id. */
  readonly own: string;
  readonly members: Members;
  readonly connections: Sessions<FailureDetectorMessage>;
  readonly gossip: Pick<Gossip, "announceHeld" | "awaited" | "heardAt" | "wantMissing">;
  /** Publishes a newer record when this node is suspected. */
  readonly ownRecord: Pick<OwnRecord, "refute">;
}

export interface FailureDetectorEvents {
  /** A member was declared dead, or is alive again. */
  stateChanged: [id: string, isDead: boolean];
}

/** A part of this node that hears members outside of their own sessions. */
export interface Witness {
  /** When this member was last heard, by `clock.elapsed`; undefined if never. */
  heardAt(id: string): number | undefined;
}

type FailureDetectorSession = Session<FailureDetectorMessage>;

interface Suspicion {
  readonly version: number;
  readonly since: number;
  readonly isOwn: boolean;
  isDead: boolean;
  cancel: () => void;
}

export class FailureDetector
  extends EventEmitter<FailureDetectorEvents>
  implements Protocol<FailureDetectorMessage>
{
  readonly spec = failureDetectorSpec;
  readonly #parts: FailureDetectorParts;
  readonly #witnesses: Witness[];
  readonly #suspicions = new Map<string, Suspicion>();
  /** By id, suspected versions that this node does not have yet. */
  readonly #awaitingRecord = new Map<string, number>();
  readonly #ownLimit: TokenBucket;
  readonly #receivedLimit: KeyedRateLimiter;
  #queue: { readonly suspicion: NodeVersion; readonly from: FailureDetectorSession | undefined }[] =
    [];
  #refutedAt = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelRefute: (() => void) | undefined;

  constructor(parts: FailureDetectorParts) {
    super();
    this.#parts = parts;
    this.#witnesses = [parts.gossip];
    this.#receivedLimit = new KeyedRateLimiter(parts.clock, RECEIVED_SUSPICIONS);
    this.#ownLimit = new TokenBucket(parts.clock, OWN_SUSPICIONS.burst, OWN_SUSPICIONS.rate);
  }

  stop(): void {
    for (const { cancel } of this.#suspicions.values()) cancel();
    this.#cancelFlush?.();
    this.#cancelRefute?.();
  }

  /** Adds a witness: a member that it hears is not declared dead. */
  addWitness(witness: Witness): void {
    this.#witnesses.push(witness);
  }

  isDead(id: string): boolean {
    return this.#suspicions.get(id)?.isDead ?? false;
  }

  /** Number of other members that are not dead. */
  get living(): number {
    const { members, own } = this.#parts;
    const isLiving = (id: string) => id !== own && !this.isDead(id);
    return [...members.view.members.keys()].filter(isLiving).length;
  }

  // ---- own suspicions

  /** A session is quiet. Suspects its peer, unless the peer is still responsive or a witness hears it. */
  quiet({ peer, isResponsive }: Session): void {
    if (!isResponsive) this.unresponsive(peer.id, this.#parts.clock.elapsed() - SUSPECT_AFTER);
  }

  /** A node has not answered since this time: its session was quiet, or dialling it failed. */
  unresponsive(id: string, since: number): void {
    const record = this.#parts.members.get(id);
    if (!record || record.withdrawn || this.#isSuspectedAt(id, record.version)) return;
    if (this.#wasHeard(id, since) || !this.#ownLimit.spend(1)) return;
    this.#suspect(id, record.version, { isOwn: true });
  }

  /** Tells a new neighbour which members are suspected or dead, the neighbour itself included. */
  opened(session: FailureDetectorSession): void {
    sendSuspects(
      session,
      [...this.#suspicions].map(([id, { version }]) => [id, version]),
    );
    this.#clear(session.peer.id);
  }

  // ---- suspicions of others

  received(session: FailureDetectorSession, { versions }: FailureDetectorMessage): void {
    const { members, own, gossip } = this.#parts;
    const bucket = this.#receivedLimit.of(session.peer.id);
    const refuted: string[] = [];
    const ahead: Version[] = [];
    for (const [id, version] of versions) {
      if (this.#isSuspectedAt(id, version) || !bucket.spend(1)) continue;
      const held = members.get(id);
      if (held && version < held.version) refuted.push(id);
      else if (held?.withdrawn) continue;
      else if (id === own) this.#refute(version);
      else if (version === held?.version) this.#suspect(id, version, { from: session });
      else if (this.#deferUntilRecord(id, version)) ahead.push([id, NODE, version]);
    }
    gossip.announceHeld(session, refuted);
    gossip.wantMissing(session, ahead);
  }

  /** A newer record of a member came. */
  onRecord(record: NodeRecord): void {
    const { id } = record;
    this.#clear(id);
    const early = this.#awaitingRecord.get(id) ?? Number.POSITIVE_INFINITY;
    if (early > record.version) return;
    this.#awaitingRecord.delete(id);
    if (early === record.version && !record.withdrawn) this.#suspect(id, early);
  }

  /** Records were dropped: forgets suspicions of their owners. */
  onExpiry(): void {
    for (const id of this.#suspicions.keys()) if (!this.#parts.members.get(id)) this.#clear(id);
  }

  // ---- from suspicion to death

  #suspect(
    id: string,
    version: number,
    { from, isOwn = false }: { from?: FailureDetectorSession; isOwn?: boolean } = {},
  ): void {
    const since = this.#parts.clock.elapsed();
    const suspicion = { version, since, isOwn, isDead: false, cancel: () => {} };
    this.#suspicions.set(id, suspicion);
    this.#parts.gossip.awaited.add(id);
    this.#startTimer(id, suspicion);
    this.#queue.push({ suspicion: [id, version], from });
    this.#cancelFlush ??= this.#parts.clock.after(SUSPECTS_DELAY, () => this.#flush());
  }

  #startTimer(id: string, suspicion: Suspicion): void {
    const { clock } = this.#parts;
    const due = clock.elapsed() + SUSPECT_TIMEOUT;
    suspicion.cancel = clock.after(SUSPECT_TIMEOUT, () => {
      if (clock.elapsed() - due > MAX_TIMER_LAG) this.#startTimer(id, suspicion);
      else this.#onTimeout(id, suspicion);
    });
  }

  #onTimeout(id: string, suspicion: Suspicion): void {
    const session = this.#parts.connections.sessionWith(id);
    if (session?.isResponsive || this.#wasHeard(id, suspicion.since)) {
      this.#clear(id);
    } else {
      if (suspicion.isOwn) this.#ownLimit.refund(1);
      suspicion.isDead = true;
      this.emit("stateChanged", id, true);
    }
  }

  #clear(id: string): void {
    const suspicion = this.#suspicions.get(id);
    if (!suspicion) return;
    suspicion.cancel();
    this.#suspicions.delete(id);
    this.#parts.gossip.awaited.delete(id);
    if (suspicion.isDead) this.emit("stateChanged", id, false);
  }

  // ---- small things

  /** This node is suspected. One newer record answers all suspicions of this version. */
  #refute(version: number): void {
    const { clock, members, own, ownRecord } = this.#parts;
    if (version !== members.get(own)?.version) return;
    const wait = Math.max(0, this.#refutedAt + REFUTE_EVERY - clock.elapsed());
    this.#cancelRefute ??= clock.after(wait, () => {
      this.#cancelRefute = undefined;
      this.#refutedAt = clock.elapsed();
      ownRecord.refute();
    });
  }

  #wasHeard(id: string, since: number): boolean {
    return this.#witnesses.some((one) => (one.heardAt(id) ?? since) > since);
  }

  #isSuspectedAt(id: string, version: number): boolean {
    return this.#suspicions.get(id)?.version === version;
  }

  /** Keeps a suspicion until the suspected version arrives; false if it is kept already. */
  #deferUntilRecord(id: string, version: number): boolean {
    if (this.#awaitingRecord.get(id) === version) return false;
    if (this.#awaitingRecord.size >= MAX_RECORDS) this.#awaitingRecord.clear();
    this.#awaitingRecord.set(id, version);
    return true;
  }

  #flush(): void {
    this.#cancelFlush = undefined;
    const queue = this.#queue.splice(0);
    for (const session of this.#parts.connections.sessions()) {
      const news = queue.filter(({ from }) => from !== session);
      sendSuspects(
        session,
        news.map(({ suspicion }) => suspicion),
      );
    }
  }
}

function sendSuspects(session: FailureDetectorSession, suspects: readonly NodeVersion[]): void {
  for (let n = 0; n < suspects.length; n += MAX_IDS) {
    session.send({ type: "suspect", versions: suspects.slice(n, n + MAX_IDS) });
  }
}
