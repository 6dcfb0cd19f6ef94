/**
 * How this node comes to its lease, and answers those who ask it for theirs.
 * docs/leases.md draws the exchange.
 */
import { WeftError } from "../error.js";
import type { Allocator } from "../lease/allocator.js";
import { Asker } from "../lease/asker.js";
import type { Cluster } from "../lease/genesis.js";
import { flaw, type Proof, subnetOf } from "../lease/grant.js";
import type { Clock } from "./clock.js";
import { type Identity, nodeId } from "./identity.js";
import type { Log } from "./log.js";
import type { MessageOf } from "./message.js";
import type { Session } from "./session.js";

export type LeaseMessage = MessageOf<"lease-request" | "lease-grant" | "lease-refusal">;

export interface LeasingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly identity: Identity;
  readonly cluster: Cluster;
  readonly allocator: Allocator;
  /** The open session with the node of this id. */
  sessionTo(id: string): Session | undefined;
  /** Id of the node that has this name, if one has. */
  bearer(name: string): string | undefined;
  /** The proofs this node holds. */
  held(): readonly Proof[];
  /** Writes them to disk, and tells the others. */
  hold(proofs: readonly Proof[]): void;
  /** `problem` may say something else now. */
  changed(): void;
}

export class Leasing {
  readonly #parts: LeasingParts;
  readonly #name: string;
  readonly #asker: Asker;

  constructor(parts: LeasingParts, { name }: { name: string }) {
    this.#parts = parts;
    this.#name = name;
    this.#asker = new Asker({ clock: parts.clock, request: () => this.#request() });
  }

  /** Seeks a lease until this node has one. Again when a new session makes it worth asking at once. */
  start(): void {
    if (this.#isDone) return;
    if (this.#isFounder(this.#parts.identity.publicKey)) this.#takeOwn();
    else this.#asker.start();
  }

  stop(): void {
    this.#asker.stop();
  }

  /** Why this node has no lease. */
  get problem(): string | undefined {
    return this.#isDone ? undefined : this.#asker.problem;
  }

  received(session: Session, message: LeaseMessage) {
    switch (message.type) {
      case "lease-request":
        return this.#requested(session, message.name);
      case "lease-grant":
        return this.#granted(session, message.proofs);
      case "lease-refusal":
        return this.#refused(session, message.reason);
    }
  }

  // ---- asking

  #request(): boolean {
    const founder = this.#parts.sessionTo(nodeId(this.#parts.cluster.genesis.founder));
    founder?.send({ type: "lease-request", name: this.#name });
    return founder !== undefined;
  }

  #granted(session: Session, proofs: readonly Proof[]) {
    if (this.#isDone) return;
    const { cluster, identity } = this.#parts;
    const why = proofs.map((proof) => flaw(cluster, identity.publicKey, proof)).find(Boolean);
    if (why) return session.close(forgedGrant(why));
    this.#hold(proofs);
  }

  #refused(session: Session, reason: string): void {
    if (this.#isDone || !this.#isFounder(session.peer.publicKey)) return;
    this.#parts.log.warn(`no lease was given: ${reason}`);
    this.#asker.refused(reason);
    this.#parts.changed();
  }

  #hold(proofs: readonly Proof[]): void {
    this.#asker.stop();
    this.#parts.log.info(`this node holds ${proofs.map(subnetOf).join(", ")}`);
    this.#parts.hold(proofs);
  }

  // ---- answering

  #takeOwn(): void {
    const own = this.#parts.allocator.give(this.#parts.identity.publicKey);
    if (own instanceof WeftError) throw own;
    this.#hold(own);
  }

  #requested(session: Session, name: string) {
    const { log } = this.#parts;
    const answer = this.#answer(session, name);
    if (answer instanceof WeftError) {
      log.warn(`refused a lease to ${name} at ${session.remote}: ${answer.message}`);
      const reason = `${answer.message}; ${answer.remedy}`;
      return session.send({ type: "lease-refusal", reason });
    }
    log.info(`${name} holds ${answer.map(subnetOf).join(", ")}`, { id: session.peer.id });
    session.send({ type: "lease-grant", proofs: answer.map((proof) => [...proof]) });
  }

  #answer(session: Session, name: string): Proof[] | WeftError {
    const bearer = this.#parts.bearer(name);
    if (bearer !== undefined && bearer !== session.peer.id) return nameTaken(name, bearer);
    try {
      return this.#parts.allocator.give(session.peer.publicKey);
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#parts.log.error(error.message, { remedy: error.remedy });
      return cannotWrite(error.code);
    }
  }

  get #isDone(): boolean {
    return this.#parts.held().length > 0;
  }

  #isFounder(publicKey: string): boolean {
    return publicKey === this.#parts.cluster.genesis.founder;
  }
}

const forgedGrant = (why: string): WeftError =>
  new WeftError("GRANT_FORGED", `a lease came that proves nothing: ${why}`, "see its log");

const cannotWrite = (code: string): WeftError =>
  new WeftError(code, "the owner of the network cannot write to its disk", "make room there");

const nameTaken = (name: string, id: string): WeftError =>
  new WeftError(
    "NAME_TAKEN",
    `the name ${name} belongs to another identity (${id})`,
    "choose another --name, or start with the state directory that the name had before",
  );
