/**
 * How this node gives from its space to those who ask, and learns which of its
 * gifts are not held. docs/leases.md draws the exchange.
 */
import { WeftError } from "../error.js";
import { type NodeRecord, who } from "../gossip/record.js";
import { type Identity, nodeId } from "../identity/identity.js";
import type { Allocator } from "../lease/allocator.js";
import type { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import type { Ledger } from "../lease/ledger.js";
import type { Revocations } from "../lease/revocations.js";
import { giveWord } from "../lease/word.js";
import type { Log } from "../log.js";
import type { MessageOf } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { Budget } from "../time/budget.js";
import { Budgets } from "../time/budgets.js";
import { type Clock, inIso, oneOf } from "../time/clock.js";
import type { Carrier } from "./carrier.js";
import type { LeaseMessage } from "./messages.js";

/** What one peer may ask for itself and for others, at once and per second after that. */
export const ASKED = { own: { burst: 16, rate: 0.5 }, others: { burst: 256, rate: 16 } };
/** How often space is given, at once and per second after that; who asks more often gets single leases. */
export const HALVED = { burst: 8, rate: 0.2 };
/**
 * Nodes that were given something and do not show it yet: while so many were given space, others get
 * single leases; while so many were given anything, others get it only for themselves, not through a carrier.
 */
export const MAX_UNSEEN = { space: 2, all: 32 };
/** Returns that are taken of one peer, at once and per second after that: each is a write to disk. */
export const RETURNED = { burst: 16, rate: 1 / 60 };
/** How long after a change of the free space the others are told, in milliseconds: more may change. */
export const FREE_SAID_AFTER = 1_000;
/** A session with a member that lasted so long, in milliseconds, has brought what this node's disk does not know. */
const COMPARED_AFTER = 5_000;
/** How long a node waits for that before it gives, in milliseconds. */
export const ALONE_AFTER = 300_000;
/** How long a node waits to see what it gave in a record, before it tells the receiver again; one of them each time. Milliseconds. */
export const REMIND_EVERY = 60_000;

/** Ids that a sentence names. */
const MAX_SAID = 3;

type Request = MessageOf<LeaseMessage, "lease-request">;
type Question = MessageOf<LeaseMessage, "lease-question">;
type LeaseSession = Session<LeaseMessage>;
type Return = MessageOf<LeaseMessage, "lease-return">;

/** Who has a name, and who gave that node its lease, in words. */
export interface Bearer {
  readonly id: string;
  readonly giver?: string;
}

export interface GivingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly ledger: Ledger;
  readonly allocator: Allocator;
  readonly revocations: Revocations;
  readonly fence: Fence;
  readonly carrier: Carrier;
  /** The open sessions. */
  sessions(): readonly LeaseSession[];
  bearer(name: string): Bearer | undefined;
  /** The record of the node of this id, if it is a member. */
  member(id: string): NodeRecord | undefined;
  /** `isSure` from now on. */
  becameSure(): void;
  /** There is another amount of free space: tell the others. */
  publish(): void;
  /** `sought` may say something else now. */
  changed(): void;
  /** Runs what a timer set off: a full disk must not end the node. */
  safely(act: () => void): void;
}

export class Giving {
  readonly #parts: GivingParts;
  readonly #halved: Budget;
  readonly #asked: { readonly own: Budgets; readonly others: Budgets };
  readonly #returned: Budgets;
  /** A gift that may have been lost on its way, and the id of the node that is to be told of it again. */
  #reminder: { readonly id: string; readonly proof: Proof } | undefined;
  /** Ids of those who showed nothing of what they got when this was looked at last, and of those who did not the time before either. */
  #unseen: ReadonlySet<string> = new Set();
  #silent: readonly string[] = [];
  #isSure: boolean;
  /** Time of day at which this node gives without a comparison, in milliseconds. */
  #sureAt = 0;
  /** The free space, as it was said last. */
  #said = UNSAID;
  #cancelSay: (() => void) | undefined;
  #cancelRemind: (() => void) | undefined;
  #cancels: (() => void)[] = [];

  /** @param restarted this node's disk knows of others: it may be a backup, and not know all */
  constructor(parts: GivingParts, restarted: boolean) {
    this.#parts = parts;
    const { clock } = parts;
    this.#asked = { own: new Budgets(clock, ASKED.own), others: new Budgets(clock, ASKED.others) };
    this.#returned = new Budgets(clock, RETURNED);
    this.#halved = new Budget(clock, HALVED.burst, HALVED.rate);
    this.#isSure = !restarted;
  }

  /** Whether all that this node gave is known: its disk could be of an earlier time. */
  get isSure(): boolean {
    return this.#isSure;
  }

  start(): void {
    if (!this.#isSure) {
      this.#sureAt = this.#parts.clock.now() + ALONE_AFTER;
      this.#cancels.push(this.#after(ALONE_AFTER, () => this.#becomeSure()));
    }
    this.#remindLater();
  }

  stop(): void {
    this.#cancelSay?.();
    this.#cancelRemind?.();
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  opened(session: LeaseSession): void {
    this.#sendReminder(session);
    if (this.#isSure) return;
    this.#cancels.push(this.#after(COMPARED_AFTER, () => this.#compared(session)));
  }

  /** The id of a node to hold a session with for now: it is to be told something. */
  get sought(): string | undefined {
    return this.#reminder?.id;
  }

  /** Why this node gives nothing, or less than it could. */
  get problem(): string | undefined {
    if (this.#isSure) return this.#unseenGifts;
    const { sessions, member } = this.#parts;
    if (sessions().some(({ peer }) => member(peer.id))) return undefined;
    return `this node gives no leases yet, because its state may be older than what it gave: ${this.#awaited}`;
  }

  get #awaited(): string {
    return `it waits for another member to compare with, until ${inIso(this.#sureAt)}`;
  }

  /** Says that for a minute or two no record has shown what others were given. */
  get #unseenGifts(): string | undefined {
    const [ids, more] = [this.#silent.slice(0, MAX_SAID), this.#silent.length - MAX_SAID];
    if (ids.length === 0) return undefined;
    const who = `${ids.join(", ")}${more > 0 ? ` and ${more} others` : ""}`;
    return `no record shows the leases that this node gave to ${who}, so it gives less meanwhile: if that node is gone for good, weft forget ID --certain`;
  }

  /** The free space, to be said in the record; nothing when there is none to give. */
  sayFree(): (number | null)[] | undefined {
    const free = this.#free;
    this.#said = free.join();
    return free.some((log2) => log2 !== null) ? free : undefined;
  }

  /** The free space is another. */
  sayFreeSoon(): void {
    const { publish } = this.#parts;
    this.#cancelSay ??= this.#after(FREE_SAID_AFTER, () => {
      this.#cancelSay = undefined;
      if (this.#free.join() !== this.#said) publish();
    });
  }

  requested(session: LeaseSession, request: Request) {
    const { carrier, log } = this.#parts;
    const { name, for: to } = request;
    const answer = this.#answer(session, request);
    if (answer instanceof WeftError) return carrier.passOn(session, request, answer);
    log.info(`gave ${answer.map(subnetOf).join(", ")} to ${who({ name, id: nodeId(to) })}`);
    this.sayFreeSoon();
    this.#remindLater();
    session.send({ type: "lease-grant", proofs: answer.map((proof) => [...proof]) });
  }

  questioned(session: LeaseSession, question: Question) {
    const { identity, cluster, ledger, fence, carrier } = this.#parts;
    const { for: to, of, nonce } = question;
    const isMine = of === identity.publicKey && !fence.isClosed && this.#isSure;
    if (!this.#mayAsk(session, to)) return carrier.passOn(session, question, TOO_OFTEN);
    if (!isMine) return carrier.passOn(session, question, NOT_HERE);
    const word = giveWord(identity, cluster, { to, nonce, gifts: ledger.counting(to) });
    session.send({ type: "lease-word", word });
  }

  /** Only the holder itself can say so, and it has written it down before. */
  returned({ peer }: LeaseSession, { gifts }: Return): void {
    const { revocations, log, member } = this.#parts;
    if (!this.#returned.of(peer.id).spend(1)) return;
    const prefixes = revocations.returned(peer.publicKey, gifts, member(peer.id)?.leases ?? []);
    if (prefixes.length === 0) return;
    log.info(`got back ${prefixes.join(", ")}`, { id: peer.id });
    this.#said = UNSAID; // Whom it is given to again must know that it counts no more for who had it.
    this.sayFreeSoon();
  }

  #answer(session: LeaseSession, { name, for: to, networks, have }: Request): Proof[] | WeftError {
    const { bearer, fence, ledger, allocator, log } = this.#parts;
    const known = bearer(name);
    if (known && known.id !== nodeId(to)) return nameTaken(name, known);
    if (!this.#mayAsk(session, to)) return TOO_OFTEN;
    if (fence.isClosed) return NOT_NOW;
    if (!this.#isSure) return new WeftError("NOT_NOW", NOT_NOW.message, this.#awaited);
    const isOwn = to === session.peer.publicKey;
    const { unseen } = ledger;
    if (!isOwn && receivers(unseen) >= MAX_UNSEEN.all) return UNSEEN;
    const spaces = unseen.filter((proof) => !ledger.isLease(subnetOf(proof)));
    const isMuch = receivers(spaces) >= MAX_UNSEEN.space;
    try {
      const sparing = have.length > 0 || !isOwn || isMuch || !this.#halved.spend(1);
      return allocator.give(to, networks, { have, sparing });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  /** Keys can be made up: what comes through one peer is bounded. */
  #mayAsk({ peer }: LeaseSession, to: string): boolean {
    const { own, others } = this.#asked;
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
    this.#silent = [...this.#unseen].filter((id) => before.has(id));
    if (lost.length === 0) return;
    this.#remindLater();
    const here = lost.filter(({ id }) => member(id));
    this.#reminder = oneOf(clock, here);
    for (const session of sessions()) this.#sendReminder(session);
    if (this.#reminder) changed();
  }

  #sendReminder(session: LeaseSession): void {
    if (!this.#reminder || session.peer.id !== this.#reminder.id) return;
    session.send({ type: "lease-grant", proofs: [[...this.#reminder.proof]] });
    this.#reminder = undefined;
  }

  #compared({ isOpen, peer }: LeaseSession): void {
    if (isOpen && this.#parts.member(peer.id)) this.#becomeSure();
  }

  #becomeSure(): void {
    if (this.#isSure) return;
    this.#isSure = true;
    this.sayFreeSoon();
    this.#parts.becameSure();
  }

  #after(ms: number, act: () => void): () => void {
    const { clock, safely } = this.#parts;
    return clock.after(ms, () => safely(act));
  }

  get #free(): (number | null)[] {
    const { allocator, fence } = this.#parts;
    return fence.isClosed || !this.#isSure ? [] : allocator.free;
  }
}

const UNSAID = "unsaid";

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
const nameTaken = (name: string, { id, giver }: Bearer): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    `choose another --name, or start with the state directory that it had${
      giver === undefined
        ? ""
        : `; or, if its host is gone for good, on ${giver}: weft forget ${name} --certain`
    }`,
  );
