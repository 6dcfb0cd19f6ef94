/**
 * The requester of a node that lacks a lease asks a neighbour for space, waits, and asks again. It
 * keeps the reason why there is no lease yet.
 */
import type { Clock } from "../time/clock.js";

/** Milliseconds to wait for an answer, which several nodes may forward and which includes a write to disk. */
export const LEASE_ANSWER_TIMEOUT = 3_000;
/** Milliseconds from a refusal until the next request. */
export const REQUEST_AGAIN_AFTER = 5_000;

export interface LeaseRequesterParts {
  readonly clock: Clock;
  /** Sends the request. False when there is no node to send it to. */
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

  /** The state of the request, as text for operators. */
  get state(): string {
    return this.#state;
  }

  /** Whether an answer may still come. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Sends the request now, and repeats it until `stop`. */
  start(): void {
    this.stop();
    this.#isWaiting = this.#parts.request();
    if (!this.#isWaiting) this.#state = ALONE;
    else if (this.#state === NOT_YET || this.#state === ALONE) this.#state = WAITING;
    this.#retryAfter(this.#isWaiting ? LEASE_ANSWER_TIMEOUT : REQUEST_AGAIN_AFTER);
  }

  /** Every node that could be asked refused, for this reason; the request is repeated later. */
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
