/**
 * The version of each cluster document that a node has in force, as its record of the kind `documents`
 * says it. The dataplane counts: a document that is held and not compiled yet is not in force.
 */
import { z } from "zod";
import type { Members } from "../gossip/members.js";
import type { OwnAttached } from "../gossip/own-attached.js";
import type { NodeRecord } from "../gossip/record.js";
import type { RecordKind } from "../gossip/record-kind.js";
import * as field from "../identity/fields.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";

/** Kinds of documents that one record has room for. */
const MAX_DOCUMENTS = 8;
const MAX_DOCUMENT_VERSION = 2 ** 31 - 1;
/** A change waits for others this long, in milliseconds. */
const CHANGE_DELAY = 100;
/**
 * A new document comes into force on all nodes at once, and each record then travels to all: they
 * are spread over so many milliseconds for each member, and this many at most.
 */
export const PUBLISH_JITTER = { each: 5, most: 5_000 };
/** Records published for changes of what is in force: at once, and per second after that. */
export const PUBLISH_LIMIT = { burst: 8, rate: 1 / 10 };

const version = z.int().min(0).max(MAX_DOCUMENT_VERSION);

const documentSchema = z.strictObject({
  /** `policy`. A node keeps kinds that it does not know, and does not read them. */
  kind: z.string().regex(/^[a-z]{1,16}$/),
  /** 0: the cluster has no such document, as far as the node knows, or none fits there. */
  version,
  /** The first 8 bytes of the SHA-256 of its text. Absent with version 0. */
  hash: field.shortHash.exactOptional(),
  /** The newest version that the node knows, and why that is not in force. Absent: nothing keeps it. */
  held: z
    .strictObject({ version, why: z.string().regex(/^[a-z]([a-z-]{0,30}[a-z])?$/) })
    .exactOptional(),
});

const contentSchema = z.strictObject({
  /** The run of the owner that enforces them: a later one has none in force until it says so. */
  epoch: field.epoch,
  documents: z.array(documentSchema).max(MAX_DOCUMENTS),
});

export type DocumentInForce = z.infer<typeof documentSchema>;

/** All nodes publish it at once for a new document: pushed to all, it would be a storm. */
export const DOCUMENTS: RecordKind<z.infer<typeof contentSchema>> = {
  name: "documents",
  maxBytes: 2048,
  schema: contentSchema,
  isUrgent: false,
};

/** The documents that the owner of this record has in force, as it says itself. */
export function documentsOf(
  { id, epoch }: NodeRecord,
  members: Members,
): readonly DocumentInForce[] {
  const said = members.content(id, DOCUMENTS);
  return said?.epoch === epoch ? said.documents : [];
}

/** Digits of a digest that a record carries. */
export const hashOf = (digest: string): string => digest.slice(0, 16);

export interface DocumentsInForceParts {
  readonly clock: Clock;
  /** The epoch of this run. */
  readonly epoch: string;
  readonly members: Members;
  readonly ownAttached: Pick<OwnAttached, "set">;
}

/** The documents that this node says it has in force, and when it says them again. */
export class DocumentsInForce {
  readonly #parts: DocumentsInForceParts;
  readonly #publishLimit: TokenBucket;
  #documents: readonly DocumentInForce[] = [];
  /** As it was said last. */
  #published = "[]";
  #cancel: (() => void) | undefined;

  constructor(parts: DocumentsInForceParts) {
    this.#parts = parts;
    this.#publishLimit = new TokenBucket(parts.clock, PUBLISH_LIMIT.burst, PUBLISH_LIMIT.rate);
  }

  stop(): void {
    this.#cancel?.();
  }

  get documents(): readonly DocumentInForce[] {
    return this.#documents;
  }

  /** These are in force from now on. The others hear of it in a moment. */
  set(documents: readonly DocumentInForce[]): void {
    this.#documents = documents;
    if (this.#isPublished) return;
    const { each, most } = PUBLISH_JITTER;
    const { clock, members } = this.#parts;
    this.#later(CHANGE_DELAY + clock.random() * Math.min(most, each * members.view.members.size));
  }

  #publish(): void {
    const { epoch, ownAttached } = this.#parts;
    this.#published = JSON.stringify(this.#documents);
    ownAttached.set(DOCUMENTS, { epoch, documents: [...this.#documents] });
  }

  get #isPublished(): boolean {
    return JSON.stringify(this.#documents) === this.#published;
  }

  #later(ms: number): void {
    this.#cancel ??= this.#parts.clock.after(ms, () => {
      this.#cancel = undefined;
      if (this.#isPublished) return;
      if (this.#publishLimit.spend(1)) this.#publish();
      else this.#later(1_000 / PUBLISH_LIMIT.rate);
    });
  }
}
