/**
 * The leasing protocol: how this node gets space, takes its leases from it, and drops leases that
 * were revoked or belong to another node. docs/leases.md draws the exchange. `Granter` answers the
 * requests of other nodes.
 */
import { EventEmitter } from "node:events";
import type { Prefix } from "../address.js";
import { WeftError } from "../error.js";
import type { NodeRecord, RecordContent } from "../gossip/record.js";
import { nodeId } from "../identity/identity.js";
import { Allocator, MAX_JOURNAL } from "../lease/allocator.js";
import { isAttestation } from "../lease/attestation.js";
import { fitting } from "../lease/bundle.js";
import { flawOfGrant, type Proof, subnetOf } from "../lease/grant.js";
import { LeaseRequester } from "../lease/requester.js";
import { Revoker } from "../lease/revoker.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { FreeSpaceDirectory, type FreeSpaceDirectoryParts } from "./free-space-directory.js";
import { GrantReturns } from "./grant-returns.js";
import { Granter, type GranterOptions, type GranterParts } from "./granter.js";
import { LeaseConfirmation } from "./lease-confirmation.js";
import { type LeaseMessage, leaseSpec, MAX_GRANTS_IN_MESSAGE } from "./messages.js";
import { type ForwardedRequest, RequestForwarder } from "./request-forwarder.js";

/** Nodes with space that are dialled at one time to send them a request. */
export const MAX_DIAL_TARGETS = 3;
/** Proofs from one peer that this node checks without a request of its own: burst, and rate per second. */
export const UNSOLICITED_LIMIT = { burst: 16, rate: 1 / 60 };
/** Milliseconds from new records until a node that lacks a lease tries its own space again. */
export const TAKE_LEASES_AFTER = 1_000;

type Request = MessageOf<LeaseMessage, "lease-request">;
type Grant = MessageOf<LeaseMessage, "lease-grant">;
type AttestationMessage = MessageOf<LeaseMessage, "lease-attestation">;
type Refusal = MessageOf<LeaseMessage, "lease-refusal">;
type LeaseSession = Session<LeaseMessage>;

export interface LeasingParts
  extends Omit<GranterParts, "allocator" | "forwarder" | "revoker">,
    Pick<FreeSpaceDirectoryParts, "reachability"> {}

export interface LeasingEvents {
  /** `dialTargets` or `problem` may have changed. */
  changed: [];
}

export interface LeasingOptions extends GranterOptions {
  /** Leases to hold in each network. */
  readonly leasesPerNetwork: number;
  /** Space that is never granted. */
  readonly reserved: readonly Prefix[];
}

export class Leasing extends EventEmitter<LeasingEvents> implements Protocol<LeaseMessage> {
  readonly spec = leaseSpec;
  readonly #parts: LeasingParts;
  readonly #options: LeasingOptions;
  readonly #allocator: Allocator;
  readonly #revoker: Revoker;
  readonly #directory: FreeSpaceDirectory;
  readonly #requester: LeaseRequester;
  readonly #forwarder: RequestForwarder;
  readonly #granter: Granter;
  readonly #returns: GrantReturns;
  readonly #confirmation: LeaseConfirmation;
  /** The session that the last request went to. */
  #askedAt: LeaseSession | undefined;
  /** Ids of nodes to dial, to send them a request. */
  #dialTargets: readonly string[] = [];
  #cancelTakeLeases: (() => void) | undefined;
  readonly #unsolicitedLimit: KeyedRateLimiter;

  constructor(parts: LeasingParts, options: LeasingOptions) {
    super();
    const { clock, identity, cluster, ledger } = parts;
    const own = identity.id;
    const networks = cluster.genesis.network.map(({ prefix }) => prefix);
    this.#parts = parts;
    this.#options = options;
    this.#allocator = new Allocator({ clock, ledger, reserved: options.reserved });
    this.#revoker = new Revoker(ledger);
    this.#directory = new FreeSpaceDirectory({ ...parts, own, networks });
    this.#unsolicitedLimit = new KeyedRateLimiter(clock, UNSOLICITED_LIMIT);
    this.#requester = new LeaseRequester({ clock, request: () => this.#sendRequest() });
    this.#forwarder = new RequestForwarder({ ...parts, own, directory: this.#directory });
    const [allocator, revoker, forwarder] = [this.#allocator, this.#revoker, this.#forwarder];
    this.#granter = new Granter({ ...parts, allocator, revoker, forwarder }, options);
    this.#returns = new GrantReturns({ ...parts, revoker });
    this.#confirmation = new LeaseConfirmation({ ...parts, revoker });
    this.#granter.on("journalComplete", () => !this.#isDone && this.acquire());
    for (const part of [this.#granter, this.#returns])
      part.on("changed", () => this.emit("changed"));
  }

  start(): void {
    this.#granter.start();
    this.acquire();
  }

  /** Requests leases until this node has all of them and its fence is open. */
  acquire(): void {
    if (this.#parts.fence.isClosed) this.#confirmation.begin();
    if (!this.#confirmation.isPending && !this.#isDone) this.#takeLeases();
    if (this.#isDone) this.#requester.stop();
    else this.#requester.start();
  }

  opened(session: LeaseSession): void {
    this.#returns.opened(session);
    this.#granter.opened(session);
    if (!this.#requester.isWaiting || this.#dialTargets.includes(session.peer.id)) this.acquire();
  }

  closed(session: LeaseSession): void {
    if (session === this.#askedAt && this.#requester.isWaiting) this.acquire();
  }

  /** Applies new records: restores the journal, drops lost leases, and asks where space is free. */
  onRecords(records: readonly NodeRecord[]): void {
    const { ledger, members, identity } = this.#parts;
    if (this.#allocator.restoreJournal(records.flatMap(({ leases }) => leases)))
      this.#granter.publishFreeSoon();
    const own = identity.publicKey;
    const takenBack = ledger.proofs.flatMap(
      (proof) => members.revocations.revokedGrant(own, proof) ?? [],
    );
    const outranked = this.#held.filter((proof) => this.#isOutranked(subnetOf(proof)));
    this.#drop([...takenBack, ...outranked.map((proof) => proof.at(-1)!.signature)]);
    this.#takeLeasesSoon();
    const mayGrant = records.some(({ free }) => free) && !this.#requester.isWaiting;
    if (mayGrant && !this.#isDone && this.#directory.hasFree(this.#lacks)) this.acquire();
  }

  stop(): void {
    this.#cancelTakeLeases?.();
    this.#requester.stop();
    this.#forwarder.stop();
    this.#granter.stop();
  }

  /** Revokes what `holder` holds. Returns the public keys of the nodes that can revoke the rest. */
  revoke(holder: string, leases: readonly Proof[]): Set<string> {
    return this.#revoker.revoke(holder, leases);
  }

  /** Prefixes that this node granted to the node of this id and has not revoked. */
  grantedTo(id: string): string[] {
    return this.#parts.ledger.grantedTo(id);
  }

  /** Proofs of the grants of this node that no record shows. */
  get unseen(): Proof[] {
    return this.#parts.ledger.unseen;
  }

  /** Revokes the grants to the node of this id, which has no record. Returns their prefixes. */
  revokeUnseen(id: string): string[] {
    return this.#revoker.revokeUnseen(id);
  }

  /** The free space for this node's record, as in `Allocator.free`; nothing when there is none. */
  forRecord(): Pick<RecordContent, "free"> {
    const free = this.#granter.freeForRecord();
    return free ? { free } : {};
  }

  /** Ids of nodes to open a session with: they have space, or a grant or return is to be sent to them. */
  get dialTargets(): readonly string[] {
    const reminded = this.#granter.dialTarget;
    return [
      ...(this.#isDone ? [] : this.#dialTargets),
      ...this.#returns.dialTargets,
      ...(reminded === undefined ? [] : [reminded]),
    ];
  }

  /** The reason why this node lacks a lease or may not use it, for `weft status`. */
  get problem(): string | undefined {
    if (this.#isDone) return undefined;
    const { ledger, fence } = this.#parts;
    const { state } = this.#requester;
    if (fence.isClosed) return `${CUT_OFF} (${state})`;
    if (ledger.emptyNetworks.length > 0) return `this node has no lease: ${state}`;
    const { leasesPerNetwork } = this.#options;
    return `this node has ${this.#held.length} leases, and needs ${leasesPerNetwork} in each network: ${state}`;
  }

  /** The reasons why this node grants less than it could, for `weft status`. */
  grantProblems(): string[] {
    const { exhausted } = this.#allocator;
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

  /** As `GrantReturns.openGranterSessions`. */
  openGranterSessions(): Promise<void> {
    return this.#returns.openGranterSessions();
  }

  /** As `GrantReturns.release`. */
  release(): void {
    this.#returns.release();
  }

  // ---- requests

  #sendRequest(): boolean {
    const message = this.#confirmation.query() ?? this.#request();
    const sessions = this.#parts.connections.sessions();
    this.#chooseDialTargets(message, sessions);
    this.#askedAt = this.#forwarder.chooseTarget(message, sessions, { anybody: true });
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
      have: ledger.receivedSignatures.slice(0, MAX_GRANTS_IN_MESSAGE),
      visited: [identity.id],
    };
  }

  /** Chooses nodes to dial if no neighbour can answer. */
  #chooseDialTargets(message: ForwardedRequest, sessions: readonly LeaseSession[]): void {
    const before = this.#dialTargets;
    if (message.type === "lease-status-query") this.#dialTargets = [nodeId(message.of)];
    else {
      const ids = sessions.map(({ peer }) => peer.id);
      const isNear = this.#directory.best(ids, message.networks) !== undefined;
      this.#dialTargets = isNear ? [] : this.#directory.choose(message.networks, MAX_DIAL_TARGETS);
    }
    if (this.#dialTargets.join() !== before.join()) this.emit("changed");
  }

  #onGrant(session: LeaseSession, message: Grant) {
    const { cluster, identity } = this.#parts;
    const [{ proofs }, to] = [message, message.proofs[0]!.at(-1)!.to];
    const flaw = () => proofs.map((proof) => flawOfGrant(cluster, to, proof)).find(Boolean);
    if (to !== identity.publicKey) return this.#sendBack(session, to, message, flaw);
    if (this.#confirmation.isPending) return;
    if (
      !this.#isAwaited(session) &&
      !this.#unsolicitedLimit.of(session.peer.id).spend(proofs.length)
    )
      return;
    const why = flaw();
    if (why) return session.close(forged(why));
    const wasDone = this.#isDone;
    const declined = [...this.#revoker.alreadyRevoked(proofs), ...this.#allocator.accept(proofs)];
    const isDeclined = (proof: Proof) => declined.includes(proof.at(-1)!.signature);
    this.#returns.decline(proofs.filter(isDeclined));
    if (wasDone) return;
    this.#takeLeases();
    if (this.#isDone) return this.#returns.decline(this.#revoker.dropUnused());
    if (!this.#isAwaited(session)) return;
    // After an answer with nothing new, the next request waits.
    if (proofs.every(isDeclined)) this.#requester.refused(RETURNED_GRANT);
    else this.#requester.start();
  }

  #onAttestation(session: LeaseSession, message: AttestationMessage) {
    const { cluster, identity, fence, log, ownRecord } = this.#parts;
    const { attestation } = message;
    const flaw = () => (isAttestation(cluster, attestation) ? undefined : "a signature is wrong");
    if (attestation.to !== identity.publicKey)
      return this.#sendBack(session, attestation.to, message, flaw);
    if (!this.#confirmation.isAwaited(attestation)) return;
    const why = flaw();
    if (why) return session.close(forged(why));
    if (this.#confirmation.accept(attestation)) log.warn(REVOKED);
    if (this.#confirmation.isPending) return this.#requester.start();
    fence.open();
    ownRecord.publish();
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
    const { identity, members, log } = this.#parts;
    if (refusal.for !== identity.publicKey) return this.#forwarder.onRefusal(session, refusal);
    if (!this.#isAwaited(session)) return;
    const { id } = session.peer;
    const reason = `${members.get(id)?.name ?? id} says: ${refusal.reason}`;
    const isSaid = this.#requester.state.endsWith(` says: ${refusal.reason}`);
    if (!isSaid) log.warn(`no lease was granted: ${reason}`);
    this.#requester.refused(reason);
    this.emit("changed");
  }

  /** Tries the own space again: revocations that just arrived may have freed a lease there. */
  #takeLeasesSoon(): void {
    const { clock, disk } = this.#parts;
    if (this.#isDone) return;
    this.#cancelTakeLeases ??= clock.after(TAKE_LEASES_AFTER, () => {
      this.#cancelTakeLeases = undefined;
      if (!this.#confirmation.isPending && !this.#isDone) disk.safely(() => this.#takeLeases());
    });
  }

  /** Takes leases from this node's own space, and publishes them once there is one in each network. */
  #takeLeases(): void {
    const { ledger, fence, log, ownRecord } = this.#parts;
    if (this.#granter.isJournalComplete) this.#allocator.takeLeases();
    if (ledger.emptyNetworks.length > 0) return;
    if (fence.isClosed || !fence.wasHeard) fence.open();
    if (this.#isDone) this.#requester.stop();
    if (this.#isPublished) return;
    log.info(`this node holds ${this.#held.map(subnetOf).join(", ")}`);
    ownRecord.publish();
  }

  /** Drops what comes from these grants: their granter revoked them, or another proof wins. */
  #drop(gone: readonly string[]): void {
    const { log, ownRecord } = this.#parts;
    if (gone.length === 0 || !this.#revoker.drop(gone)) return;
    this.#confirmation.dropPastGranters();
    log.warn(REVOKED);
    ownRecord.publish();
    this.emit("changed");
    this.acquire();
  }

  // ---- state

  /** Whether an answer of this peer is awaited. Compares ids, since the session may have been replaced. */
  #isAwaited({ peer }: LeaseSession): boolean {
    return this.#requester.isWaiting && peer.id === this.#askedAt?.peer.id;
  }

  get #lacks(): readonly string[] {
    return this.#parts.ledger.incompleteNetworks.map(({ prefix }) => prefix);
  }

  /** Proofs of the leases that this node holds. */
  get #held(): readonly Proof[] {
    return this.#parts.ledger.state.leases;
  }

  /** Whether another node's proof of this subnet wins against this node's. */
  #isOutranked(subnet: string): boolean {
    const { members, identity } = this.#parts;
    return (members.view.holder(subnet)?.id ?? identity.id) !== identity.id;
  }

  /** Whether this node's record shows the leases that it holds. */
  get #isPublished(): boolean {
    const { members, identity } = this.#parts;
    const ends = (proofs: readonly Proof[] = []) => proofs.map((proof) => proof.at(-1)!.signature);
    return ends(members.get(identity.id)?.leases).join() === ends(fitting(this.#held)).join();
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

const RETURNED_GRANT =
  "this node was granted a lease that it had returned before: it returns it again";

const forged = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `the proof of a granted lease is not valid: ${why}`, "see its log");
