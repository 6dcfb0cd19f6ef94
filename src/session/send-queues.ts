/**
 * Limits the bytes in all send queues together. A slow reader makes its queue long, and a host with
 * the secret can make up peers. So there is one limit for all sessions and a smaller one for peers
 * that are not members. Over a limit, the session with the longest queue ends.
 */
import { WeftError } from "../error.js";

/** Most queued bytes: of all sessions; of those with non-members; of one session. */
export const MAX_QUEUED = {
  all: 64 * 1024 * 1024,
  strangers: 16 * 1024 * 1024,
  one: 16 * 1024 * 1024,
};
/** The queues are summed each time this many bytes were sent, so they exceed a limit by no more. */
export const CHECK_EVERY = 1024 * 1024;
/** Bytes that a queued message takes beside its text: frame, buffers and callback. */
export const MESSAGE_OVERHEAD = 512;

export interface SendQueue {
  /** Queued bytes, including `MESSAGE_OVERHEAD` for each message. */
  readonly queued: number;
  readonly isMember: boolean;
  /** Ends the session at once: its queue is lost. */
  abort(reason: WeftError): void;
}

export class SendQueues {
  readonly #queues = new Set<SendQueue>();
  #unchecked = 0;

  add(queue: SendQueue): void {
    this.#queues.add(queue);
  }

  /** To be called when the queue is freed, which is later than the session's `closed`. */
  remove(queue: SendQueue): void {
    this.#queues.delete(queue);
  }

  /** To be called after a message of this length was sent in any session. */
  sent(length: number): void {
    this.#unchecked += length + MESSAGE_OVERHEAD;
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
    "find out what slows down that host or its network; it may dial again",
  );
