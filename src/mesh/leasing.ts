/**
 * How this node comes to space and takes its lease from it, answers those who
 * ask it for some, and carries on requests that it cannot answer. docs/leases.md
 * draws the exchange.
 */
import { WeftError } from "../error.js";
import type { Allocator } from "../lease/allocator.js";
import { Asker } from "../lease/asker.js";
import type { Fence } from "../lease/fence.js";
import { type Cluster, inside } from "../lease/genesis.js";
import { flawOfGift, type Proof, subnetOf } from "../lease/grant.js";
import type { Clock } from "./clock.js";
import { type Identity, nodeId } from "./identity.js";
import type { Log } from "./log.js";
import { MAX_GIFTS, MAX_SEEN, type MessageOf } from "./message.js";
import type { Session } from "./session.js";

/** Requests of others that a node carries on at one time. */
export const MAX_CARRIED = 256;
/** How long it waits for the answer to one of them, in milliseconds. */
export const CARRIED_FOR = 8_000;

type Request = MessageOf<"lease-request">;
type Grant = MessageOf<"lease-grant">;
type Refusal = MessageOf<"lease-refusal">;
type Return = MessageOf<"lease-return">;
export type LeaseMessage = Request | Grant | Refusal | Return;

/** A request of another node, on its way to somebody who has free space. */
interface Carried {
  readonly request: Request;
  /** Where it came from, and the answer goes. */
  readonly back: Session;
  readonly reason: string;
  readonly forget: () => void;
}

export interface LeasingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly allocator: Allocator;
  /** The open sessions. */
  sessions(): readonly Session[];
  /** Id of the node that has this name, if one has. */
  bearer(name: string): string | undefined;
  readonly fence: Fence;
  /** The proofs that the node of this id shows. */
  shown(id: string): readonly Proof[];
  /** The proofs this node holds. */
  held(): readonly Proof[];
  /** There are more of them, and they are on disk: tell the others. */
  publish(): void;
  /** `problem` may say something else now. */
  changed(): void;
}

export class Leasing {
  readonly #parts: LeasingParts;
  readonly #name: string;
  readonly #asker: Asker;
  /** By the public key of who asks. */
  readonly #carried = new Map<string, Carried>();
  /** After a time cut off: the networks in which the giver has not yet said that the lease stays. */
  #unsure: Set<string> | undefined;

  constructor(parts: LeasingParts, { name }: { name: string }) {
    this.#parts = parts;
    this.#name = name;
    this.#asker = new Asker({ clock: parts.clock, request: () => this.#request() });
  }

  /** Seeks a lease until this node has one that it may use. Again when a new session makes it worth asking at once. */
  start(): void {
    const { fence, allocator } = this.#parts;
    const givers = [...allocator.givers.keys()];
    if (fence.isClosed && givers.length > 0) this.#unsure ??= new Set(givers);
    if (!this.#unsure && !this.#isDone) this.#take();
    if (!this.#isDone) this.#asker.start();
  }

  stop(): void {
    this.#asker.stop();
    for (const { forget } of this.#carried.values()) forget();
  }

  /** Answers with the public key of the node that can, if this one cannot. */
  takeBack(holder: string, leases: readonly Proof[]): string | undefined {
    return this.#parts.allocator.takeBack(holder, leases);
  }

  /** Why this node has no lease. */
  get problem(): string | undefined {
    if (this.#isDone) return undefined;
    return this.#parts.fence.isClosed ? `${CUT_OFF} (${this.#asker.state})` : this.#asker.problem;
  }

  received(session: Session, message: LeaseMessage) {
    switch (message.type) {
      case "lease-request":
        return this.#requested(session, message);
      case "lease-grant":
        return this.#granted(session, message);
      case "lease-refusal":
        return this.#refused(message);
      case "lease-return":
        return this.#returned(session, message);
    }
  }

  /** Gives everything back to the givers, if they can be told and nothing of it is another's by now. */
  release(): void {
    const { allocator, sessions, log } = this.#parts;
    const givers = new Set(allocator.givers.values());
    const told = sessions().filter(({ peer }) => givers.has(peer.publicKey));
    const gifts = told.length === givers.size ? allocator.letGo() : undefined;
    for (const giver of gifts ? told : []) {
      giver.send({ type: "lease-return", gifts: gifts!.slice(0, MAX_GIFTS) });
    }
    log.info(gifts ? "the lease is given back" : "the lease is kept: it cannot be given back now");
  }

  // ---- asking

  /** Any neighbour will do: who has no free space carries the request on. */
  #request(): boolean {
    const { clock, sessions, identity, allocator } = this.#parts;
    const [first] = this.#unsure ?? [];
    const of = first === undefined ? undefined : allocator.givers.get(first);
    const giver = of && sessions().filter(({ peer }) => peer.publicKey === of);
    const all = giver && giver.length > 0 ? giver : sessions();
    const one = all[Math.floor(clock.random() * all.length)];
    const lacks = allocator.lacks.map(({ prefix }) => prefix);
    one?.send({
      type: "lease-request",
      name: this.#name,
      for: identity.publicKey,
      networks: first === undefined ? lacks : [first],
      seen: [identity.id],
      ...(of && { of }),
    });
    return one !== undefined;
  }

  #granted(session: Session, message: Grant) {
    const { cluster, identity, allocator } = this.#parts;
    const [{ proofs }, to] = [message, message.proofs[0]!.at(-1)!.to];
    const why = proofs.map((proof) => flawOfGift(cluster, to, proof)).find(Boolean);
    if (why) return session.close(forgedGrant(why));
    if (to !== identity.publicKey) return this.#carryBack(to, message);
    if (this.#isDone) return;
    const gifts = allocator.lost(proofs).slice(0, MAX_GIFTS);
    if (gifts.length > 0) session.send({ type: "lease-return", gifts });
    if (this.#unsure) this.#confirmed(proofs);
    else allocator.accept(proofs);
    if (!this.#unsure) this.#take();
    if (!this.#isDone) this.#asker.start();
  }

  /** The giver has answered whether the lease in a network stays, or which one comes in its place. */
  #confirmed(proofs: readonly Proof[]): void {
    const { allocator } = this.#parts;
    for (const proof of proofs) {
      for (const network of this.#unsure ?? []) {
        if (!inside(network, subnetOf(proof))) continue;
        if (allocator.givers.get(network) !== proof.at(-1)!.from) continue;
        allocator.replace(proof);
        this.#unsure?.delete(network);
      }
    }
    if (this.#unsure?.size === 0) this.#unsure = undefined;
  }

  #refused(refusal: Refusal) {
    if (refusal.for !== this.#parts.identity.publicKey) return this.#carryFurther(refusal);
    if (this.#isDone) return;
    this.#parts.log.warn(`no lease was given: ${refusal.reason}`);
    this.#asker.refused(refusal.reason);
    this.#parts.changed();
  }

  /** From this node's own space, if it has some. */
  #take(): void {
    const { allocator, fence, held, log, publish } = this.#parts;
    allocator.take();
    if (allocator.lacks.length > 0) return;
    fence.open();
    this.#asker.stop();
    log.info(`this node holds ${held().map(subnetOf).join(", ")}`);
    publish();
  }

  // ---- answering

  #requested(session: Session, request: Request) {
    const { log, identity } = this.#parts;
    const { name, for: to } = request;
    const answer = this.#answer(request);
    if (!(answer instanceof WeftError)) {
      log.info(`gave ${answer.map(subnetOf).join(", ")} to ${name}`, { id: nodeId(to) });
      const proofs = answer.map((proof) => [...proof]);
      return session.send({ type: "lease-grant", proofs });
    }
    const reason = `${answer.message}; ${answer.remedy}`;
    const seen = union(request.seen, [identity.id, nodeId(to)]);
    const isGiver = request.of === identity.publicKey;
    if (CARRIED.has(answer.code) && !isGiver)
      return this.#carry(session, { ...request, seen }, reason);
    log.warn(`refused a lease to ${name} at ${session.remote}: ${answer.message}`);
    session.send({ type: "lease-refusal", for: to, reason, seen });
  }

  #answer({ name, for: to, of, networks }: Request): Proof[] | WeftError {
    const bearer = this.#parts.bearer(name);
    if (bearer !== undefined && bearer !== nodeId(to)) return nameTaken(name, bearer);
    const { fence, identity } = this.#parts;
    if (fence.isClosed || (of !== undefined && of !== identity.publicKey)) return NOT_HERE;
    try {
      return this.#parts.allocator.give(to, networks);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#parts.log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  /** Only the holder itself can say so, and it has written it down before. */
  #returned({ peer }: Session, { gifts }: Return): void {
    const { allocator, log, shown } = this.#parts;
    const prefixes = allocator.returned(peer.publicKey, gifts, shown(peer.id));
    if (prefixes.length > 0) log.info(`got back ${prefixes.join(", ")}`, { id: peer.id });
  }

  // ---- carrying on what others ask for

  /** To a neighbour that was not asked yet; back with the reason when there is none. */
  #carry(back: Session, request: Request, reason: string) {
    const { clock, sessions } = this.#parts;
    const { for: to, seen, name } = request;
    this.#carried.get(to)?.forget();
    const fresh = sessions().filter(({ peer }) => !seen.includes(peer.id));
    const next = fresh[Math.floor(clock.random() * fresh.length)];
    const noMore = seen.length >= MAX_SEEN || this.#carried.size >= MAX_CARRIED;
    if (!next || noMore) {
      this.#parts.log.warn(`refused a lease to ${name}: ${reason}`);
      return back.send({ type: "lease-refusal", for: to, reason, seen });
    }
    const cancel = clock.after(CARRIED_FOR, () => this.#carried.delete(to));
    const forget = () => {
      cancel();
      this.#carried.delete(to);
    };
    this.#carried.set(to, { request, back, reason, forget });
    next.send(request);
  }

  #carryBack(to: string, grant: Grant): void {
    const carried = this.#carried.get(to);
    carried?.forget();
    carried?.back.send(grant);
  }

  #carryFurther({ for: to, reason, seen }: Refusal) {
    const carried = this.#carried.get(to);
    if (!carried) return;
    const request = { ...carried.request, seen: union(carried.request.seen, seen) };
    return this.#carry(carried.back, request, reason);
  }

  get #isDone(): boolean {
    const { allocator, fence } = this.#parts;
    return allocator.lacks.length === 0 && !fence.isClosed;
  }
}

/** Both lists as one set, up to what a message can hold. */
const union = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].slice(0, MAX_SEEN);

/** Refusals that another node may not repeat. */
const CARRIED = new Set(["NETWORK_FULL", "NOT_HERE"]);

const CUT_OFF =
  "this node was cut off for longer than its lease lasts, and does not use it until the node that gave it confirms that it was not taken back; if that one is gone for good, move the state directory away to join anew";

const NOT_HERE = new WeftError(
  "NOT_HERE",
  "the node that gave the lease was not found",
  "start it; or, if it is gone for good, move the state directory away to join anew",
);

const forgedGrant = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `a lease came that proves nothing: ${why}`, "see its log");

const cannotWrite = (code: string): WeftError =>
  new WeftError(code, "the owner of the free space cannot write to its disk", "make room there");

const nameTaken = (name: string, id: string): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    "choose another --name, or start with the state directory that the name had before",
  );
