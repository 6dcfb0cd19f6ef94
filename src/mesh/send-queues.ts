/**
 * What waits to be sent, in all sessions together. A peer that reads slowly makes its queue long, and
 * who has the secret can make up peers: so there is one bound for all, and a small one for all that
 * are no members. Over a bound, the session with the longest queue ends.
 */
import { WeftError } from "../error.js";

/** Bytes: of all; of all that are no members; of one. */
export const MAX_QUEUED = {
  all: 64 * 1024 * 1024,
  strangers: 16 * 1024 * 1024,
  one: 16 * 1024 * 1024,
};
/** The queues are added up each time so many bytes were sent. They exceed a bound by no more. */
export const CHECK_EVERY = 1024 * 1024;
/** What a message costs beside its text: its frame, its buffers and who waits for it, in bytes. */
export const PER_MESSAGE = 512;

export interface Queue {
  /** Bytes that wait, `PER_MESSAGE` for each message included. */
  readonly queued: number;
  readonly isMember: boolean;
  /** Ends it at once: what waits is lost. */
  abort(reason: WeftError): void;
}

export class SendQueues {
  readonly #queues = new Set<Queue>();
  #unchecked = 0;

  add(queue: Queue): void {
    this.#queues.add(queue);
  }

  /** To be called when what waited is gone, not when the session is said to be closed. */
  remove(queue: Queue): void {
    this.#queues.delete(queue);
  }

  /** So many characters more were given to one of them. */
  sent(length: number): void {
    this.#unchecked += length + PER_MESSAGE;
    if (this.#unchecked < CHECK_EVERY) return;
    this.#unchecked = 0;
    this.#check();
  }

  #check(): void {
    const longestFirst = [...this.#queues]
      .map((queue) => ({ queue, bytes: queue.queued, isStranger: !queue.isMember }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes);
    const strangers = longestFirst.filter(({ isStranger }) => isStranger);
    let ofStrangers = sum(strangers);
    let ofAll = sum(longestFirst);
    for (const { queue, bytes, isStranger } of longestFirst) {
      const isTooMuch =
        bytes > MAX_QUEUED.one ||
        ofAll > MAX_QUEUED.all ||
        (isStranger && ofStrangers > MAX_QUEUED.strangers);
      if (!isTooMuch) continue;
      ofAll -= bytes;
      if (isStranger) ofStrangers -= bytes;
      queue.abort(tooSlow(bytes));
    }
  }
}

const sum = (queues: readonly { readonly bytes: number }[]): number =>
  queues.reduce((all, { bytes }) => all + bytes, 0);

const tooSlow = (bytes: number): WeftError =>
  new WeftError(
    "SLOW",
    `the other end reads too slowly: ${bytes} bytes wait for it`,
    "look what holds up that host or its network; it may dial again",
  );
