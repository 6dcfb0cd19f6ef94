/**
 * A record verifier that all nodes of one cluster share. A record that reaches a thousand nodes is
 * parsed, verified and kept once, by the real verifier, and every node gets its result.
 */
import type { WeftError } from "../error.js";
import type { AnyRecord } from "../gossip/attached-record.js";
import type { Envelope } from "../gossip/record.js";
import { RecordVerifier } from "../gossip/record-verifier.js";

/** Results that are kept; the oldest are dropped first. */
const MOST = 20_000;

interface CachedAnswer {
  readonly envelope: Envelope;
  readonly answer: AnyRecord | WeftError;
  /** The number of signatures that were verified for it. */
  readonly work: number;
}

export class SharedRecordVerifier extends RecordVerifier {
  readonly #cache = new Map<string, CachedAnswer>();

  override verify(envelope: Envelope): AnyRecord | WeftError {
    const known = this.#cache.get(envelope.signature);
    if (known && same(known.envelope, envelope)) {
      this.signaturesVerified += known.work; // The asking node would have verified about as many.
      return known.answer;
    }
    const before = this.signaturesVerified;
    const answer = super.verify(envelope);
    this.#cache.set(envelope.signature, {
      envelope,
      answer,
      work: this.signaturesVerified - before,
    });
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= MOST) break;
      this.#cache.delete(oldest);
    }
    return answer;
  }
}

const same = (a: Envelope, b: Envelope): boolean =>
  a.kind === b.kind && a.version === b.version && a.owner === b.owner && a.body === b.body;
