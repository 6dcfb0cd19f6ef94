/**
 * The cluster's documents on this node, a replica for each kind. A node that holds a new one
 * announces the seal to its neighbours; a node that lacks it fetches the text from one of them.
 */

import { EventEmitter } from "node:events";
import type { DocumentKind } from "../documents/document-kind.js";
import type { DocumentInForce, DocumentsInForce } from "../documents/in-force.js";
import type { Seal, StoredDocument } from "../documents/sealed-document.js";
import type { Done } from "../error.js";
import type { Protocol } from "../session/protocol.js";
import { every, randomOf } from "../time/clock.js";
import { DocumentExchange, type ExchangeParts } from "./exchange.js";
import { type DocumentMessage, type DocumentSession, documentSpec } from "./messages.js";
import type { ClusterDocument, DocumentReplica } from "./replica.js";

/** Time between two announcements to a random neighbour, in milliseconds: they make up for lost ones. */
export const ANNOUNCE_EVERY = 30_000;

export interface DocumentSyncParts extends Omit<ExchangeParts, "changed"> {
  readonly inForce: Pick<DocumentsInForce, "set">;
}

export interface DocumentSyncEvents {
  /** Another document is held or refused, or it is known from now on that there is none of a kind. */
  changed: [];
}

export class DocumentSync
  extends EventEmitter<DocumentSyncEvents>
  implements Protocol<DocumentMessage>
{
  readonly spec = documentSpec;
  readonly #parts: DocumentSyncParts;
  readonly #found: readonly StoredDocument[];
  /** By kind. */
  readonly #exchanges: ReadonlyMap<string, DocumentExchange>;
  /** By kind, what this node says that it has in force. */
  readonly #inForce = new Map<string, DocumentInForce | undefined>();
  #cancel = () => {};

  /** @param found what the disk held */
  constructor(
    parts: DocumentSyncParts,
    kinds: readonly DocumentKind[],
    found: readonly StoredDocument[],
  ) {
    super();
    this.#parts = parts;
    this.#found = found;
    const changed = () => void this.emit("changed");
    this.#exchanges = new Map(
      kinds.map((kind) => [kind.name, new DocumentExchange(kind, { ...parts, changed })]),
    );
  }

  start(): void {
    for (const [kind, exchange] of this.#exchanges) {
      exchange.start(this.#found.find(({ seal }) => seal.kind === kind));
    }
    this.#cancel = every(this.#parts.clock, ANNOUNCE_EVERY, () => {
      const { clock, connections } = this.#parts;
      const one = randomOf(clock, connections.sessions());
      if (one) this.opened(one);
    });
  }

  stop(): void {
    this.#cancel();
    for (const exchange of this.#exchanges.values()) exchange.stop();
  }

  // ---- for the rest of this node

  /** The cluster's document of this kind; nothing where there is none, or none is known yet. */
  held<Facts>(kind: DocumentKind<Facts>): ClusterDocument<Facts> | undefined {
    return this.#replica(kind).held;
  }

  /** Whether this node knows the cluster's document of this kind, or that there is none. */
  isKnown(kind: DocumentKind): boolean {
    return this.#replica(kind).isKnown;
  }

  /**
   * From now on this is the cluster's document of its kind.
   * @param resetVersion where the last version there is is held, this node refuses that one for ever and begins again
   * @param done gets an error when the kind refuses the text, or this node may not apply one
   */
  apply<Facts>(
    kind: DocumentKind<Facts>,
    text: string,
    resetVersion: boolean,
    done: Done<ClusterDocument<Facts>>,
  ): void {
    this.#replica(kind).apply(text, resetVersion, done);
  }

  /**
   * Called after each change of the tables, it costs nothing without news.
   * @param seal of the document that is in force here; null for none, nothing before that is known
   * @param isMisfit what is held is newer and does not fit here
   */
  enforces(kind: DocumentKind, seal: Seal | null | undefined, isMisfit: boolean): void {
    this.#inForce.set(kind.name, this.#replica(kind).report(seal, isMisfit));
    const all = [...this.#exchanges.keys()].flatMap((name) => this.#inForce.get(name) ?? []);
    this.#parts.inForce.set(all);
  }

  /** Writes again what is held. */
  save(): void {
    for (const { replica } of this.#exchanges.values()) replica.save();
  }

  /** Problems for the operator, a sentence each. */
  problems(): string[] {
    return [...this.#exchanges.values()].flatMap(({ replica }) => replica.problems());
  }

  /** A replica is made of the kind of its name, so its facts are that kind's. */
  #replica<Facts>({ name }: DocumentKind<Facts>): DocumentReplica<Facts> {
    const exchange = this.#exchanges.get(name);
    if (!exchange) throw new Error(`this node has no documents of the kind ${name}`);
    return exchange.replica as DocumentReplica<Facts>;
  }

  // ---- what neighbours say

  opened(session: DocumentSession): void {
    for (const exchange of this.#exchanges.values()) exchange.announce(session);
  }

  closed(session: DocumentSession): void {
    for (const exchange of this.#exchanges.values()) exchange.closed(session);
  }

  /** A message about a kind that this node does not know is ignored: a later version of weft may know it. */
  received(session: DocumentSession, message: DocumentMessage): void {
    const kind = message.type === "document-have" ? message.seal.kind : message.kind;
    this.#exchanges.get(kind)?.received(session, message);
  }
}
