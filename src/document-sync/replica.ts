/**
 * This node's copy of the cluster's document of one kind: which one it holds, waits for and
 * refuses, and why.
 *
 *   applied here            -> read -> sealed -> on disk -> held
 *   fetched, or from disk   -> read           -> on disk -> held
 *                                  \-> refused
 */

import type { DocumentKind } from "../documents/document-kind.js";
import { type DocumentInForce, hashOf } from "../documents/in-force.js";
import {
  flawOfSeal,
  isNewer,
  MAX_REFUSED,
  type Seal,
  type SealedDocument,
  type StoredDocument,
} from "../documents/sealed-document.js";
import { type Done, WeftError } from "../error.js";
import type { Names } from "../gossip/names.js";
import { nodeId } from "../identity/identity.js";
import type { Log } from "../log.js";
import type { Disk } from "../state/disk.js";
import type { Store } from "../state/store.js";
import { textMissing, tooLong, unknown, unreadable } from "./errors.js";
import { isLast, type SealingParts, sealNext } from "./sealing.js";

/** Most seals that are remembered until their text comes. One is enough to keep a node closed. */
const MAX_PENDING = 64;

/** The cluster's document of a kind, as far as this node knows. */
export interface ClusterDocument<Facts = unknown> extends SealedDocument {
  readonly facts: Facts;
}

export interface ReplicaParts extends SealingParts {
  readonly log: Log;
  readonly store: Pick<Store, "saveDocument">;
  readonly disk: Pick<Disk, "isAbsent" | "leases" | "safely" | "saveAbsent">;
  readonly names: Pick<Names, "of">;
  /** Called when another document is held or refused, or when it becomes known that there is none. */
  changed(): void;
}

export interface ReplicaEvents {
  /** Another document is held from now on. */
  held(seal: Seal): void;
  /** No text is being read any more. */
  idle(): void;
}

export class DocumentReplica<Facts = unknown> {
  readonly kind: DocumentKind<Facts>;
  readonly #parts: ReplicaParts;
  readonly #events: ReplicaEvents;
  #held: ClusterDocument<Facts> | undefined;
  /** By signature, verified seals whose text has not come, while no document is held. */
  readonly #pending = new Map<string, Seal>();
  /** Signatures. */
  #refused: ReadonlySet<string> = new Set();
  #refusal: { readonly seal: Seal; readonly sentence: string } | undefined;
  #isReading = false;
  /** Whether the document on disk can no longer be read. */
  #isLost = false;
  #isStopped = false;

  constructor(kind: DocumentKind<Facts>, parts: ReplicaParts, events: ReplicaEvents) {
    this.kind = kind;
    this.#parts = parts;
    this.#events = events;
  }

  stop(): void {
    this.#isStopped = true;
  }

  get held(): ClusterDocument<Facts> | undefined {
    return this.#held;
  }

  /** Whether this node knows the cluster's document, or that there is none. */
  get isKnown(): boolean {
    return this.#held !== undefined || (this.#isAbsent && !this.#isLost);
  }

  /** Whether the text of one is being read: meanwhile it is neither held nor fetched. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** One on disk that is not read yet, or can no longer be read, is not "none". */
  get mayHold(): boolean {
    return this.#held !== undefined || this.#isReading || this.#isLost;
  }

  /** Whether any node announced one that this node lacks and has not refused. */
  get isPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Whether it is newer than what is held, and not refused. */
  isWanted(seal: Seal): boolean {
    return !this.#refused.has(seal.signature) && isNewer(seal, this.#held?.seal);
  }

  /** Problems for the operator, a sentence each. */
  problems(): string[] {
    const refusal = this.#refusal;
    const isLatest = refusal && isNewer(refusal.seal, this.#held?.seal);
    return [...(this.isKnown ? [] : this.#lackProblems()), ...(isLatest ? [refusal.sentence] : [])];
  }

  #lackProblems(): string[] {
    if (this.#isLost) return [unreadable(this.kind)];
    const [pending] = this.#pending.values();
    if (pending) return [textMissing(this.kind, pending.version, this.#authorOf(pending))];
    return this.kind.gatesPackets ? [unknown(this.kind)] : [];
  }

  /** The entry for this kind in the node's `documents` record; parameters as in `DocumentSync.enforces`. */
  report(inForce: Seal | null | undefined, isMisfit: boolean): DocumentInForce | undefined {
    const held = this.#heldBack(isMisfit);
    if (inForce === undefined && !held) return undefined;
    return {
      kind: this.kind.name,
      version: inForce?.version ?? 0,
      ...(inForce && { hash: hashOf(inForce.digest) }),
      ...(held && { held }),
    };
  }

  #heldBack(isMisfit: boolean): DocumentInForce["held"] {
    const [refusal, held] = [this.#refusal, this.#held?.seal];
    if (refusal && isNewer(refusal.seal, held)) {
      return { version: refusal.seal.version, why: "refused" };
    }
    return isMisfit && held ? { version: held.version, why: "too-large" } : undefined;
  }

  /** As `DocumentSync.apply`. */
  apply(text: string, resetVersion: boolean, done: Done<ClusterDocument<Facts>>): void {
    this.kind.read(text, (facts) => {
      if (facts instanceof WeftError) return done(facts);
      try {
        done(this.#sign(text, facts, resetVersion));
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        done(error);
      }
    });
  }

  #sign(text: string, facts: Facts, resetVersion: boolean): ClusterDocument<Facts> {
    const held = this.#held?.seal;
    const seal = sealNext(this.#parts, this.kind, text, held, resetVersion);
    const document = { seal, text, facts };
    this.#adopt(document, held && isLast(held) ? this.#refusing(held) : undefined);
    this.#parts.log.info(`${this.kind.title} ${seal.version} is applied on this node`);
    return document;
  }

  /**
   * A neighbour announced one that is wanted, and its seal is right.
   * @returns whether its text is worth fetching
   */
  expect(seal: Seal): boolean {
    if (seal.size > this.kind.maxBytes) {
      this.#refuse(seal, tooLong(this.kind));
      return false;
    }
    if (!this.#held && this.#pending.size < MAX_PENDING) this.#pending.set(seal.signature, seal);
    return true;
  }

  /** Its author says so. A text that cannot be read is the author's lie, not that of the neighbour that sent it. */
  believe(seal: Seal, text: string): void {
    this.#read(text, (facts) => {
      if (facts instanceof WeftError) this.#refuse(seal, facts);
      else if (this.isWanted(seal)) {
        this.#adopt({ seal, text, facts });
        this.#parts.log.info(
          `${this.kind.title} ${seal.version} came, applied on ${this.#authorOf(seal)}`,
        );
      }
    });
  }

  /** Takes what the disk held. If that can no longer be read, this node waits for another one. */
  restore({ seal, text, refused }: StoredDocument): void {
    this.#refused = new Set(refused);
    const why = flawOfSeal(this.#parts.cluster, seal);
    if (why) {
      this.#parts.log.warn(`the ${this.kind.title} on disk is not used: ${why.message}`);
      return;
    }
    this.#read(text, (facts) => {
      if (facts instanceof WeftError) {
        this.#isLost = true;
        this.#refuse(seal, facts);
      } else if (isNewer(seal, this.#held?.seal)) this.#hold({ seal, text, facts });
    });
  }

  #read(text: string, done: Done<Facts>): void {
    this.#isReading = true;
    this.kind.read(text, (facts) => {
      if (this.#isStopped) return;
      this.#isReading = false;
      this.#parts.disk.safely(() => done(facts));
      this.#events.idle();
    });
  }

  #refuse(seal: Seal, { message, remedy }: WeftError): void {
    this.#refused = this.#refusing(seal);
    this.#pending.delete(seal.signature);
    const sentence = `refused ${this.kind.title} ${seal.version} of ${this.#authorOf(seal)}: ${message}`;
    this.#refusal = { seal, sentence };
    this.#parts.log.warn(sentence, { remedy });
    this.#parts.changed();
  }

  #refusing({ signature }: Seal): ReadonlySet<string> {
    return new Set([...this.#refused, signature].slice(-MAX_REFUSED));
  }

  /** Writes a document to disk; the one that is held, unless another is given. */
  save(document: SealedDocument | undefined = this.#held, refused = this.#refused): void {
    if (!document) return;
    const { seal, text } = document;
    this.#parts.store.saveDocument({ seal, text, refused: [...refused] });
  }

  /** It is on disk before any other node hears of it. */
  #adopt(document: ClusterDocument<Facts>, refused = this.#refused): void {
    this.save(document, refused);
    this.#refused = refused;
    this.#isLost = false;
    const { disk } = this.#parts;
    if (this.#isAbsent) disk.safely(() => disk.saveAbsent(this.kind.name, false));
    this.#hold(document);
  }

  #hold(document: ClusterDocument<Facts>): void {
    this.#held = document;
    this.#pending.clear();
    this.#events.held(document.seal);
    this.#parts.changed();
  }

  get #isAbsent(): boolean {
    return this.#parts.disk.isAbsent(this.kind.name);
  }

  /** Its name; its id, where the name is not known. */
  #authorOf({ author }: Seal): string {
    const id = nodeId(author);
    return this.#parts.names.of(id) ?? id;
  }
}
