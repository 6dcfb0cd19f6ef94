/**
 * The leasing protocol: how this node gets space, takes its leases from it, and drops leases that
 * were revoked or belong to another node. docs/leases.md draws the exchange. `Granter` answers the
 * requests of other nodes.
 */
import { WeftError } from "../error.js";
import type { NodeRecord } from "../gossip/record.js";
import type { Revocations } from "../gossip/revocations.js";
import { nodeId } from "../identity/identity.js";
import { MAX_JOURNAL } from "../lease/allocator.js";
import { freshNonce, isAttestation } from "../lease/attestation.js";
import { fitting } from "../lease/bundle.js";
import { flawOfGift, type Proof, subnetOf } from "../lease/grant.js";
import { LeaseRequester } from "../lease/requester.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { randomOf } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import type { FreeSpaceDirectory } from "./free-space-directory.js";
import { Granter, type GranterParts } from "./granter.js";
import { type LeaseMessage, leaseSpec, MAX_GIFTS } from "./messages.js";
import { type ForwardedRequest, RequestForwarder } from "./request-forwarder.js";

/** Nodes with space that are dialled at one time to send them a request. */
export const MAX_DIAL_TARGETS = 3;
/** Proofs from one peer that this node checks without a request of its own: burst, and rate per second. */
export const UNSOLICITED_LIMIT = { burst: 16, rate: 1 / 60 };
/** Milliseconds from new records until a node that lacks a lease tries its own space again. */
export const TAKE_LEASES_AFTER = 1_000;
/** Milliseconds that a node that returns everything waits for sessions with its granters: at most, and between checks. */
export const RELEASE_WAIT = { most: 5_000, every: 100 };

type Request = MessageOf<LeaseMessage, "lease-request">;
type StatusQuery = MessageOf<LeaseMessage, "lease-status-query">;
type Grant = MessageOf<LeaseMessage, "lease-grant">;
type AttestationMessage = MessageOf<LeaseMessage, "lease-attestation">;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;
type LeaseSession = Session<LeaseMessage>;

export interface LeasingParts extends Omit<GranterParts, "forwarder" | "onJournalComplete"> {
  readonly directory: FreeSpaceDirectory;
  /** Proofs of the leases that this node holds. */
  held(): readonly Proof[];
  /** Whether another node's proof of this subnet wins against this node's. */
  isOutranked(subnet: string): boolean;
}

export interface LeasingOptions {
  readonly name: string;
  /** Leases to hold in each network. */
  readonly leasesPerNetwork: number;
  /** Whether this node's disk names other nodes: it may be a backup that lacks the last grants. */
  readonly restarted: boolean;
}

export class Leasing implements Protocol<LeaseMessage> {
  readonly spec = leaseSpec;
  readonly #parts: LeasingParts;
  readonly #options: LeasingOptions;
  readonly #requester: LeaseRequester;
  readonly #forwarder: RequestForwarder;
  readonly #granter: Granter;
  /** The session that the last request went to. */
  #askedAt: LeaseSession | undefined;
  /** Ids of nodes to dial, to send them a request. */
  #dialTargets: readonly string[] = [];
  /** While the fence is closed: public keys of the granters whose attestation is missing. */
  #unconfirmed: Set<string> | undefined;
  #nonce = "";
  #isLeaving = false;
  #cancelTakeLeases: (() => void) | undefined;
  readonly #unsolicitedLimit: KeyedRateLimiter;
  /** Signatures of grants to return, by the id of their granter, until there is a session with it. */
  readonly #declined = new Map<string, string[]>();

  constructor(parts: LeasingParts, options: LeasingOptions) {
    const { clock, identity, log, sessions, directory } = parts;
    this.#parts = parts;
    this.#options = options;
    this.#unsolicitedLimit = new KeyedRateLimiter(clock, UNSOLICITED_LIMIT);
    this.#requester = new LeaseRequester({ clock, request: () => this.#sendRequest() });
    const forwarder = new RequestForwarder({ clock, log, own: identity.id, sessions, directory });
    this.#forwarder = forwarder;
    const onJournalComplete = () => !this.#isDone && this.acquire();
    this.#granter = new Granter({ ...parts, forwarder, onJournalComplete }, options.restarted);
  }

  start(): void {
    this.#granter.start();
    this.acquire();
  }

  /** Requests leases until this node has all of them and its fence is open. */
  acquire(): void {
    const { fence, ledger } = this.#parts;
    const { givers } = ledger;
    if (fence.isClosed && givers.size > 0) this.#unconfirmed ??= givers;
    if (!this.#unconfirmed && !this.#isDone) this.#takeLeases();
    if (this.#isDone) this.#requester.stop();
    else this.#requester.start();
  }

  opened(session: LeaseSession): void {
    this.#sendDeclined(session);
    this.#granter.opened(session);
    if (!this.#requester.isWaiting || this.#dialTargets.includes(session.peer.id)) this.acquire();
  }

  closed(session: LeaseSession): void {
    if (session === this.#askedAt && this.#requester.isWaiting) this.acquire();
  }

  /** Applies new records: restores the journal, drops lost leases, and asks where space is free. */
  onRecords(records: readonly NodeRecord[], revocations: Revocations): void {
    const { ledger, allocator, directory, held, isOutranked, identity } = this.#parts;
    if (allocator.restoreJournal(records.flatMap(({ leases }) => leases)))
      this.#granter.publishFreeSoon();
    const own = identity.publicKey;
    const takenBack = ledger.proofs.flatMap((proof) => revocations.revokedGrant(own, proof) ?? []);
    const beaten = held().filter((proof) => isOutranked(subnetOf(proof)));
    this.#drop([...takenBack, ...beaten.map((proof) => proof.at(-1)!.signature)]);
    this.#takeLeasesSoon();
    const hope = records.some(({ free }) => free) && !this.#requester.isWaiting;
    if (hope && !this.#isDone && directory.hasFree(this.#lacks)) this.acquire();
  }

  stop(): void {
    this.#cancelTakeLeases?.();
    this.#requester.stop();
    this.#forwarder.stop();
    this.#granter.stop();
  }

  /** Revokes what `holder` holds. Returns the public keys of the nodes that can revoke the rest. */
  revoke(holder: string, leases: readonly Proof[]): Set<string> {
    return this.#parts.revoker.revoke(holder, leases);
  }

  /** Prefixes that this node granted to the node of this id and has not revoked. */
  givenTo(id: string): string[] {
    return this.#parts.ledger.givenTo(id);
  }

  /** Proofs of the grants of this node that no record shows. */
  get unseen(): Proof[] {
    return this.#parts.ledger.unseen;
  }

  /** Revokes the grants to the node of this id, which has no record. Returns their prefixes. */
  revokeUnseen(id: string): string[] {
    return this.#parts.revoker.revokeUnseen(id);
  }

  /** The free space for this node's record, as in `Allocator.free`; undefined when there is none. */
  freeForRecord(): (number | null)[] | undefined {
    return this.#granter.freeForRecord();
  }

  /** Ids of nodes to open a session with: they have space, or a grant or return is to be sent to them. */
  get dialTargets(): readonly string[] {
    const givers = this.#isLeaving ? [...this.#parts.ledger.givers].map(nodeId) : [];
    const reminded = this.#granter.dialTarget;
    return [
      ...(this.#isDone ? [] : this.#dialTargets),
      ...givers,
      ...this.#declined.keys(),
      ...(reminded === undefined ? [] : [reminded]),
    ];
  }

  /** The reason why this node lacks a lease or may not use it, for `weft status`. */
  get problem(): string | undefined {
    if (this.#isDone) return undefined;
    const { ledger, fence, held } = this.#parts;
    const { state } = this.#requester;
    if (fence.isClosed) return `${CUT_OFF} (${state})`;
    if (ledger.emptyNetworks.length > 0) return `this node has no lease: ${state}`;
    const { leasesPerNetwork } = this.#options;
    return `this node has ${held().length} leases, and needs ${leasesPerNetwork} in each network: ${state}`;
  }

  /** The reasons why this node grants less than it could, for `weft status`. */
  grantProblems(): string[] {
    const { exhausted } = this.#parts.allocator;
    return [exhausted ? EXHAUSTED : [], this.#granter.problem ?? []].flat();
  }

  received(session: LeaseSession, message: LeaseMessage) {
    switch (message.type) {
      case "lease-request":
        return this.#granter.onRequest(session, message);
      case "lease-status-query":
        return this.#granter.onStatusQuery(session, message);
      case "lease-grant":
        return this.#onGrant(session, message);
      case "lease-attestation":
        return this.#onAttestation(session, message);
      case "lease-refusal":
        return this.#onRefusal(session, message);
      case "lease-return":
        this.#granter.onReturn(session, message);
        return this.#takeLeasesSoon();
    }
  }

  /** Opens sessions with all granters before a release; waits at most `RELEASE_WAIT.most`. */
  async lookForGivers(): Promise<void> {
    const { clock, ledger, changed } = this.#parts;
    const until = clock.elapsed() + RELEASE_WAIT.most;
    this.#isLeaving = true;
    changed();
    while (this.#givers().length < ledger.givers.size && clock.elapsed() < until) {
      await new Promise<void>((resolve) => clock.after(RELEASE_WAIT.every, resolve));
    }
  }

  /** The sessions with the nodes that granted this one what it holds. */
  #givers(): LeaseSession[] {
    const { givers } = this.#parts.ledger;
    return this.#parts.sessions().filter(({ peer }) => givers.has(peer.publicKey));
  }

  /** Returns everything to the granters, if all have a session and no part of it is granted to others. */
  release(): void {
    const { ledger, revoker, log } = this.#parts;
    const told = this.#givers();
    const gifts = told.length === ledger.givers.size ? revoker.releaseAll() : undefined;
    for (const giver of gifts ? told : []) {
      const own = gifts!.filter(({ from }) => from === giver.peer.publicKey);
      const left = own.map(({ signature }) => signature);
      while (left.length > 0) {
        giver.send({ type: "lease-return", gifts: left.splice(0, MAX_GIFTS) });
      }
    }
    log.info(
      gifts ? "the leases are returned" : "the leases are kept: they cannot be returned now",
    );
  }

  // ---- requests

  #sendRequest(): boolean {
    const giver = randomOf(this.#parts.clock, [...(this.#unconfirmed ?? [])]);
    const message = giver === undefined ? this.#request() : this.#statusQuery(giver);
    const { sessions } = this.#parts;
    this.#chooseDialTargets(message, sessions());
    this.#askedAt = this.#forwarder.chooseTarget(message, sessions(), { anybody: true });
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
      visited: [identity.id],
    };
  }

  #statusQuery(giver: string): StatusQuery {
    const { identity } = this.#parts;
    this.#nonce = freshNonce();
    const [me, visited] = [identity.publicKey, [identity.id]];
    return { type: "lease-status-query", for: me, of: giver, nonce: this.#nonce, visited };
  }

  /** Chooses nodes to dial if no neighbour can answer. */
  #chooseDialTargets(message: ForwardedRequest, sessions: readonly LeaseSession[]): void {
    const { directory, changed } = this.#parts;
    const before = this.#dialTargets;
    if (message.type === "lease-status-query") this.#dialTargets = [nodeId(message.of)];
    else {
      const ids = sessions.map(({ peer }) => peer.id);
      const isNear = directory.best(ids, message.networks) !== undefined;
      this.#dialTargets = isNear ? [] : directory.choose(message.networks, MAX_DIAL_TARGETS);
    }
    if (this.#dialTargets.join() !== before.join()) changed();
  }

  #onGrant(session: LeaseSession, message: Grant) {
    const { cluster, identity, allocator, revoker } = this.#parts;
    const [{ proofs }, to] = [message, message.proofs[0]!.at(-1)!.to];
    const flaw = () => proofs.map((proof) => flawOfGift(cluster, to, proof)).find(Boolean);
    if (to !== identity.publicKey) return this.#sendBack(session, to, message, flaw);
    if (this.#unconfirmed) return;
    if (
      !this.#isAwaited(session) &&
      !this.#unsolicitedLimit.of(session.peer.id).spend(proofs.length)
    )
      return;
    const why = flaw();
    if (why) return session.close(forged(why));
    const wasDone = this.#isDone;
    const declined = [...revoker.alreadyRevoked(proofs), ...allocator.accept(proofs)];
    const isDeclined = (proof: Proof) => declined.includes(proof.at(-1)!.signature);
    this.#decline(proofs.filter(isDeclined));
    if (wasDone) return;
    this.#takeLeases();
    if (this.#isDone) return this.#decline(revoker.dropUnused());
    if (!this.#isAwaited(session)) return;
    // After an answer with nothing new, the next request waits.
    if (proofs.every(isDeclined)) this.#requester.refused(OLD_GIFT);
    else this.#requester.start();
  }

  #onAttestation(session: LeaseSession, message: AttestationMessage) {
    const { cluster, identity, revoker, fence, log, publish } = this.#parts;
    const { attestation } = message;
    const flaw = () => (isAttestation(cluster, attestation) ? undefined : "a signature is wrong");
    if (attestation.to !== identity.publicKey)
      return this.#sendBack(session, attestation.to, message, flaw);
    if (attestation.nonce !== this.#nonce || !this.#unconfirmed?.has(attestation.from)) return;
    const why = flaw();
    if (why) return session.close(forged(why));
    if (revoker.keepConfirmed(attestation.from, attestation.gifts)) log.warn(REVOKED);
    this.#unconfirmed.delete(attestation.from);
    if (this.#unconfirmed.size > 0) return this.#requester.start();
    this.#unconfirmed = undefined;
    fence.open();
    publish();
    this.acquire();
  }

  /** Sends an answer on to the requester that waits for it. It is checked only if one waits. */
  #sendBack(
    session: LeaseSession,
    to: string,
    message: Grant | AttestationMessage,
    flaw: () => string | undefined,
  ) {
    const back = this.#forwarder.takeOrigin(session, to);
    const why = back && flaw();
    if (why) return session.close(forged(why));
    back?.send(message);
  }

  #onRefusal(session: LeaseSession, refusal: Refusal) {
    const { identity, member, log, changed } = this.#parts;
    if (refusal.for !== identity.publicKey) return this.#forwarder.onRefusal(session, refusal);
    if (!this.#isAwaited(session)) return;
    const { id } = session.peer;
    const reason = `${member(id)?.name ?? id} says: ${refusal.reason}`;
    const isSaid = this.#requester.state.endsWith(` says: ${refusal.reason}`);
    if (!isSaid) log.warn(`no lease was given: ${reason}`);
    this.#requester.refused(reason);
    changed();
  }

  /** Tries the own space again: revocations that just arrived may have freed a lease there. */
  #takeLeasesSoon(): void {
    const { clock, safely } = this.#parts;
    if (this.#isDone) return;
    this.#cancelTakeLeases ??= clock.after(TAKE_LEASES_AFTER, () => {
      this.#cancelTakeLeases = undefined;
      if (!this.#unconfirmed && !this.#isDone) safely(() => this.#takeLeases());
    });
  }

  /** Takes leases from this node's own space, and publishes them once there is one in each network. */
  #takeLeases(): void {
    const { ledger, allocator, fence, held, log, publish } = this.#parts;
    if (this.#granter.isJournalComplete) allocator.takeLeases();
    if (ledger.emptyNetworks.length > 0) return;
    if (fence.isClosed || !fence.wasHeard) fence.open();
    if (this.#isDone) this.#requester.stop();
    if (this.#isPublished) return;
    log.info(`this node holds ${held().map(subnetOf).join(", ")}`);
    publish();
  }

  /** Drops what comes from these grants: their granter revoked them, or another proof wins. */
  #drop(gone: readonly string[]): void {
    const { revoker, log, publish, changed } = this.#parts;
    if (gone.length === 0 || !revoker.drop(gone)) return;
    this.#dropPastGivers();
    log.warn(REVOKED);
    publish();
    changed();
    this.acquire();
  }

  /** Waits no longer for attestations of nodes that granted nothing this node still holds. */
  #dropPastGivers(): void {
    const { givers } = this.#parts.ledger;
    for (const giver of this.#unconfirmed ?? [])
      if (!givers.has(giver)) this.#unconfirmed?.delete(giver);
    if (this.#unconfirmed?.size === 0) this.#unconfirmed = undefined;
  }

  /** Returns these grants to their granters, now or at the next session. */
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

  // ---- state

  /** Whether an answer of this peer is awaited. Compares ids, since the session may have been replaced. */
  #isAwaited({ peer }: LeaseSession): boolean {
    return this.#requester.isWaiting && peer.id === this.#askedAt?.peer.id;
  }

  get #lacks(): readonly string[] {
    return this.#parts.ledger.incompleteNetworks.map(({ prefix }) => prefix);
  }

  /** Whether this node's record shows the leases that it holds. */
  get #isPublished(): boolean {
    const { member, identity, held } = this.#parts;
    const ends = (proofs: readonly Proof[] = []) => proofs.map((proof) => proof.at(-1)!.signature);
    return ends(member(identity.id)?.leases).join() === ends(fitting(held())).join();
  }

  get #isDone(): boolean {
    const { ledger, fence } = this.#parts;
    return ledger.incompleteNetworks.length === 0 && !fence.isClosed;
  }
}

const CUT_OFF =
  "this node was cut off for longer than its lease lasts, and does not use it until the node that granted it attests that it still counts; if that node is gone for good, move the state directory away to join as a new node";

const EXHAUSTED = `this node has made ${MAX_JOURNAL} grants, as many as its journal holds, and grants no more: others still grant`;

const REVOKED =
  "the lease of this node was revoked, or another node holds it: this node asks for another one";

const OLD_GIFT = "this node was granted a lease that it had returned before: it returns it again";

const forged = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `the proof of a granted lease is not valid: ${why}`, "see its log");
