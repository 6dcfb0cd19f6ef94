/**
 * How this node comes to space and takes its leases from it, and loses what was
 * another's before. docs/leases.md draws the exchange; those who ask this node
 * are answered in giving.ts.
 */
import { WeftError } from "../error.js";
import type { NodeRecord } from "../gossip/record.js";
import type { Takings } from "../gossip/takings.js";
import { nodeId } from "../identity/identity.js";
import { MAX_JOURNAL } from "../lease/allocator.js";
import { Asker } from "../lease/asker.js";
import { fitting } from "../lease/bundle.js";
import { flawOfGift, type Proof, subnetOf } from "../lease/grant.js";
import { freshNonce, isWord } from "../lease/word.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { Budgets } from "../time/budgets.js";
import { oneOf } from "../time/clock.js";
import { Carrier, type Errand } from "./carrier.js";
import { Giving, type GivingParts } from "./giving.js";
import { type LeaseMessage, leaseSpec, MAX_GIFTS } from "./messages.js";
import type { Vacancies } from "./vacancies.js";

/** Nodes with space that are dialled at one time to be asked. */
export const SOUGHT = 3;
/** Gifts for which it did not ask that this node looks at, of one peer, at once and per second after that. */
export const UNASKED = { burst: 16, rate: 1 / 60 };
/** How long a node that lacks a lease waits for more news before it looks at its own space again, in milliseconds. */
export const TAKE_AFTER = 1_000;
/** How long a node that gives everything back looks for those whom it has to tell, and how often, in milliseconds. */
export const FAREWELL = { most: 5_000, every: 100 };

type Request = MessageOf<LeaseMessage, "lease-request">;
type Question = MessageOf<LeaseMessage, "lease-question">;
type Grant = MessageOf<LeaseMessage, "lease-grant">;
type Word = MessageOf<LeaseMessage, "lease-word">;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;
type LeaseSession = Session<LeaseMessage>;

export interface LeasingParts extends Omit<GivingParts, "carrier" | "becameSure"> {
  readonly vacancies: Vacancies;
  /** The proofs this node holds. */
  held(): readonly Proof[];
  /** Whether another node's proof of this subnet comes before this node's. */
  isBeaten(subnet: string): boolean;
}

export interface LeasingOptions {
  readonly name: string;
  /** Leases to hold in each network. */
  readonly wanted: number;
  /** This node's disk knows of others: it may be a backup, and not know all. */
  readonly restarted: boolean;
}

export class Leasing implements Protocol<LeaseMessage> {
  readonly spec = leaseSpec;
  readonly #parts: LeasingParts;
  readonly #options: LeasingOptions;
  readonly #asker: Asker;
  readonly #carrier: Carrier;
  readonly #giving: Giving;
  /** Whom this node asked last. */
  #askedAt: LeaseSession | undefined;
  /** Ids of nodes to dial, to ask them. */
  #sought: readonly string[] = [];
  /** After a time cut off: the givers that have not yet said which of their gifts count. */
  #unsure: Set<string> | undefined;
  #nonce = "";
  #isLeaving = false;
  #cancelTake: (() => void) | undefined;
  readonly #unasked: Budgets;
  /** Gifts that this node does not hold, by the id of the giver, who is to be told. */
  readonly #declined = new Map<string, string[]>();

  constructor(parts: LeasingParts, options: LeasingOptions) {
    const { clock, identity, log, sessions, vacancies } = parts;
    this.#parts = parts;
    this.#options = options;
    this.#unasked = new Budgets(clock, UNASKED);
    this.#asker = new Asker({ clock, request: () => this.#ask() });
    const carrier = new Carrier({ clock, log, own: identity.id, sessions, vacancies });
    this.#carrier = carrier;
    const becameSure = () => !this.#isDone && this.seek();
    this.#giving = new Giving({ ...parts, carrier, becameSure }, options.restarted);
  }

  start(): void {
    this.#giving.start();
    this.seek();
  }

  /** Asks for leases until this node has all of them and may use them. */
  seek(): void {
    const { fence, ledger } = this.#parts;
    const { givers } = ledger;
    if (fence.isClosed && givers.size > 0) this.#unsure ??= givers;
    if (!this.#unsure && !this.#isDone) this.#take();
    if (this.#isDone) this.#asker.stop();
    else this.#asker.start();
  }

  opened(session: LeaseSession): void {
    this.#sendDeclined(session);
    this.#giving.opened(session);
    if (!this.#asker.isWaiting || this.#sought.includes(session.peer.id)) this.seek();
  }

  closed(session: LeaseSession): void {
    if (session === this.#askedAt && this.#asker.isWaiting) this.seek();
  }

  /** Records have come. */
  learned(records: readonly NodeRecord[], takings: Takings): void {
    const { ledger, allocator, vacancies, held, isBeaten, identity } = this.#parts;
    if (allocator.recall(records.flatMap(({ leases }) => leases))) this.#giving.sayFreeSoon();
    const own = identity.publicKey;
    const takenBack = ledger.proofs.flatMap((proof) => takings.from(own, proof) ?? []);
    const beaten = held().filter((proof) => isBeaten(subnetOf(proof)));
    this.#lose([...takenBack, ...beaten.map((proof) => proof.at(-1)!.signature)]);
    this.#takeSoon();
    const hope = records.some(({ free }) => free) && !this.#asker.isWaiting;
    if (hope && !this.#isDone && vacancies.exist(this.#lacks)) this.seek();
  }

  stop(): void {
    this.#cancelTake?.();
    this.#asker.stop();
    this.#carrier.stop();
    this.#giving.stop();
  }

  /** Answers with the public keys of the nodes that can take back what this one cannot. */
  takeBack(holder: string, leases: readonly Proof[]): Set<string> {
    return this.#parts.revocations.takeBack(holder, leases);
  }

  /** What this node gave to the node of this id, as prefixes. */
  givenTo(id: string): string[] {
    return this.#parts.ledger.givenTo(id);
  }

  /** Proofs of what this node gave and no record shows. */
  get unseen(): Proof[] {
    return this.#parts.ledger.unseen;
  }

  /** Takes back what this node gave to the node of this id, which never showed it. Answers with the prefixes. */
  takeBackFrom(id: string): string[] {
    return this.#parts.revocations.takeBackFrom(id);
  }

  /** The free space, to be said in the record; nothing when there is none to give. */
  sayFree(): (number | null)[] | undefined {
    return this.#giving.sayFree();
  }

  /** Ids of nodes to hold a session with for now: they have space, or are to be told something. */
  get sought(): readonly string[] {
    const givers = this.#isLeaving ? [...this.#parts.ledger.givers].map(nodeId) : [];
    const reminded = this.#giving.sought;
    return [
      ...(this.#isDone ? [] : this.#sought),
      ...givers,
      ...this.#declined.keys(),
      ...(reminded === undefined ? [] : [reminded]),
    ];
  }

  /** Why this node lacks a lease. */
  get problem(): string | undefined {
    if (this.#isDone) return undefined;
    const { ledger, fence, held } = this.#parts;
    const { state } = this.#asker;
    if (fence.isClosed) return `${CUT_OFF} (${state})`;
    if (ledger.needs.length > 0) return `this node has no lease: ${state}`;
    const { wanted } = this.#options;
    return `this node has ${held().length} leases, and is to have ${wanted} in each network: ${state}`;
  }

  /** Why this node gives less than it could, or nothing. */
  givingProblems(): string[] {
    const { exhausted } = this.#parts.allocator;
    return [exhausted ? EXHAUSTED : [], this.#giving.problem ?? []].flat();
  }

  received(session: LeaseSession, message: LeaseMessage) {
    switch (message.type) {
      case "lease-request":
        return this.#giving.requested(session, message);
      case "lease-question":
        return this.#giving.questioned(session, message);
      case "lease-grant":
        return this.#granted(session, message);
      case "lease-word":
        return this.#told(session, message);
      case "lease-refusal":
        return this.#refused(session, message);
      case "lease-return":
        this.#giving.returned(session, message);
        return this.#takeSoon();
    }
  }

  /** Everything is to be given back: waits until the givers can be told, or have not been found. */
  async lookForGivers(): Promise<void> {
    const { clock, ledger, changed } = this.#parts;
    const until = clock.elapsed() + FAREWELL.most;
    this.#isLeaving = true;
    changed();
    while (this.#givers().length < ledger.givers.size && clock.elapsed() < until) {
      await new Promise<void>((resolve) => clock.after(FAREWELL.every, resolve));
    }
  }

  /** The sessions with those who gave this node what it holds. */
  #givers(): LeaseSession[] {
    const { givers } = this.#parts.ledger;
    return this.#parts.sessions().filter(({ peer }) => givers.has(peer.publicKey));
  }

  /** Gives everything back to the givers, if they can be told and nothing of it is another's by now. */
  release(): void {
    const { ledger, revocations, log } = this.#parts;
    const told = this.#givers();
    const gifts = told.length === ledger.givers.size ? revocations.letGo() : undefined;
    for (const giver of gifts ? told : []) {
      const own = gifts!.filter(({ from }) => from === giver.peer.publicKey);
      const left = own.map(({ signature }) => signature);
      while (left.length > 0) {
        giver.send({ type: "lease-return", gifts: left.splice(0, MAX_GIFTS) });
      }
    }
    log.info(
      gifts ? "the leases are given back" : "the leases are kept: they cannot be given back now",
    );
  }

  // ---- asking

  #ask(): boolean {
    const giver = oneOf(this.#parts.clock, [...(this.#unsure ?? [])]);
    const message = giver === undefined ? this.#request() : this.#question(giver);
    const { sessions } = this.#parts;
    this.#seek(message, sessions());
    this.#askedAt = this.#carrier.choose(message, sessions(), { anybody: true });
    this.#askedAt?.send(message);
    return this.#askedAt !== undefined;
  }

  #request(): Request {
    const { identity, ledger } = this.#parts;
    return {
      type: "lease-request",
      name: this.#options.name,
      for: identity.publicKey,
      networks: [...this.#lacks],
      have: ledger.gifts.slice(0, MAX_GIFTS),
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
  #seek(message: Errand, sessions: readonly LeaseSession[]): void {
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

  #granted(session: LeaseSession, message: Grant) {
    const { cluster, identity, allocator, revocations } = this.#parts;
    const [{ proofs }, to] = [message, message.proofs[0]!.at(-1)!.to];
    const flaw = () => proofs.map((proof) => flawOfGift(cluster, to, proof)).find(Boolean);
    if (to !== identity.publicKey) return this.#handBack(session, to, message, flaw);
    if (this.#unsure) return;
    if (!this.#isAwaited(session) && !this.#unasked.of(session.peer.id).spend(proofs.length))
      return;
    const why = flaw();
    if (why) return session.close(forged(why));
    const wasDone = this.#isDone;
    const declined = [...revocations.lost(proofs), ...allocator.accept(proofs)];
    const isDeclined = (proof: Proof) => declined.includes(proof.at(-1)!.signature);
    this.#decline(proofs.filter(isDeclined));
    if (wasDone) return;
    this.#take();
    if (this.#isDone) return this.#decline(revocations.dropUnused());
    if (!this.#isAwaited(session)) return;
    // Who was offered nothing new need not ask again at once.
    if (proofs.every(isDeclined)) this.#asker.refused(OLD_GIFT);
    else this.#asker.start();
  }

  #told(session: LeaseSession, message: Word) {
    const { cluster, identity, revocations, fence, log, publish } = this.#parts;
    const { word } = message;
    const flaw = () => (isWord(cluster, word) ? undefined : "a signature is wrong");
    if (word.to !== identity.publicKey) return this.#handBack(session, word.to, message, flaw);
    if (word.nonce !== this.#nonce || !this.#unsure?.has(word.from)) return;
    const why = flaw();
    if (why) return session.close(forged(why));
    if (revocations.confirmed(word.from, word.gifts)) log.warn(TAKEN_BACK);
    this.#unsure.delete(word.from);
    if (this.#unsure.size > 0) return this.#asker.start();
    this.#unsure = undefined;
    fence.open();
    publish();
    this.seek();
  }

  /** To another that waits for it. What nobody waits for is not worth the signatures that it may have. */
  #handBack(
    session: LeaseSession,
    to: string,
    message: Grant | Word,
    flaw: () => string | undefined,
  ) {
    const back = this.#carrier.answered(session, to);
    const why = back && flaw();
    if (why) return session.close(forged(why));
    back?.send(message);
  }

  #refused(session: LeaseSession, refusal: Refusal) {
    const { identity, member, log, changed } = this.#parts;
    if (refusal.for !== identity.publicKey) return this.#carrier.further(session, refusal);
    if (!this.#isAwaited(session)) return;
    const { id } = session.peer;
    const reason = `${member(id)?.name ?? id} says: ${refusal.reason}`;
    const isSaid = this.#asker.state.endsWith(` says: ${refusal.reason}`);
    if (!isSaid) log.warn(`no lease was given: ${reason}`);
    this.#asker.refused(reason);
    changed();
  }

  /** Its own space may hold a lease now: what others showed there may be known to count no more. */
  #takeSoon(): void {
    const { clock, safely } = this.#parts;
    if (this.#isDone) return;
    this.#cancelTake ??= clock.after(TAKE_AFTER, () => {
      this.#cancelTake = undefined;
      if (!this.#unsure && !this.#isDone) safely(() => this.#take());
    });
  }

  /** From this node's own space, if it has some. */
  #take(): void {
    const { ledger, allocator, fence, held, log, publish } = this.#parts;
    if (this.#giving.isSure) allocator.take();
    if (ledger.needs.length > 0) return;
    if (fence.isClosed || !fence.wasHeard) fence.open();
    if (this.#isDone) this.#asker.stop();
    if (this.#isShown) return;
    log.info(`this node holds ${held().map(subnetOf).join(", ")}`);
    publish();
  }

  /** A giver took these back, or gave the same to another. */
  #lose(gone: readonly string[]): void {
    const { revocations, log, publish, changed } = this.#parts;
    if (gone.length === 0 || !revocations.lose(gone)) return;
    this.#forgetGivers();
    log.warn(TAKEN_BACK);
    publish();
    changed();
    this.seek();
  }

  /** A giver of nothing that this node holds has nothing to confirm. */
  #forgetGivers(): void {
    const { givers } = this.#parts.ledger;
    for (const giver of this.#unsure ?? []) if (!givers.has(giver)) this.#unsure?.delete(giver);
    if (this.#unsure?.size === 0) this.#unsure = undefined;
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

  #sendDeclined(session: LeaseSession): void {
    const gifts = this.#declined.get(session.peer.id);
    if (gifts) session.send({ type: "lease-return", gifts });
    this.#declined.delete(session.peer.id);
  }

  // ---- small things

  /** Whether an answer of this one is waited for: a session may have been replaced meanwhile. */
  #isAwaited({ peer }: LeaseSession): boolean {
    return this.#asker.isWaiting && peer.id === this.#askedAt?.peer.id;
  }

  get #lacks(): readonly string[] {
    return this.#parts.ledger.lacks.map(({ prefix }) => prefix);
  }

  /** Whether the record of this node shows what it holds. */
  get #isShown(): boolean {
    const { member, identity, held } = this.#parts;
    const ends = (proofs: readonly Proof[] = []) => proofs.map((proof) => proof.at(-1)!.signature);
    return ends(member(identity.id)?.leases).join() === ends(fitting(held())).join();
  }

  get #isDone(): boolean {
    const { ledger, fence } = this.#parts;
    return ledger.lacks.length === 0 && !fence.isClosed;
  }
}

const CUT_OFF =
  "this node was cut off for longer than its lease lasts, and does not use it until the node that gave it confirms that it was not taken back; if that one is gone for good, move the state directory away to join anew";

const EXHAUSTED = `this node has given space ${MAX_JOURNAL} times, as often as it can write down, and gives no more: others still give`;

const TAKEN_BACK =
  "the lease of this node was taken back, or given to another: it asks for another one";

const OLD_GIFT = "this node was offered a lease that it gave back before: the giver will be told";

const forged = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `a lease came that proves nothing: ${why}`, "see its log");
