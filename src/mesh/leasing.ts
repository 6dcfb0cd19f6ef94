/**
 * How this node comes to space and takes its leases from it, and answers those
 * who ask it for some. docs/leases.md draws the exchange.
 */
import { WeftError } from "../error.js";
import type { Allocator } from "../lease/allocator.js";
import { Asker } from "../lease/asker.js";
import type { Fence } from "../lease/fence.js";
import type { Cluster } from "../lease/genesis.js";
import { flawOfGift, type Proof, subnetOf } from "../lease/grant.js";
import { freshNonce, giveWord, isWord } from "../lease/word.js";
import { Budget } from "./budget.js";
import { Carrier, type Errand, union } from "./carrier.js";
import type { Clock } from "./clock.js";
import { type Identity, nodeId } from "./identity.js";
import type { Log } from "./log.js";
import { MAX_GIFTS, type MessageOf } from "./message.js";
import type { NodeRecord } from "./record.js";
import type { Session } from "./session.js";
import type { Takings } from "./takings.js";
import type { Vacancies } from "./vacancies.js";

/** What one session may ask for itself and for others, at once and per second after that. */
export const ASKED = { own: { burst: 16, rate: 0.5 }, others: { burst: 256, rate: 16 } };
/** How often space is given, at once and per second after that; who asks more often gets single leases. */
export const HALVED = { burst: 8, rate: 0.2 };
/** Nodes with space that are dialled at one time to be asked. */
export const SOUGHT = 3;
/** How long after a change of the free space the others are told, in milliseconds: more may change. */
export const FREE_SAID_AFTER = 1_000;
/** A session with a member that lasted so long, in milliseconds, has brought what this node's disk does not know. */
export const COMPARED_AFTER = 5_000;
/** How long a node that gives everything back looks for those whom it has to tell, and how often, in milliseconds. */
export const FAREWELL = { most: 5_000, every: 100 };
/** How long a node waits for that before it gives, in milliseconds. */
export const ALONE_AFTER = 300_000;
/** How long a node waits to see what it gave in a record, before it tells the receiver again; one of them each time. Milliseconds. */
export const REMIND_EVERY = 60_000;

type Request = MessageOf<"lease-request">;
type Question = MessageOf<"lease-question">;
type Grant = MessageOf<"lease-grant">;
type Word = MessageOf<"lease-word">;
type Refusal = MessageOf<"lease-refusal">;
type Return = MessageOf<"lease-return">;
export type LeaseMessage = Request | Question | Grant | Word | Refusal | Return;

/** Who has a name, and who gave that node its lease, in words. */
export interface Bearer {
  readonly id: string;
  readonly giver?: string;
}

export interface LeasingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly allocator: Allocator;
  readonly fence: Fence;
  readonly vacancies: Vacancies;
  /** The open sessions. */
  sessions(): readonly Session[];
  bearer(name: string): Bearer | undefined;
  /** The record of the node of this id, if it is a member. */
  member(id: string): NodeRecord | undefined;
  /** The proofs this node holds. */
  held(): readonly Proof[];
  /** Whether another node's proof of this subnet comes before this node's. */
  isBeaten(subnet: string): boolean;
  /** There are more of them, or there is another amount of free space: tell the others. */
  publish(): void;
  /** `problem` or `sought` may say something else now. */
  changed(): void;
  /** Runs what a timer set off: a full disk must not end the node. */
  safely(act: () => void): void;
}

export interface LeasingOptions {
  readonly name: string;
  /** Leases to hold in each network. */
  readonly wanted: number;
  /** This node's disk knows of others: it may be a backup, and not know all. */
  readonly restarted: boolean;
}

export class Leasing {
  readonly #parts: LeasingParts;
  readonly #options: LeasingOptions;
  readonly #asker: Asker;
  readonly #carrier: Carrier;
  readonly #halved: Budget;
  readonly #complaints: Budget;
  readonly #asked = new WeakMap<Session, { readonly own: Budget; readonly others: Budget }>();
  /** Whom this node asked last. */
  #askedAt: Session | undefined;
  /** Ids of nodes to dial, to ask them. */
  #sought: readonly string[] = [];
  /** After a time cut off: the givers that have not yet said which of their gifts count. */
  #unsure: Set<string> | undefined;
  #nonce = "";
  #isLeaving = false;
  /** Gifts that this node does not hold, by the id of the giver, who is to be told. */
  readonly #declined = new Map<string, string[]>();
  /** A gift that may have been lost on its way, and the id of the node that is to be told of it again. */
  #reminder: { readonly id: string; readonly proof: Proof } | undefined;
  /** Whether all that this node gave is known: its disk could be of an earlier time. */
  #isSure: boolean;
  /** The free space, as it was said last. */
  #said = "";
  #cancelSay: (() => void) | undefined;
  #cancelRemind: (() => void) | undefined;
  #cancels: (() => void)[] = [];

  constructor(parts: LeasingParts, options: LeasingOptions) {
    const { clock, sessions } = parts;
    this.#parts = parts;
    this.#options = options;
    this.#asker = new Asker({ clock, request: () => this.#ask() });
    this.#carrier = new Carrier({
      clock,
      sessions,
      choose: (errand, fresh) => this.#choose(errand, fresh),
      refuse: (back, errand, reason) => this.#refuse(back, errand, reason),
    });
    this.#halved = new Budget(clock, HALVED.burst, HALVED.rate);
    this.#complaints = new Budget(clock, 10, 0.2);
    this.#isSure = !options.restarted;
  }

  start(): void {
    if (!this.#isSure) {
      this.#cancels.push(this.#after(ALONE_AFTER, () => this.#becomeSure()));
    }
    this.#remindLater();
    this.seek();
  }

  /** Seeks leases until this node has those it is to have and may use them. */
  seek(): void {
    const { fence, allocator } = this.#parts;
    const { givers } = allocator;
    if (fence.isClosed && givers.size > 0) this.#unsure ??= givers;
    if (!this.#unsure && !this.#isDone) this.#take();
    if (!this.#isDone) this.#asker.start();
  }

  opened(session: Session): void {
    this.#sendDeclined(session);
    this.#sendReminder(session);
    if (!this.#isSure)
      this.#cancels.push(this.#after(COMPARED_AFTER, () => this.#compared(session)));
    if (!this.#asker.isWaiting || this.#sought.includes(session.peer.id)) this.seek();
  }

  closed(session: Session): void {
    if (session === this.#askedAt && this.#asker.isWaiting) this.seek();
  }

  /** Records have come. */
  learned(records: readonly NodeRecord[], takings: Takings): void {
    const { allocator, vacancies, held, isBeaten, identity } = this.#parts;
    if (allocator.recall(records.flatMap(({ leases }) => leases))) this.#sayFreeSoon();
    const own = identity.publicKey;
    const takenBack = allocator.proofs.flatMap((proof) => takings.from(own, proof) ?? []);
    const beaten = held().filter((proof) => isBeaten(subnetOf(proof)));
    this.#lose([...takenBack, ...beaten.map((proof) => proof.at(-1)!.signature)]);
    const hope = records.some(({ free }) => free) && !this.#asker.isWaiting;
    if (hope && !this.#isDone && vacancies.exist(this.#lacks)) this.seek();
  }

  stop(): void {
    this.#asker.stop();
    this.#carrier.stop();
    this.#cancelSay?.();
    this.#cancelRemind?.();
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  /** Answers with the public keys of the nodes that can take back what this one cannot. */
  takeBack(holder: string, leases: readonly Proof[]): Set<string> {
    return this.#parts.allocator.takeBack(holder, leases);
  }

  /** The free space, to be said in the record; nothing when there is none to give. */
  sayFree(): (number | null)[] | undefined {
    const free = this.#free;
    this.#said = free.join();
    return free.some((log2) => log2 !== null) ? free : undefined;
  }

  /** Ids of nodes to hold a session with for now: they have space, or are to be told something. */
  get sought(): readonly string[] {
    const givers = this.#isLeaving ? [...this.#parts.allocator.givers].map(nodeId) : [];
    const reminded = this.#reminder ? [this.#reminder.id] : [];
    return [
      ...(this.#isDone ? [] : this.#sought),
      ...givers,
      ...this.#declined.keys(),
      ...reminded,
    ];
  }

  /** Why this node lacks a lease. */
  get problem(): string | undefined {
    if (this.#isDone) return undefined;
    const { allocator, fence, held } = this.#parts;
    const { state } = this.#asker;
    if (fence.isClosed) return `${CUT_OFF} (${state})`;
    if (allocator.needs.length > 0) return `this node has no lease: ${state}`;
    const { wanted } = this.#options;
    return `this node has ${held().length} leases, and is to have ${wanted} in each network: ${state}`;
  }

  received(session: Session, message: LeaseMessage) {
    switch (message.type) {
      case "lease-request":
        return this.#requested(session, message);
      case "lease-question":
        return this.#questioned(session, message);
      case "lease-grant":
        return this.#granted(session, message);
      case "lease-word":
        return this.#told(session, message);
      case "lease-refusal":
        return this.#refused(message);
      case "lease-return":
        return this.#returned(session, message);
    }
  }

  /** Everything is to be given back: waits until the givers can be told, or have not been found. */
  async lookForGivers(): Promise<void> {
    const { clock, allocator, changed } = this.#parts;
    const until = clock.elapsed() + FAREWELL.most;
    this.#isLeaving = true;
    changed();
    while (this.#givers().length < allocator.givers.size && clock.elapsed() < until) {
      await new Promise<void>((resolve) => clock.after(FAREWELL.every, resolve));
    }
  }

  /** The sessions with those who gave this node what it holds. */
  #givers(): Session[] {
    const { givers } = this.#parts.allocator;
    return this.#parts.sessions().filter(({ peer }) => givers.has(peer.publicKey));
  }

  /** Gives everything back to the givers, if they can be told and nothing of it is another's by now. */
  release(): void {
    const { allocator, log } = this.#parts;
    const told = this.#givers();
    const gifts = told.length === allocator.givers.size ? allocator.letGo() : undefined;
    for (const giver of gifts ? told : []) {
      giver.send({ type: "lease-return", gifts: gifts!.slice(0, MAX_GIFTS) });
    }
    log.info(
      gifts ? "the leases are given back" : "the leases are kept: they cannot be given back now",
    );
  }

  // ---- asking

  #ask(): boolean {
    const giver = this.#oneOf([...(this.#unsure ?? [])]);
    const message = giver === undefined ? this.#request() : this.#question(giver);
    const { sessions } = this.#parts;
    this.#seek(message, sessions());
    this.#askedAt = this.#choose(message, sessions(), { anybody: true });
    this.#askedAt?.send(message);
    return this.#askedAt !== undefined;
  }

  #request(): Request {
    const { identity, allocator } = this.#parts;
    return {
      type: "lease-request",
      name: this.#options.name,
      for: identity.publicKey,
      networks: [...this.#lacks],
      have: allocator.gifts.slice(0, MAX_GIFTS),
      seen: [identity.id],
    };
  }

  #question(giver: string): Question {
    const { identity } = this.#parts;
    this.#nonce = freshNonce();
    const [me, seen] = [identity.publicKey, [identity.id]];
    return { type: "lease-question", for: me, of: giver, nonce: this.#nonce, seen };
  }

  /** Whom to dial, where no neighbour is the right one. */
  #seek(message: Errand, sessions: readonly Session[]): void {
    const { vacancies, changed } = this.#parts;
    const before = this.#sought;
    if (message.type === "lease-question") this.#sought = [nodeId(message.of)];
    else {
      const ids = sessions.map(({ peer }) => peer.id);
      const isNear = vacancies.best(ids, message.networks) !== undefined;
      this.#sought = isNear ? [] : vacancies.some(message.networks, SOUGHT);
    }
    if (this.#sought.join() !== before.join()) changed();
  }

  #granted(session: Session, message: Grant) {
    const { cluster, identity, allocator } = this.#parts;
    const [{ proofs }, to] = [message, message.proofs[0]!.at(-1)!.to];
    const why = proofs.map((proof) => flawOfGift(cluster, to, proof)).find(Boolean);
    if (why) return session.close(forged(why));
    if (to !== identity.publicKey) return this.#carrier.answered(to)?.send(message);
    if (this.#unsure) return;
    const wasDone = this.#isDone;
    const declined = [...allocator.lost(proofs), ...allocator.accept(proofs)];
    this.#decline(proofs.filter((proof) => declined.includes(proof.at(-1)!.signature)));
    if (wasDone) return;
    this.#take();
    if (this.#isDone) return this.#decline(allocator.dropUnused());
    // Who was offered nothing new need not ask again at once.
    if (declined.length < proofs.length) this.#asker.start();
    else this.#asker.refused(OLD_GIFT);
  }

  #told(session: Session, message: Word) {
    const { cluster, identity, allocator, fence, log, publish } = this.#parts;
    const { word } = message;
    if (!isWord(cluster, word)) return session.close(forged("a signature is wrong"));
    if (word.to !== identity.publicKey) return this.#carrier.answered(word.to)?.send(message);
    if (word.nonce !== this.#nonce || !this.#unsure?.has(word.from)) return;
    if (allocator.confirmed(word.from, word.gifts)) log.warn(TAKEN_BACK);
    this.#unsure.delete(word.from);
    if (this.#unsure.size > 0) return this.#asker.start();
    this.#unsure = undefined;
    fence.open();
    publish();
    this.seek();
  }

  #refused(refusal: Refusal) {
    if (refusal.for !== this.#parts.identity.publicKey) return this.#carrier.further(refusal);
    if (this.#isDone) return;
    const { reason } = refusal;
    if (reason !== this.#asker.state) this.#parts.log.warn(`no lease was given: ${reason}`);
    this.#asker.refused(reason);
    this.#parts.changed();
  }

  /** From this node's own space, if it has some. */
  #take(): void {
    const { allocator, fence, held, log, publish } = this.#parts;
    if (this.#isSure) allocator.take();
    if (allocator.needs.length > 0) return;
    if (fence.isClosed || !fence.wasHeard) fence.open();
    if (this.#isDone) this.#asker.stop();
    if (this.#isShown) return;
    log.info(`this node holds ${held().map(subnetOf).join(", ")}`);
    publish();
  }

  /** A giver took these back, or gave the same to another. */
  #lose(gone: readonly string[]): void {
    const { allocator, log, publish, changed } = this.#parts;
    if (gone.length === 0 || !allocator.lose(gone)) return;
    log.warn(TAKEN_BACK);
    publish();
    changed();
    this.seek();
  }

  /** Its giver is to know that it is not held. */
  #decline(proofs: readonly Proof[]): void {
    for (const proof of proofs) {
      const { from, signature } = proof.at(-1)!;
      const id = nodeId(from);
      this.#declined.set(id, [...(this.#declined.get(id) ?? []), signature].slice(-MAX_GIFTS));
    }
    for (const session of this.#parts.sessions()) this.#sendDeclined(session);
    if (this.#declined.size > 0) this.#parts.changed();
  }

  #sendDeclined(session: Session): void {
    const gifts = this.#declined.get(session.peer.id);
    if (gifts) session.send({ type: "lease-return", gifts });
    this.#declined.delete(session.peer.id);
  }

  // ---- answering

  #requested(session: Session, request: Request) {
    const { log } = this.#parts;
    const { name, for: to } = request;
    const answer = this.#answer(session, request);
    if (answer instanceof WeftError) return this.#passOn(session, request, answer);
    log.info(`gave ${answer.map(subnetOf).join(", ")} to ${name}`, { id: nodeId(to) });
    this.#sayFreeSoon();
    this.#remindLater();
    session.send({ type: "lease-grant", proofs: answer.map((proof) => [...proof]) });
  }

  #answer(session: Session, { name, for: to, networks, have }: Request): Proof[] | WeftError {
    const { bearer, fence, allocator, log } = this.#parts;
    const known = bearer(name);
    if (known && known.id !== nodeId(to)) return nameTaken(name, known);
    if (!this.#mayAsk(session, to)) return TOO_OFTEN;
    if (fence.isClosed || !this.#isSure) return NOT_NOW;
    try {
      const sparing = have.length > 0 || !this.#halved.spend(1);
      return allocator.give(to, networks, { have, sparing });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  #questioned(session: Session, question: Question) {
    const { identity, cluster, allocator, fence } = this.#parts;
    const { for: to, of, nonce } = question;
    const isMine = of === identity.publicKey && !fence.isClosed && this.#isSure;
    if (!this.#mayAsk(session, to)) return this.#passOn(session, question, TOO_OFTEN);
    if (!isMine) return this.#passOn(session, question, NOT_HERE);
    const word = giveWord(identity, cluster, { to, nonce, gifts: allocator.counting(to) });
    session.send({ type: "lease-word", word });
  }

  /** To another, if that one may know better; else back with the reason. */
  #passOn(session: Session, errand: Errand, error: WeftError) {
    const reason = `${error.message}; ${error.remedy}`;
    const seen = union(errand.seen, [this.#parts.identity.id, nodeId(errand.for)]);
    const further = { ...errand, seen };
    if (CARRIED.has(error.code)) return this.#carrier.carry(session, further, reason);
    return this.#refuse(session, further, reason);
  }

  #refuse(session: Session, errand: Errand, reason: string): void {
    const { for: to, seen } = errand;
    session.send({ type: "lease-refusal", for: to, reason, seen });
    if (!this.#complaints.spend(1)) return;
    const who = "name" in errand ? errand.name : nodeId(to);
    this.#parts.log.warn(`refused a lease to ${who} at ${session.remote}: ${reason}`);
  }

  /** The giver of what is asked about, or who has space, or by chance; nobody when no record tells of space. */
  #choose(
    errand: Errand,
    sessions: readonly Session[],
    { anybody = false } = {},
  ): Session | undefined {
    const { vacancies } = this.#parts;
    const one = this.#oneOf(sessions);
    if (errand.type === "lease-question") {
      return sessions.find(({ peer }) => peer.publicKey === errand.of) ?? one;
    }
    const ids = sessions.map(({ peer }) => peer.id);
    const best = vacancies.best(ids, errand.networks);
    if (best !== undefined) return sessions.find(({ peer }) => peer.id === best);
    return anybody || vacancies.exist(errand.networks) ? one : undefined;
  }

  /** Keys can be made up: what comes through one session is bounded. */
  #mayAsk(session: Session, to: string): boolean {
    const { clock } = this.#parts;
    const budget = ({ burst, rate }: { burst: number; rate: number }) =>
      new Budget(clock, burst, rate);
    const known = this.#asked.get(session);
    const budgets = known ?? { own: budget(ASKED.own), others: budget(ASKED.others) };
    if (!known) this.#asked.set(session, budgets);
    return (to === session.peer.publicKey ? budgets.own : budgets.others).spend(1);
  }

  /** Only the holder itself can say so, and it has written it down before. */
  #returned({ peer }: Session, { gifts }: Return): void {
    const { allocator, log, member } = this.#parts;
    const prefixes = allocator.returned(peer.publicKey, gifts, member(peer.id)?.leases ?? []);
    if (prefixes.length === 0) return;
    log.info(`got back ${prefixes.join(", ")}`, { id: peer.id });
    this.#sayFreeSoon();
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
    const { allocator, sessions, member, changed } = this.#parts;
    this.#reminder = undefined;
    const lost = allocator.unseen.map((proof) => ({ id: nodeId(proof.at(-1)!.to), proof }));
    if (lost.length === 0) return;
    this.#remindLater();
    this.#reminder = this.#oneOf(lost.filter(({ id }) => member(id)));
    for (const session of sessions()) this.#sendReminder(session);
    if (this.#reminder) changed();
  }

  #sendReminder(session: Session): void {
    if (!this.#reminder || session.peer.id !== this.#reminder.id) return;
    session.send({ type: "lease-grant", proofs: [[...this.#reminder.proof]] });
    this.#reminder = undefined;
  }

  #sayFreeSoon(): void {
    const { publish } = this.#parts;
    this.#cancelSay ??= this.#after(FREE_SAID_AFTER, () => {
      this.#cancelSay = undefined;
      if (this.#free.join() !== this.#said) publish();
    });
  }

  // ---- small things

  #compared({ isOpen, peer }: Session): void {
    if (isOpen && this.#parts.member(peer.id)) this.#becomeSure();
  }

  #becomeSure(): void {
    if (this.#isSure) return;
    this.#isSure = true;
    this.#sayFreeSoon();
    if (!this.#isDone) this.seek();
  }

  #after(ms: number, act: () => void): () => void {
    const { clock, safely } = this.#parts;
    return clock.after(ms, () => safely(act));
  }

  get #free(): (number | null)[] {
    const { allocator, fence } = this.#parts;
    return fence.isClosed || !this.#isSure ? [] : allocator.free;
  }

  #oneOf<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(this.#parts.clock.random() * all.length)];
  }

  get #lacks(): readonly string[] {
    return this.#parts.allocator.lacks.map(({ prefix }) => prefix);
  }

  /** Whether the record of this node shows what it holds. */
  get #isShown(): boolean {
    const { member, identity, held } = this.#parts;
    const ends = (proofs: readonly Proof[] = []) => proofs.map((proof) => proof.at(-1)!.signature);
    return ends(member(identity.id)?.leases).join() === ends(held()).join();
  }

  get #isDone(): boolean {
    const { allocator, fence } = this.#parts;
    return allocator.lacks.length === 0 && !fence.isClosed;
  }
}

/** Refusals that another node may not repeat. */
const CARRIED = new Set(["NETWORK_FULL", "NOT_HERE", "NOT_NOW"]);

const CUT_OFF =
  "this node was cut off for longer than its lease lasts, and does not use it until the node that gave it confirms that it was not taken back; if that one is gone for good, move the state directory away to join anew";

const TAKEN_BACK =
  "what this node was given was taken back, or given to another: it asks for another lease";

const OLD_GIFT = "what was offered is what this node gave back before: its giver will be told";

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

const TOO_OFTEN = new WeftError(
  "TOO_OFTEN",
  "too many requests come this way",
  "they will be heard again in a moment",
);

const forged = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `a lease came that proves nothing: ${why}`, "see its log");

const cannotWrite = (code: string): WeftError =>
  new WeftError(code, "the owner of the free space cannot write to its disk", "make room there");

const nameTaken = (name: string, { id, giver }: Bearer): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    `start with the state directory that the name had before, or choose another --name${
      giver === undefined
        ? ""
        : `; or, if that host is gone for good, on ${giver}: weft forget ${name} --certain`
    }`,
  );
