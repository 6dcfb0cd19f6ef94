/** A kind of cluster document. All nodes that know it agree on it; others ignore its messages. */
import type { Done } from "../error.js";

export interface DocumentKind<Facts = unknown> {
  /** Names it in messages, records and files: 1 to 16 lower-case letters. */
  readonly name: string;
  /** Names it in sentences, as `policy`. */
  readonly title: string;
  /** Limit of its texts, in bytes of UTF-8; `MAX_DOCUMENT_BYTES` at most. */
  readonly maxBytes: number;
  /** Whether a node passes no packet before it holds such a document or knows that there is none. */
  readonly gatesPackets: boolean;
  /** Checks a text. It gives the facts that callers need, or an error, which is the same on every node. */
  read(text: string, done: Done<Facts>): void;
}
