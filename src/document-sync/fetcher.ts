/**
 * Fetches the newest text of one kind that neighbours offer: one text at a time, from one
 * neighbour, part after part.
 *
 *   offered -> want, part, want, part, ... -> fetched
 */

import { isNewer, isTextOf, partsOf, type Seal } from "../documents/sealed-document.js";
import type { WeftError } from "../error.js";
import type { MessageOf } from "../session/protocol.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import { otherText } from "./errors.js";
import type { DocumentMessage, DocumentSession } from "./messages.js";

/** How long a part is waited for before another neighbour is asked, in milliseconds. */
export const PART_TIMEOUT = 2_000;
/** Texts of one kind asked for, from all nodes together, at once and per second: each is written to disk, compiled and announced. */
export const FETCH_LIMIT = { burst: 8, rate: 0.5 };

export interface FetcherParts {
  readonly clock: Clock;
  /** Whether it is newer than what is held, and not refused. */
  isWanted(seal: Seal): boolean;
  /** Whether a text is being read: the next one waits for that. */
  isReading(): boolean;
  /** The text of a seal that is still wanted has come whole. */
  fetched(seal: Seal, text: string): void;
  /** A neighbour lied. */
  distrust(session: DocumentSession, lie: WeftError): void;
}

/** The text that is fetched, and its parts so far. */
interface Transfer {
  readonly session: DocumentSession;
  readonly seal: Seal;
  readonly parts: Buffer[];
  /** Stops the wait for the next part. */
  cancel(): void;
}

export class DocumentFetcher {
  readonly #parts: FetcherParts;
  /** The seal that each neighbour offered last, where its document is wanted. */
  readonly #offers = new Map<DocumentSession, Seal>();
  #transfer: Transfer | undefined;
  readonly #texts: TokenBucket;
  /** Timer until a text may be asked for again. */
  #pause: (() => void) | undefined;

  constructor(parts: FetcherParts) {
    this.#parts = parts;
    this.#texts = new TokenBucket(parts.clock, FETCH_LIMIT.burst, FETCH_LIMIT.rate);
  }

  stop(): void {
    this.#pause?.();
    this.#transfer?.cancel();
  }

  /** A neighbour holds the document of a verified seal. A transfer from it that runs already is not begun again. */
  offered(session: DocumentSession, seal: Seal): void {
    const transfer = this.#transfer;
    this.#offers.set(session, seal);
    const isOther = transfer?.session === session && transfer.seal.signature !== seal.signature;
    if (!transfer || isOther) this.next();
  }

  /** Whether the neighbour offers this very document. */
  isOfferedBy(session: DocumentSession, { signature }: Seal): boolean {
    return this.#offers.get(session)?.signature === signature;
  }

  closed(session: DocumentSession): void {
    this.#offers.delete(session);
    if (this.#transfer?.session === session) this.next();
  }

  /** Begins with the newest that is offered. */
  next(): void {
    this.#transfer?.cancel();
    this.#transfer = undefined;
    if (this.#parts.isReading()) return;
    let best: [DocumentSession, Seal] | undefined;
    for (const [session, seal] of this.#offers) {
      if (!this.#parts.isWanted(seal)) this.#offers.delete(session);
      else if (isNewer(seal, best?.[1])) best = [session, seal];
    }
    if (!best) return;
    if (this.#texts.spend(1)) this.#want(...best, []);
    else this.#pause ??= this.#parts.clock.after(1_000 / FETCH_LIMIT.rate, () => this.#goOn());
  }

  #goOn(): void {
    this.#pause = undefined;
    this.next();
  }

  #want(session: DocumentSession, seal: Seal, parts: Buffer[]): void {
    const cancel = this.#parts.clock.after(PART_TIMEOUT, () => {
      this.#offers.delete(session);
      this.next();
    });
    this.#transfer = { session, seal, parts, cancel };
    const { kind, digest } = seal;
    session.send({ type: "document-want", kind, digest, part: parts.length });
  }

  received(
    session: DocumentSession,
    { digest, part, bytes }: MessageOf<DocumentMessage, "document-part">,
  ) {
    const transfer = this.#transfer;
    if (transfer?.session !== session || transfer.seal.digest !== digest) return;
    const { seal, parts } = transfer;
    if (parts.length !== part) return;
    transfer.cancel();
    parts.push(Buffer.from(bytes, "base64"));
    if (parts.length < partsOf(seal)) return this.#want(session, seal, parts);
    this.#whole(session, seal, Buffer.concat(parts).toString());
  }

  #whole(session: DocumentSession, seal: Seal, text: string): void {
    this.#transfer = undefined;
    this.#offers.delete(session);
    if (!isTextOf(seal, text)) this.#parts.distrust(session, otherText(seal));
    else if (this.#parts.isWanted(seal)) this.#parts.fetched(seal, text);
    this.next();
  }
}
