/**
 * The version of each cluster document that a node has in force, as its record says it. The dataplane
 * counts: a document that is held and not compiled yet is not in force.
 */
import { z } from "zod";
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

export const documentsSchema = z.array(documentSchema).max(MAX_DOCUMENTS);

export type DocumentInForce = z.infer<typeof documentSchema>;

/** Digits of a digest that a record carries. */
export const hashOf = (digest: string): string => digest.slice(0, 16);

export interface DocumentsInForceParts {
  readonly clock: Clock;
  /** Number of members. */
  members(): number;
  /** Publishes the record of this node. */
  publish(): void;
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
    this.#later(CHANGE_DELAY + clock.random() * Math.min(most, each * members()));
  }

  /** For the record that is published now; nothing where there is nothing to say. */
  forRecord(): DocumentInForce[] | undefined {
    this.#published = JSON.stringify(this.#documents);
    return this.#documents.length > 0 ? [...this.#documents] : undefined;
  }

  get #isPublished(): boolean {
    return JSON.stringify(this.#documents) === this.#published;
  }

  #later(ms: number): void {
    const { clock, publish } = this.#parts;
    this.#cancel ??= clock.after(ms, () => {
      this.#cancel = undefined;
      if (this.#isPublished) return;
      if (this.#publishLimit.spend(1)) publish();
      else this.#later(1_000 / PUBLISH_LIMIT.rate);
    });
  }
}
