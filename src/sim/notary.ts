/**
 * A notary that all nodes of one cluster share. A record that reaches a thousand nodes is opened,
 * checked and kept once; the answer is the one the real notary gave.
 */
import type { WeftError } from "../error.js";
import { Notary } from "../gossip/notary.js";
import type { Envelope, NodeRecord } from "../gossip/record.js";

/** Answers that are kept, those given first are forgotten first. */
const MOST = 20_000;

interface Opened {
  readonly envelope: Envelope;
  readonly answer: NodeRecord | WeftError;
  /** Signatures that were verified for it. */
  readonly work: number;
}

export class SharedNotary extends Notary {
  readonly #opened = new Map<string, Opened>();

  override open(envelope: Envelope): NodeRecord | WeftError {
    const known = this.#opened.get(envelope.signature);
    if (known && same(known.envelope, envelope)) {
      this.verified += known.work; // About as much as for the node that asks now.
      return known.answer;
    }
    const before = this.verified;
    const answer = super.open(envelope);
    this.#opened.set(envelope.signature, { envelope, answer, work: this.verified - before });
    for (const oldest of this.#opened.keys()) {
      if (this.#opened.size <= MOST) break;
      this.#opened.delete(oldest);
    }
    return answer;
  }
}

const same = (a: Envelope, b: Envelope): boolean =>
  a.version === b.version && a.owner === b.owner && a.body === b.body;
