/**
 * What a node that lacks a lease does: ask a neighbour for space, wait, ask
 * again, and be able to say why it still lacks it.
 */
import type { Clock } from "../time/clock.js";

/** An answer may pass through some hands, and includes one write to a disk. Milliseconds. */
export const LEASE_ANSWER_TIMEOUT = 3_000;
/** After a refusal, in milliseconds. */
export const REQUEST_AGAIN_AFTER = 5_000;

export interface LeaseRequesterParts {
  readonly clock: Clock;
  /** Sends the request. False when there is nobody to send it to. */
  request(): boolean;
}

export class LeaseRequester {
  readonly #parts: LeaseRequesterParts;
  #cancel: (() => void) | undefined;
  #isWaiting = false;
  #state = NOT_YET;

  constructor(parts: LeaseRequesterParts) {
    this.#parts = parts;
  }

  /** How the asking goes, in words. */
  get state(): string {
    return this.#state;
  }

  /** Whether an answer may still come. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Asks now, and until `stop`. */
  start(): void {
    this.stop();
    this.#isWaiting = this.#parts.request();
    if (!this.#isWaiting) this.#state = ALONE;
    else if (this.#state === NOT_YET || this.#state === ALONE) this.#state = WAITING;
    this.#retryAfter(this.#isWaiting ? LEASE_ANSWER_TIMEOUT : REQUEST_AGAIN_AFTER);
  }

  /** Everybody said no, for this reason. They may say yes later. */
  refused(reason: string): void {
    this.stop();
    this.#state = reason;
    this.#retryAfter(REQUEST_AGAIN_AFTER);
  }

  stop(): void {
    this.#isWaiting = false;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #retryAfter(ms: number): void {
    this.#cancel = this.#parts.clock.after(ms, () => this.start());
  }
}

const NOT_YET = "not asked yet";
const ALONE = "no other node can be reached";
const WAITING = "asked, waiting for the answer";
