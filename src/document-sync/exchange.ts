/** The exchange of the document of one kind with the neighbours: announcing, fetching, serving. */

import type { DocumentKind } from "../documents/document-kind.js";
import { flawOfSeal, type Seal, type StoredDocument } from "../documents/sealed-document.js";
import type { WeftError } from "../error.js";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import type { Members } from "../gossip/members.js";
import type { Sessions } from "../session/sessions.js";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { Absence } from "./absence.js";
import { DocumentFetcher } from "./fetcher.js";
import type { DocumentMessage, DocumentSession } from "./messages.js";
import { DocumentReplica, type ReplicaParts } from "./replica.js";
import { DocumentServer } from "./server.js";

/** Seals of one kind that are verified for one peer, at once and per second after that. */
export const SEAL_LIMIT = { burst: 16, rate: 0.2 };

export interface ExchangeParts extends ReplicaParts {
  readonly clock: Clock;
  readonly connections: Sessions<DocumentMessage>;
  readonly members: Pick<Members, "has">;
  readonly failureDetector: Pick<FailureDetector, "living">;
}

export class DocumentExchange<Facts = unknown> {
  readonly replica: DocumentReplica<Facts>;
  readonly #parts: ExchangeParts;
  readonly #fetcher: DocumentFetcher;
  readonly #server: DocumentServer;
  /** Nothing where packets need not wait for it. */
  readonly #absence: Absence | undefined;
  readonly #seals: KeyedRateLimiter;

  constructor(kind: DocumentKind<Facts>, parts: ExchangeParts) {
    const { clock } = parts;
    this.#parts = parts;
    const replica = new DocumentReplica(kind, parts, {
      held: (seal) => this.#announceToAll(seal),
      idle: () => this.#fetcher.next(),
    });
    this.replica = replica;
    this.#fetcher = new DocumentFetcher({
      clock,
      isWanted: (seal) => replica.isWanted(seal),
      isReading: () => replica.isReading,
      fetched: (seal, text) => replica.believe(seal, text),
      distrust: (session, lie) => this.#closeForged(session, lie),
    });
    this.#server = new DocumentServer(clock);
    this.#seals = new KeyedRateLimiter(clock, SEAL_LIMIT);
    this.#absence = kind.gatesPackets
      ? new Absence({
          ...parts,
          isAnnounced: () => replica.isPending || replica.mayHold,
          isKnown: () => replica.isKnown,
          onKnown: () => this.#learnAbsent(),
        })
      : undefined;
  }

  /** @param found what the disk held */
  start(found: StoredDocument | undefined): void {
    if (found) this.replica.restore(found);
    this.#absence?.start();
  }

  stop(): void {
    this.replica.stop();
    this.#absence?.stop();
    this.#fetcher.stop();
  }

  /** Says which document is held, or that there is none. */
  announce(session: DocumentSession): void {
    const { held, mayHold, isKnown, kind } = this.replica;
    if (held) session.send({ type: "document-have", seal: held.seal });
    else if (this.#absence && !mayHold) {
      session.send({ type: "document-none", kind: kind.name, isCertain: isKnown });
    }
  }

  #announceToAll(seal?: Seal): void {
    for (const session of this.#parts.connections.sessions()) {
      if (!seal || !this.#fetcher.isOfferedBy(session, seal)) this.announce(session);
    }
  }

  closed(session: DocumentSession): void {
    this.#fetcher.closed(session);
    this.#absence?.withdrawn(session);
  }

  received(session: DocumentSession, message: DocumentMessage) {
    switch (message.type) {
      case "document-have":
        return this.#announced(session, message.seal);
      case "document-none":
        return this.#absence?.answered(session, message.isCertain);
      case "document-want":
        return this.#server.asked(session, this.replica.held, message);
      case "document-part":
        return this.#fetcher.received(session, message);
    }
  }

  #announced(session: DocumentSession, seal: Seal): void {
    this.#absence?.withdrawn(session);
    if (!this.replica.isWanted(seal) || !this.#seals.of(session.peer.id).spend(1)) return;
    const lie = flawOfSeal(this.#parts.cluster, seal);
    if (lie) this.#closeForged(session, lie);
    else if (this.replica.expect(seal)) this.#fetcher.offered(session, seal);
  }

  #closeForged(session: DocumentSession, lie: WeftError): void {
    this.#parts.log.warn(`from ${session.remote}: ${lie.message}`, { remedy: lie.remedy });
    session.close(lie);
  }

  #learnAbsent(): void {
    const { disk, log, changed } = this.#parts;
    const { name } = this.replica.kind;
    disk.safely(() => disk.saveAbsent(name, true));
    log.info(`the cluster has no ${name}`);
    this.#announceToAll();
    changed();
  }
}
