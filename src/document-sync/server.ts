/** Gives the parts of the text that this node holds to peers that ask for them, within a limit for each. */

import { MAX_PARTS, partOf, partsOf, type SealedDocument } from "../documents/sealed-document.js";
import type { MessageOf } from "../session/protocol.js";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import type { DocumentMessage, DocumentSession } from "./messages.js";

/** Parts of one kind that one peer gets, at once and per second after that. */
export const PART_LIMIT = { burst: 2 * MAX_PARTS, rate: 4 };

export class DocumentServer {
  readonly #parts: KeyedRateLimiter;
  /** The text that is given, encoded once: 4 MiB for each part would take milliseconds. */
  #encoded: { readonly document: SealedDocument; readonly bytes: Buffer } | undefined;

  constructor(clock: Clock) {
    this.#parts = new KeyedRateLimiter(clock, PART_LIMIT);
  }

  /** A peer asks for a part of `held`, or of what was held before: then it gets nothing. */
  asked(
    session: DocumentSession,
    held: SealedDocument | undefined,
    { kind, digest, part }: MessageOf<DocumentMessage, "document-want">,
  ): void {
    if (held?.seal.digest !== digest || part >= partsOf(held.seal)) return;
    if (!this.#parts.of(session.peer.id).spend(1)) return;
    const bytes = partOf(this.#bytesOf(held), part);
    session.send({ type: "document-part", kind, digest, part, bytes });
  }

  #bytesOf(document: SealedDocument): Buffer {
    if (this.#encoded?.document !== document) {
      this.#encoded = { document, bytes: Buffer.from(document.text) };
    }
    return this.#encoded.bytes;
  }
}
