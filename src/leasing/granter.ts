/**
 * The granter answers requests from this node's space, attests its grants, and takes returns. It
 * sends a grant again while no record shows it. docs/leases.md draws the exchange.
 */
import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import type { Members } from "../gossip/members.js";
import type { Names } from "../gossip/names.js";
import type { OwnRecord } from "../gossip/own-record.js";
import { nameAndId } from "../gossip/record.js";
import { type Identity, nodeId } from "../identity/identity.js";
import type { Allocator } from "../lease/allocator.js";
import { attest } from "../lease/attestation.js";
import { type Fence, LEASE_TTL } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import type { Ledger } from "../lease/ledger.js";
import type { Revoker } from "../lease/revoker.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, randomOf, toIso } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { LeaseMessage } from "./messages.js";
import type { RequestForwarder } from "./request-forwarder.js";

/** Requests and status queries of one peer, for itself and for others: burst, and rate per second. */
export const REQUEST_LIMITS = { own: { burst: 16, rate: 0.5 }, others: { burst: 256, rate: 16 } };
/** Grants of space: burst, and rate per second. Requests beyond that get single leases. */
export const SPACE_GRANT_LIMIT = { burst: 8, rate: 0.2 };
/**
 * Receivers whose grants no record shows yet. At `space` receivers of space, others get single
 * leases; at `all` receivers, forwarded requests are refused.
 */
export const MAX_UNSEEN = { space: 2, all: 32 };
/** Returns of one peer that are accepted, each with a write to disk: burst, and rate per second. */
export const RETURN_LIMIT = { burst: 16, rate: 1 / 60 };
/** Milliseconds from a change of the free space to its publication, in which further changes are collected. */
export const FREE_PUBLISHED_AFTER = 1_000;
/** Milliseconds after which a session with a member has brought all its records, and this node's own grants in them. */
const COMPARED_AFTER = 5_000;
/** Milliseconds that a restarted node waits for such a session before it grants without one. */
export const COMPARE_TIMEOUT = 300_000;
/** Milliseconds between reminders. Each sends one grant that no record shows to its receiver again. */
export const REMIND_EVERY = 60_000;

/** Ids that a problem in `weft status` names. */
const MAX_NAMED = 3;

type Request = MessageOf<LeaseMessage, "lease-request">;
type StatusQuery = MessageOf<LeaseMessage, "lease-status-query">;
type LeaseSession = Session<LeaseMessage>;
type Return = MessageOf<LeaseMessage, "lease-return">;

/** The node that has a name. */
export interface NameHolder {
  readonly id: string;
  /** The node that granted it its lease, as text for operators. */
  readonly granter?: string;
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
  readonly connections: Sessions<LeaseMessage>;
  readonly members: Members;
  readonly names: Names;
  /** This node's record, which shows its free space. */
  readonly ownRecord: Pick<OwnRecord, "publish">;
  /** Runs a timer's action, so that a full disk does not end the process. */
  readonly disk: { safely(act: () => void): void };
}

export interface GranterEvents {
  /** `isJournalComplete` is true from now on. */
  journalComplete: [];
  /** `dialTarget` may have changed. */
  changed: [];
}

export interface GranterOptions {
  /** The name of this node. */
  readonly name: string;
  /** Whether this node's disk names other nodes: it may be a backup that lacks the last grants. */
  readonly restarted: boolean;
}

export class Granter extends EventEmitter<GranterEvents> {
  readonly #parts: GranterParts;
  readonly #name: string;
  readonly #spaceGrantLimit: TokenBucket;
  readonly #requestLimits: { readonly own: KeyedRateLimiter; readonly others: KeyedRateLimiter };
  readonly #returnLimit: KeyedRateLimiter;
  /** A grant that may have been lost on its way, and the id of its receiver, to which it is sent again. */
  #reminder: { readonly id: string; readonly proof: Proof } | undefined;
  /** Ids of the receivers whose grants no record showed at the last check. */
  #unseen: ReadonlySet<string> = new Set();
  /** Those of them whose grants no record showed at the check before either. */
  #stillUnseen: readonly string[] = [];
  #isJournalComplete: boolean;
  /** Time of day from which this node grants without a comparison, in milliseconds since the epoch. */
  #completeAt = 0;
  /** The free space in the last record, as text. */
  #published = UNPUBLISHED;
  #cancelPublish: (() => void) | undefined;
  #cancelRemind: (() => void) | undefined;
  #cancels: (() => void)[] = [];

  constructor(parts: GranterParts, { name, restarted }: GranterOptions) {
    super();
    this.#parts = parts;
    this.#name = name;
    const { clock } = parts;
    this.#requestLimits = {
      own: new KeyedRateLimiter(clock, REQUEST_LIMITS.own),
      others: new KeyedRateLimiter(clock, REQUEST_LIMITS.others),
    };
    this.#returnLimit = new KeyedRateLimiter(clock, RETURN_LIMIT);
    this.#spaceGrantLimit = new TokenBucket(clock, SPACE_GRANT_LIMIT.burst, SPACE_GRANT_LIMIT.rate);
    this.#isJournalComplete = !restarted;
  }

  /** Whether the journal holds all grants of this node. After a restart its disk may be a backup. */
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

  /** The id of a node to open a session with, because a grant is to be sent to it again. */
  get dialTarget(): string | undefined {
    return this.#reminder?.id;
  }

  /** The reason why this node grants nothing, or less than it could, for `weft status`. */
  get problem(): string | undefined {
    if (this.#isJournalComplete) return this.#unseenGifts;
    const { connections, members } = this.#parts;
    if (connections.sessions().some(({ peer }) => members.has(peer.id))) return undefined;
    return `this node grants no leases yet, because its state may lack its last grants: ${this.#awaited}`;
  }

  get #awaited(): string {
    return `it waits for another member to compare records with, until ${toIso(this.#completeAt)}`;
  }

  /** Names receivers whose grants no record has shown at two checks in a row, a minute apart. */
  get #unseenGifts(): string | undefined {
    const [ids, more] = [
      this.#stillUnseen.slice(0, MAX_NAMED),
      this.#stillUnseen.length - MAX_NAMED,
    ];
    if (ids.length === 0) return undefined;
    const who = `${ids.join(", ")}${more > 0 ? ` and ${more} others` : ""}`;
    return `no record shows the grants of this node to ${who}, so granting is limited: if that node is gone for good, weft forget ID --force`;
  }

  /** The free space for this node's record, as in `Allocator.free`; undefined when there is none. */
  freeForRecord(): (number | null)[] | undefined {
    const free = this.#free;
    this.#published = free.join();
    return free.some((log2) => log2 !== null) ? free : undefined;
  }

  /** Publishes a record after `FREE_PUBLISHED_AFTER` if the free space is another by then. */
  publishFreeSoon(): void {
    const { ownRecord } = this.#parts;
    this.#cancelPublish ??= this.#after(FREE_PUBLISHED_AFTER, () => {
      this.#cancelPublish = undefined;
      if (this.#free.join() !== this.#published) ownRecord.publish();
    });
  }

  onRequest(session: LeaseSession, request: Request) {
    const { forwarder, log } = this.#parts;
    const { name, for: to } = request;
    const answer = this.#grant(session, request);
    if (answer instanceof WeftError) return forwarder.forwardOrRefuse(session, request, answer);
    log.info(
      `granted ${answer.map(subnetOf).join(", ")} to ${nameAndId({ name, id: nodeId(to) })}`,
    );
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
    const attestation = attest(identity, cluster, { to, nonce, grants: ledger.attestedTo(to) });
    session.send({ type: "lease-attestation", attestation });
  }

  /** Accepts a return only from the receiver itself, which has revoked the grants on its own disk before. */
  onReturn({ peer }: LeaseSession, { grants }: Return): void {
    const { revoker, log, members } = this.#parts;
    if (!this.#returnLimit.of(peer.id).spend(1)) return;
    const prefixes = revoker.acceptReturn(
      peer.publicKey,
      grants,
      members.get(peer.id)?.leases ?? [],
    );
    if (prefixes.length === 0) return;
    log.info(`returned to this node: ${prefixes.join(", ")}`, { id: peer.id });
    // The record must be published anyway: it revokes the old grant for the next receiver.
    this.#published = UNPUBLISHED;
    this.publishFreeSoon();
  }

  #grant(session: LeaseSession, { name, for: to, networks, have }: Request): Proof[] | WeftError {
    const { fence, ledger, allocator, log } = this.#parts;
    const known = this.#nameHolder(name);
    if (known && known.id !== nodeId(to)) return nameTaken(name, known);
    if (!this.#isWithinLimit(session, to)) return TOO_OFTEN;
    if (fence.isClosed) return NOT_NOW;
    if (!this.#isJournalComplete) return new WeftError("NOT_NOW", NOT_NOW.message, this.#awaited);
    const isOwn = to === session.peer.publicKey;
    const { unseen } = ledger;
    if (!isOwn && receivers(unseen) >= MAX_UNSEEN.all) return UNSEEN;
    const spaces = unseen.filter((proof) => !ledger.isLease(subnetOf(proof)));
    const hasUnseenSpace = receivers(spaces) >= MAX_UNSEEN.space;
    try {
      const leaseOnly =
        have.length > 0 || !isOwn || hasUnseenSpace || !this.#spaceGrantLimit.spend(1);
      return allocator.grant(to, networks, { have, leaseOnly });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  /** The node that has this name. */
  #nameHolder(name: string): NameHolder | undefined {
    const { clock, identity, members, names } = this.#parts;
    const found = members.view.nameHolder(name);
    if (!found || members.age(found.id, clock.elapsed()) > LEASE_TTL) {
      return name === this.#name ? { id: identity.id } : undefined;
    }
    const grant = found.leases[0]!.findLast(({ from, to }) => from !== to && to === found.owner);
    return { id: found.id, ...(grant && { granter: names.brief(grant.from) }) };
  }

  /** Limits requests by peer and not by requester, because a peer can make up requesters' keys. */
  #isWithinLimit({ peer }: LeaseSession, to: string): boolean {
    const { own, others } = this.#requestLimits;
    return (to === peer.publicKey ? own : others).of(peer.id).spend(1);
  }

  /**
   * Schedules a reminder. A grant that no record shows may have been lost, or its receiver may have
   * taken another node's grant. It gets the grant again, and returns it if it does not need it.
   */
  #remindLater(): void {
    this.#cancelRemind ??= this.#after(REMIND_EVERY, () => {
      this.#cancelRemind = undefined;
      this.#remind();
    });
  }

  #remind(): void {
    const { clock, ledger, connections, members } = this.#parts;
    this.#reminder = undefined;
    const lost = ledger.unseen.map((proof) => ({ id: nodeId(proof.at(-1)!.to), proof }));
    const before = this.#unseen;
    this.#unseen = new Set(lost.map(({ id }) => id));
    this.#stillUnseen = [...this.#unseen].filter((id) => before.has(id));
    if (lost.length === 0) return;
    this.#remindLater();
    const here = lost.filter(({ id }) => members.has(id));
    this.#reminder = randomOf(clock, here);
    for (const session of connections.sessions()) this.#sendReminder(session);
    if (this.#reminder) this.emit("changed");
  }

  #sendReminder(session: LeaseSession): void {
    if (!this.#reminder || session.peer.id !== this.#reminder.id) return;
    session.send({ type: "lease-grant", proofs: [[...this.#reminder.proof]] });
    this.#reminder = undefined;
  }

  #compared({ isOpen, peer }: LeaseSession): void {
    if (isOpen && this.#parts.members.has(peer.id)) this.#completeJournal();
  }

  #completeJournal(): void {
    if (this.#isJournalComplete) return;
    this.#isJournalComplete = true;
    this.publishFreeSoon();
    this.emit("journalComplete");
  }

  #after(ms: number, act: () => void): () => void {
    const { clock, disk } = this.#parts;
    return clock.after(ms, () => disk.safely(act));
  }

  get #free(): (number | null)[] {
    const { allocator, fence } = this.#parts;
    return fence.isClosed || !this.#isJournalComplete ? [] : allocator.free;
  }
}

const UNPUBLISHED = "unpublished";

const receivers = (grants: readonly Proof[]): number =>
  new Set(grants.map((proof) => proof.at(-1)!.to)).size;

const NOT_HERE = new WeftError(
  "NOT_HERE",
  "the node that granted the lease was not found",
  "start it; or, if it is gone for good, move the state directory away to join as a new node",
);

const NOT_NOW = new WeftError(
  "NOT_NOW",
  "the node that was asked grants nothing before it has compared its records with another member's",
  "wait a moment; see its weft status",
);

const UNSEEN = new WeftError(
  "UNSEEN",
  "no record shows the grants of the node that was asked to many others, so it refuses forwarded requests",
  "open its port to this node; or, where it runs, revoke the grants in its log to nodes that are not there (weft forget)",
);

const TOO_OFTEN = new WeftError(
  "TOO_OFTEN",
  "the node that was asked gets too many requests through one peer",
  "wait a moment",
);

const cannotWrite = (code: string): WeftError =>
  new WeftError(code, "the owner of the free space cannot write to its disk", "make room there");

/** With names of 63 characters it fits into a refusal (`field.sentence`), so its last command is not cut. */
const nameTaken = (name: string, { id, granter }: NameHolder): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    `choose another --name, or start with the state directory that it had${
      granter === undefined
        ? ""
        : `; or, if its host is gone for good, on ${granter}: weft forget ${name} --force`
    }`,
  );
