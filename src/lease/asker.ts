/**
 * What a node without a lease does: ask a neighbour for space, wait, ask
 * again, and be able to say why it still has none.
 */
import type { Clock } from "../mesh/clock.js";

/** A request may pass through many hands, and an answer includes one write to a disk. */
export const ANSWER_WITHIN = 10_000;
export const ASK_AGAIN = 5_000;

export interface AskerParts {
  readonly clock: Clock;
  /** Sends the request. False when there is nobody to send it to. */
  request(): boolean;
}

export class Asker {
  readonly #parts: AskerParts;
  #cancel: (() => void) | undefined;
  #state = "not asked yet";

  constructor(parts: AskerParts) {
    this.#parts = parts;
  }

  /** How the asking goes, in words. */
  get state(): string {
    return this.#state;
  }

  get problem(): string {
    return `this node has no lease: ${this.#state}`;
  }

  /** Asks now, and until `stop`. Called again when something changed that makes asking worth it. */
  start(): void {
    this.stop();
    if (this.#parts.request()) {
      this.#state = "asked, waiting for the answer";
      this.#again(ANSWER_WITHIN);
    } else {
      this.#state = "no other node can be reached";
      this.#again(ASK_AGAIN);
    }
  }

  /** Everybody said no, for this reason. They may say yes later. */
  refused(reason: string): void {
    this.stop();
    this.#state = reason;
    this.#again(ASK_AGAIN);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #again(ms: number): void {
    this.#cancel = this.#parts.clock.after(ms, () => this.start());
  }
}
