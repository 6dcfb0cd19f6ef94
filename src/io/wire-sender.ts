/**
 * Sends the core's messages to the wire. It prefers backpressure to loss: it waits while the socket is
 * full, and meanwhile the queue of the device fills.
 */
import type { Core } from "../core/instance.js";
import { SEND_BUFFER_FULL, SEND_FAILED } from "../core/reasons.js";
import { MMSGHDR_SIZE } from "../linux.js";
import { EAGAIN, EINVAL, EIO, EMSGSIZE, ENOBUFS } from "./errno.js";
import type { ErrorQueue } from "./error-queue.js";
import { errno, hostAddress, pause, sendmmsg, waitWritable } from "./libc.js";

/** GSO batches refused in a row after which gso is off. */
const BATCHES_TO_REFUSE = 16;
/** Most repeats of one message because of errors about other datagrams. */
const MOST_REPEATS = 8;

export interface WireSenderParts {
  readonly core: Core;
  readonly errors: ErrorQueue;
  warn(sentence: string): void;
}

export class WireSender {
  readonly #parts: WireSenderParts;
  readonly #messages: number;
  #fd: number;
  /** GSO batches refused since the last one that was sent. */
  #refused = 0;
  /** Repeats of the next message, whose error may belong to another datagram. */
  #repeats = 0;

  /** @param fd the UDP socket */
  constructor(parts: WireSenderParts, fd: number) {
    const { bytes, layout } = parts.core;
    this.#parts = parts;
    this.#fd = fd;
    this.#messages = hostAddress(bytes) + layout.WIRE;
  }

  /** Uses another socket. */
  use(fd: number): void {
    this.#fd = fd;
  }

  /** @param deadline as `performance.now()`: a message that still finds the socket full then is dropped */
  send(deadline: number): void {
    const { view, layout, exports } = this.#parts.core;
    this.#repeats = 0;
    for (let at = 0; at < view.getUint32(layout.WIRE_COUNT, true); ) {
      const count = view.getUint32(layout.WIRE_COUNT, true) - at;
      const sent = sendmmsg(this.#fd, this.#messages + at * MMSGHDR_SIZE, count, 0);
      if (sent > 0) {
        if (exports.isGsoBatch(at)) this.#refused = 0;
        at += sent;
        this.#repeats = 0;
      } else if (!this.#isWorthAnother(at, errno(), deadline)) {
        at++;
        this.#repeats = 0;
      }
    }
  }

  /** Whether to send a refused message again. */
  #isWorthAnother(message: number, why: number, deadline: number): boolean {
    const { core, errors } = this.#parts;
    const { isGsoBatch, splitGsoBatches, sendFailed } = core.exports;
    if (why === EAGAIN || why === ENOBUFS) return this.#waitForRoom(message, why, deadline);
    // An error about an earlier datagram fails the next send, which is then repeated.
    if (this.#repeats++ < (errors.read() > 0 ? MOST_REPEATS : 1)) return true;
    if (isGsoBatch(message) && (why === EIO || why === EINVAL || why === EMSGSIZE)) {
      splitGsoBatches(message);
      if (why === EIO || ++this.#refused === BATCHES_TO_REFUSE) this.#giveUpBatches(why);
      return true;
    }
    sendFailed(message, SEND_FAILED);
    return false;
  }

  #waitForRoom(message: number, why: number, deadline: number): boolean {
    const patience = Math.ceil(deadline - performance.now());
    if (patience <= 0) {
      this.#parts.core.exports.sendFailed(message, SEND_BUFFER_FULL);
      return false;
    }
    // ENOBUFS concerns the kernel's memory instead of this socket's buffer: there is no event to wait for.
    if (why === ENOBUFS) pause(1);
    else waitWritable(this.#fd, patience);
    return true;
  }

  #giveUpBatches(why: number): void {
    const { view, layout } = this.#parts.core;
    const offloads = view.getUint32(layout.OFFLOADS, true);
    view.setUint32(layout.OFFLOADS, offloads & ~layout.CAN_GSO, true);
    this.#parts.warn(
      `the kernel refuses to send GSO batches (errno ${why}): gso is off from now on`,
    );
  }
}
