/**
 * How this node gives from its space to those who ask, and learns which of its
 * gifts are not held. docs/leases.md draws the exchange.
 */
import { WeftError } from "../error.js";
import { type NodeRecord, nameAndId } from "../gossip/record.js";
import { type Identity, nodeId } from "../identity/identity.js";
import type { Allocator } from "../lease/allocator.js";
import { attest } from "../lease/attestation.js";
import type { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import type { Ledger } from "../lease/ledger.js";
import type { Revoker } from "../lease/revoker.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { type Clock, randomOf, toIso } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { LeaseMessage } from "./messages.js";
import type { RequestForwarder } from "./request-forwarder.js";

/** What one peer may ask for itself and for others, at once and per second after that. */
export const REQUEST_LIMITS = { own: { burst: 16, rate: 0.5 }, others: { burst: 256, rate: 16 } };
/** How often space is given, at once and per second after that; who asks more often gets single leases. */
export const SPACE_GRANT_LIMIT = { burst: 8, rate: 0.2 };
/**
 * Nodes that were given something and do not show it yet: while so many were given space, others get
 * single leases; while so many were given anything, others get it only for themselves, not through a carrier.
 */
export const MAX_UNSEEN = { space: 2, all: 32 };
/** Returns that are taken of one peer, at once and per second after that: each is a write to disk. */
export const RETURN_LIMIT = { burst: 16, rate: 1 / 60 };
/** How long after a change of the free space the others are told, in milliseconds: more may change. */
export const FREE_PUBLISHED_AFTER = 1_000;
/** A session with a member that lasted so long, in milliseconds, has brought what this node's disk does not know. */
const COMPARED_AFTER = 5_000;
/** How long a node waits for that before it gives, in milliseconds. */
export const COMPARE_TIMEOUT = 300_000;
/** How long a node waits to see what it gave in a record, before it tells the receiver again; one of them each time. Milliseconds. */
export const REMIND_EVERY = 60_000;

/** Ids that a sentence names. */
const MAX_NAMED = 3;

type Request = MessageOf<LeaseMessage, "lease-request">;
type StatusQuery = MessageOf<LeaseMessage, "lease-status-query">;
type LeaseSession = Session<LeaseMessage>;
type Return = MessageOf<LeaseMessage, "lease-return">;

/** Who has a name, and who gave that node its lease, in words. */
export interface NameHolder {
  readonly id: string;
  readonly giver?: string;
}

export interface GranterParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly ledger: Ledger;
  readonly allocator: Allocator;
  readonly revoker: Revoker;
  readonly fence: Fence;
  readonly forwarder: RequestForwarder;
  /** The open sessions. */
  sessions(): readonly LeaseSession[];
  nameHolder(name: string): NameHolder | undefined;
  /** The record of the node of this id, if it is a member. */
  member(id: string): NodeRecord | undefined;
  /** `isSure` from now on. */
  onJournalComplete(): void;
  /** There is another amount of free space: tell the others. */
  publish(): void;
  /** `sought` may say something else now. */
  changed(): void;
  /** Runs what a timer set off: a full disk must not end the node. */
  safely(act: () => void): void;
}

export class Granter {
  readonly #parts: GranterParts;
  readonly #spaceGrantLimit: TokenBucket;
  readonly #requestLimits: { readonly own: KeyedRateLimiter; readonly others: KeyedRateLimiter };
  readonly #returnLimit: KeyedRateLimiter;
  /** A gift that may have been lost on its way, and the id of the node that is to be told of it again. */
  #reminder: { readonly id: string; readonly proof: Proof } | undefined;
  /** Ids of those who showed nothing of what they got when this was looked at last, and of those who did not the time before either. */
  #unseen: ReadonlySet<string> = new Set();
  #stillUnseen: readonly string[] = [];
  #isJournalComplete: boolean;
  /** Time of day at which this node gives without a comparison, in milliseconds. */
  #completeAt = 0;
  /** The free space, as it was said last. */
  #published = UNPUBLISHED;
  #cancelPublish: (() => void) | undefined;
  #cancelRemind: (() => void) | undefined;
  #cancels: (() => void)[] = [];

  /** @param restarted this node's disk knows of others: it may be a backup, and not know all */
  constructor(parts: GranterParts, restarted: boolean) {
    this.#parts = parts;
    const { clock } = parts;
    this.#requestLimits = {
      own: new KeyedRateLimiter(clock, REQUEST_LIMITS.own),
      others: new KeyedRateLimiter(clock, REQUEST_LIMITS.others),
    };
    this.#returnLimit = new KeyedRateLimiter(clock, RETURN_LIMIT);
    this.#spaceGrantLimit = new TokenBucket(clock, SPACE_GRANT_LIMIT.burst, SPACE_GRANT_LIMIT.rate);
    this.#isJournalComplete = !restarted;
  }

  /** Whether all that this node gave is known: its disk could be of an earlier time. */
  get isJournalComplete(): boolean {
    return this.#isJournalComplete;
  }

  start(): void {
    if (!this.#isJournalComplete) {
      this.#completeAt = this.#parts.clock.now() + COMPARE_TIMEOUT;
      this.#cancels.push(this.#after(COMPARE_TIMEOUT, () => this.#completeJournal()));
    }
    this.#remindLater();
  }

  stop(): void {
    this.#cancelPublish?.();
    this.#cancelRemind?.();
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  opened(session: LeaseSession): void {
    this.#sendReminder(session);
    if (this.#isJournalComplete) return;
    this.#cancels.push(this.#after(COMPARED_AFTER, () => this.#compared(session)));
  }

  /** The id of a node to hold a session with for now: it is to be told something. */
  get dialTarget(): string | undefined {
    return this.#reminder?.id;
  }

  /** Why this node gives nothing, or less than it could. */
  get problem(): string | undefined {
    if (this.#isJournalComplete) return this.#unseenGifts;
    const { sessions, member } = this.#parts;
    if (sessions().some(({ peer }) => member(peer.id))) return undefined;
    return `this node gives no leases yet, because its state may be older than what it gave: ${this.#awaited}`;
  }

  get #awaited(): string {
    return `it waits for another member to compare with, until ${toIso(this.#completeAt)}`;
  }

  /** Says that for a minute or two no record has shown what others were given. */
  get #unseenGifts(): string | undefined {
    const [ids, more] = [
      this.#stillUnseen.slice(0, MAX_NAMED),
      this.#stillUnseen.length - MAX_NAMED,
    ];
    if (ids.length === 0) return undefined;
    const who = `${ids.join(", ")}${more > 0 ? ` and ${more} others` : ""}`;
    return `no record shows the leases that this node gave to ${who}, so it gives less meanwhile: if that node is gone for good, weft forget ID --force`;
  }

  /** The free space, to be said in the record; nothing when there is none to give. */
  freeForRecord(): (number | null)[] | undefined {
    const free = this.#free;
    this.#published = free.join();
    return free.some((log2) => log2 !== null) ? free : undefined;
  }

  /** The free space is another. */
  publishFreeSoon(): void {
    const { publish } = this.#parts;
    this.#cancelPublish ??= this.#after(FREE_PUBLISHED_AFTER, () => {
      this.#cancelPublish = undefined;
      if (this.#free.join() !== this.#published) publish();
    });
  }

  onRequest(session: LeaseSession, request: Request) {
    const { forwarder, log } = this.#parts;
    const { name, for: to } = request;
    const answer = this.#grant(session, request);
    if (answer instanceof WeftError) return forwarder.forwardOrRefuse(session, request, answer);
    log.info(`gave ${answer.map(subnetOf).join(", ")} to ${nameAndId({ name, id: nodeId(to) })}`);
    this.publishFreeSoon();
    this.#remindLater();
    session.send({ type: "lease-grant", proofs: answer.map((proof) => [...proof]) });
  }

  onStatusQuery(session: LeaseSession, query: StatusQuery) {
    const { identity, cluster, ledger, fence, forwarder } = this.#parts;
    const { for: to, of, nonce } = query;
    const isMine = of === identity.publicKey && !fence.isClosed && this.#isJournalComplete;
    if (!this.#isWithinLimit(session, to))
      return forwarder.forwardOrRefuse(session, query, TOO_OFTEN);
    if (!isMine) return forwarder.forwardOrRefuse(session, query, NOT_HERE);
    const attestation = attest(identity, cluster, { to, nonce, gifts: ledger.attestedTo(to) });
    session.send({ type: "lease-attestation", attestation });
  }

  /** Only the holder itself can say so, and it has written it down before. */
  onReturn({ peer }: LeaseSession, { gifts }: Return): void {
    const { revoker, log, member } = this.#parts;
    if (!this.#returnLimit.of(peer.id).spend(1)) return;
    const prefixes = revoker.acceptReturn(peer.publicKey, gifts, member(peer.id)?.leases ?? []);
    if (prefixes.length === 0) return;
    log.info(`got back ${prefixes.join(", ")}`, { id: peer.id });
    this.#published = UNPUBLISHED; // Whom it is given to again must know that it counts no more for who had it.
    this.publishFreeSoon();
  }

  #grant(session: LeaseSession, { name, for: to, networks, have }: Request): Proof[] | WeftError {
    const { nameHolder, fence, ledger, allocator, log } = this.#parts;
    const known = nameHolder(name);
    if (known && known.id !== nodeId(to)) return nameTaken(name, known);
    if (!this.#isWithinLimit(session, to)) return TOO_OFTEN;
    if (fence.isClosed) return NOT_NOW;
    if (!this.#isJournalComplete) return new WeftError("NOT_NOW", NOT_NOW.message, this.#awaited);
    const isOwn = to === session.peer.publicKey;
    const { unseen } = ledger;
    if (!isOwn && receivers(unseen) >= MAX_UNSEEN.all) return UNSEEN;
    const spaces = unseen.filter((proof) => !ledger.isLease(subnetOf(proof)));
    const isMuch = receivers(spaces) >= MAX_UNSEEN.space;
    try {
      const sparing = have.length > 0 || !isOwn || isMuch || !this.#spaceGrantLimit.spend(1);
      return allocator.grant(to, networks, { have, leaseOnly: sparing });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  /** Keys can be made up: what comes through one peer is bounded. */
  #isWithinLimit({ peer }: LeaseSession, to: string): boolean {
    const { own, others } = this.#requestLimits;
    return (to === peer.publicKey ? own : others).of(peer.id).spend(1);
  }

  /**
   * Of what this node gave and nobody shows, the receiver may not have heard, and may have taken
   * another's gift meanwhile. It is told again, and gives back what it does not need.
   */
  #remindLater(): void {
    this.#cancelRemind ??= this.#after(REMIND_EVERY, () => {
      this.#cancelRemind = undefined;
      this.#remind();
    });
  }

  #remind(): void {
    const { clock, ledger, sessions, member, changed } = this.#parts;
    this.#reminder = undefined;
    const lost = ledger.unseen.map((proof) => ({ id: nodeId(proof.at(-1)!.to), proof }));
    const before = this.#unseen;
    this.#unseen = new Set(lost.map(({ id }) => id));
    this.#stillUnseen = [...this.#unseen].filter((id) => before.has(id));
    if (lost.length === 0) return;
    this.#remindLater();
    const here = lost.filter(({ id }) => member(id));
    this.#reminder = randomOf(clock, here);
    for (const session of sessions()) this.#sendReminder(session);
    if (this.#reminder) changed();
  }

  #sendReminder(session: LeaseSession): void {
    if (!this.#reminder || session.peer.id !== this.#reminder.id) return;
    session.send({ type: "lease-grant", proofs: [[...this.#reminder.proof]] });
    this.#reminder = undefined;
  }

  #compared({ isOpen, peer }: LeaseSession): void {
    if (isOpen && this.#parts.member(peer.id)) this.#completeJournal();
  }

  #completeJournal(): void {
    if (this.#isJournalComplete) return;
    this.#isJournalComplete = true;
    this.publishFreeSoon();
    this.#parts.onJournalComplete();
  }

  #after(ms: number, act: () => void): () => void {
    const { clock, safely } = this.#parts;
    return clock.after(ms, () => safely(act));
  }

  get #free(): (number | null)[] {
    const { allocator, fence } = this.#parts;
    return fence.isClosed || !this.#isJournalComplete ? [] : allocator.free;
  }
}

const UNPUBLISHED = "unsaid";

const receivers = (gifts: readonly Proof[]): number =>
  new Set(gifts.map((proof) => proof.at(-1)!.to)).size;

const NOT_HERE = new WeftError(
  "NOT_HERE",
  "the node that gave the lease was not found",
  "start it; or, if it is gone for good, move the state directory away to join anew",
);

const NOT_NOW = new WeftError(
  "NOT_NOW",
  "the node that was asked gives nothing before it has compared what it knows with others",
  "it will in a moment; see its weft status",
);

const UNSEEN = new WeftError(
  "UNSEEN",
  "the node that was asked gave to many nodes that nobody has seen, and gives to no more through others",
  "open its port to this node; or, where it runs, take back what its log says it gave to nodes that are not there (weft forget)",
);

const TOO_OFTEN = new WeftError(
  "TOO_OFTEN",
  "too many requests come this way",
  "they will be heard again in a moment",
);

const cannotWrite = (code: string): WeftError =>
  new WeftError(code, "the owner of the free space cannot write to its disk", "make room there");

/** Fits into a refusal (`field.sentence`) with names of 63 characters, so that the command at its end is whole. */
const nameTaken = (name: string, { id, giver }: NameHolder): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    `choose another --name, or start with the state directory that it had${
      giver === undefined
        ? ""
        : `; or, if its host is gone for good, on ${giver}: weft forget ${name} --force`
    }`,
  );
