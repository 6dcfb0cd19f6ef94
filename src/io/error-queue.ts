/**
 * The error queue of the UDP socket: it passes ICMP errors about earlier datagrams to the core.
 * During a flood of them, the socket reports none for a while.
 */
import type { Core } from "../core/instance.js";
import { MSG_ERRQUEUE } from "../linux.js";
import { hostAddress, recvmsg } from "./libc.js";
import { reportErrors } from "./udp.js";

/** Most errors read at once, so that packets are not delayed by a flood. */
const MOST_ERRORS = 64;
/** Milliseconds without reports after that many: a full error queue would fail every send. */
const ERROR_PAUSE = 100;
/** Milliseconds between two warnings about a flood. */
const FLOOD_WARNING = 60_000;

export interface ErrorQueueParts {
  readonly core: Core;
  /** Called when the core has handled errors. */
  noted(): void;
  warn(sentence: string): void;
}

export class ErrorQueue {
  readonly #parts: ErrorQueueParts;
  readonly #message: number;
  #fd: number;
  /** End of the pause, as `performance.now()`; 0 while the socket reports errors. */
  #pausedUntil = 0;
  #warnNextAt = 0;

  /** @param fd the UDP socket */
  constructor(parts: ErrorQueueParts, fd: number) {
    const { bytes, layout } = parts.core;
    this.#parts = parts;
    this.#fd = fd;
    this.#message = hostAddress(bytes) + layout.ERROR_MESSAGE;
  }

  /** Uses another socket, which reports errors. */
  use(fd: number): void {
    this.#fd = fd;
    this.#pausedUntil = 0;
  }

  /** Reads the queue, within a batch. Returns the number of errors. */
  read(): number {
    const { core, noted } = this.#parts;
    let count = 0;
    for (; count < MOST_ERRORS; count++) {
      core.exports.prepareError();
      if (recvmsg(this.#fd, this.#message, MSG_ERRQUEUE) < 0) break;
      core.exports.noteError();
    }
    if (count > 0) noted();
    if (count === MOST_ERRORS) this.#pause();
    return count;
  }

  /** Ends a pause that is over. */
  resume(): void {
    if (this.#pausedUntil === 0 || performance.now() < this.#pausedUntil) return;
    reportErrors(this.#fd, true);
    this.#pausedUntil = 0;
  }

  #pause(): void {
    reportErrors(this.#fd, false);
    const now = performance.now();
    this.#pausedUntil = now + ERROR_PAUSE;
    if (now < this.#warnNextAt) return;
    this.#warnNextAt = now + FLOOD_WARNING;
    this.#parts.warn(
      `a flood of ICMP errors: at most ${MOST_ERRORS} are read each ${ERROR_PAUSE} ms`,
    );
  }
}
