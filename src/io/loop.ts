/**
 * The loop of the dataplane: waits until the device or the wire has something, reads a
 * batch of it into the core's memory, lets the core decide, and writes what came of it.
 *
 *     wait -+- the device: read ----> core.outbound -+-> send what waits for the wire
 *           +- the wire: receive ---> core.inbound  -+-> write what waits for the device
 *           |                                        +-> tell the main thread of its control datagrams
 *           +- a command: another socket or device, or the end
 *
 * It blocks in the kernel and nowhere else: no timers, no promises. The main thread gives it a
 * command and makes `wake` readable. It runs in a worker of its own: loop-worker.ts.
 */

import type { Core } from "../core/instance.js";
import { DEVICE_BUFFER_FULL, DEVICE_FAILED } from "../core/reasons.js";
import { IOVEC_SIZE, MMSGHDR_LEN, MMSGHDR_SIZE } from "../linux.js";
import { performanceStart } from "../time/system-clock.js";
import { Epoll } from "./epoll.js";
import { EAGAIN, EBADFD, EINTR } from "./errno.js";
import { ErrorQueue } from "./error-queue.js";
import { errno, eventfdRead, hostAddress, pause, read, recvmmsg, writev } from "./libc.js";
import { WireSender } from "./wire-sender.js";

/** Commands of the main thread: to end, or which socket or device to use from now on. */
export type Command = "stop" | { readonly udp: number } | { readonly tun: number };
/**
 * Reports of the loop: that it runs, has another socket or device, has lost its device, has
 * control datagrams for the main thread, or something for the log.
 */
export type Report =
  | "ready"
  | "exchanged"
  | "device-removed"
  | "control"
  | { readonly warning: string };

export interface LoopParts {
  readonly core: Core;
  /** Descriptors: the device, the socket, and what is readable when there is a command. */
  readonly tun: number;
  readonly udp: number;
  readonly wake: number;
  /** One word, 1 from when the main thread was told of its control datagrams until it looked. */
  readonly notified: Int32Array;
  nextCommand(): Command | undefined;
  post(report: Report): void;
}

export interface LoopOptions {
  /** Milliseconds to keep looking before sleeping; 0: sleep at once. */
  readonly busyPoll: number;
}

/** Milliseconds. Should a wake-up ever be lost, ending the loop takes no longer. */
const IDLE = 1000;
/** Milliseconds that one batch may wait, in all, for the socket to take its datagrams. */
const SEND_PATIENCE = 100;
/** Milliseconds to leave a failing descriptor alone, so that a lasting fault does not spin. */
const FAULT_PAUSE = 100;
/** Bytes after which a batch is big enough: more would only fall out of the cache. */
const BATCH_BYTES = 256 * 1024;
/** Messages a look when the last ones were long GSO batches, for the same reason. */
const LONG_MESSAGES = 8;
const LONG = 16 * 1024;

export class Loop {
  readonly #parts: LoopParts;
  readonly #options: LoopOptions;
  readonly #core: Core;
  readonly #ready: Epoll;
  readonly #errors: ErrorQueue;
  readonly #sender: WireSender;
  readonly #woken = new BigUint64Array(1);
  /** Host addresses of the core's slots, and of its vectors for the wire and the device. */
  readonly #slots: number;
  readonly #receive: number;
  readonly #slices: number;
  #tun: number;
  #udp: number;
  /** Messages to receive at the next look. */
  #messages: number;
  /** Whether the last receive failed while the socket's error queue was empty. */
  #receiveFailed = false;

  constructor(parts: LoopParts, options: LoopOptions) {
    const { core, tun, udp, wake } = parts;
    const { bytes, view, layout, exports } = core;
    const base = hostAddress(bytes);
    this.#parts = parts;
    this.#options = options;
    this.#core = core;
    this.#tun = tun;
    this.#udp = udp;
    this.#slots = base + layout.SLOTS + layout.HEADROOM - layout.VIRTIO_SIZE;
    this.#receive = base + layout.RECEIVE;
    this.#slices = base + layout.DEVICE_IOVECS;
    this.#messages = layout.BATCH;
    const warn = (warning: string) => parts.post({ warning });
    this.#errors = new ErrorQueue({ core, warn, noted: () => this.#postControl() }, udp);
    this.#sender = new WireSender({ core, warn, errors: this.#errors }, udp);
    exports.prepareReceive();
    view.setFloat64(layout.CLOCK_START, performanceStart(), true);
    this.#ready = new Epoll([tun, udp, wake]);
  }

  /** Returns when the main thread says so. The descriptors stay open. */
  run(): void {
    const { busyPoll } = this.#options;
    this.#parts.post("ready");
    let awakeUntil = 0;
    for (;;) {
      this.#ready.wait(busyPoll > 0 && performance.now() < awakeUntil ? 0 : IDLE);
      if (this.#ready.has(this.#parts.wake) && !this.#handleCommands()) break;
      this.#errors.resume();
      const worked = this.#pollTun() + this.#pollUdp();
      if (worked > 0 && busyPoll > 0) awakeUntil = performance.now() + busyPoll;
    }
    this.#ready.close();
  }

  /** Returns false when the loop is to end. */
  #handleCommands(): boolean {
    const { wake, nextCommand, post } = this.#parts;
    eventfdRead(wake, this.#woken);
    for (let command = nextCommand(); command !== undefined; command = nextCommand()) {
      if (command === "stop") return false;
      if ("tun" in command) this.#useDevice(command.tun);
      else this.#useSocket(command.udp);
      post("exchanged");
    }
    return true;
  }

  #useDevice(fd: number): void {
    this.#ready.forget(this.#tun);
    this.#ready.watch(fd);
    this.#tun = fd;
  }

  #useSocket(fd: number): void {
    this.#ready.forget(this.#udp);
    this.#ready.watch(fd);
    this.#udp = fd;
    this.#errors.use(fd);
    this.#sender.use(fd);
  }

  /** One batch from the device. The core stops early when its lists are full: flush, go on. */
  #pollTun(): number {
    if (!this.#ready.has(this.#tun)) return 0;
    const count = this.#readDevice();
    if (count === 0) return 0;
    const { exports, layout } = this.#core;
    const now = this.#tick();
    for (let at = 0; at < count; ) {
      at = exports.outbound(at, count);
      this.#sender.send(now + SEND_PATIENCE);
      this.#writeToDevice();
    }
    exports.finishBatch(layout.OUT);
    return count;
  }

  /** One batch from the wire, some of which may go back to it. */
  #pollUdp(): number {
    if (this.#ready.failed(this.#udp)) this.#takeErrors();
    if (!this.#ready.has(this.#udp)) return 0;
    const count = this.#receiveWire();
    if (count === 0) return 0;
    const { exports, layout } = this.#core;
    const now = this.#tick();
    let at = 0;
    do {
      at = exports.inbound(at, count);
      this.#sender.send(now + SEND_PATIENCE);
      this.#writeToDevice();
    } while (at > 0);
    exports.finishBatch(layout.IN);
    this.#postControl();
    return count;
  }

  #tick(): number {
    const { view, layout } = this.#core;
    const now = performance.now();
    view.setFloat64(layout.CLOCK, now, true);
    return now;
  }

  /** The kernel hands over one packet, or super-packet, a read. */
  #readDevice(): number {
    const { view, layout } = this.#core;
    const room = layout.VIRTIO_SIZE + layout.MAX_PACKET;
    let bytes = 0;
    for (let i = 0; i < layout.BATCH; i++) {
      const length = read(this.#tun, this.#slots + i * layout.SLOT_SIZE, room);
      if (length < 0) {
        this.#readFailed(errno());
        return i;
      }
      view.setUint32(layout.LENGTHS + 4 * i, length, true);
      bytes += length;
      if (bytes > BATCH_BYTES) return i + 1;
    }
    return layout.BATCH;
  }

  /** Mostly there is nothing left to read. */
  #readFailed(why: number): void {
    if (isNothing(why)) return;
    if (why === EBADFD) this.#waitForDevice();
    else pause(FAULT_PAUSE);
  }

  /** The wire is served on; what it brings for the host is dropped (`device-failed`). */
  #waitForDevice(): void {
    this.#ready.forget(this.#tun);
    this.#parts.post("device-removed");
  }

  #receiveWire(): number {
    const { view, layout } = this.#core;
    const count = recvmmsg(this.#udp, this.#receive, this.#messages, 0);
    if (count <= 0) {
      const why = errno();
      if (isNothing(why)) return 0;
      // An ICMP error makes one receive fail and is cleared by that; it may have been read from the
      // queue before.
      const isFault = this.#takeErrors() === 0;
      if (isFault && this.#receiveFailed) pause(FAULT_PAUSE);
      this.#receiveFailed = isFault;
      return 0;
    }
    this.#receiveFailed = false;
    const last = layout.RECEIVE + (count - 1) * MMSGHDR_SIZE + MMSGHDR_LEN;
    this.#messages = view.getUint32(last, true) > LONG ? LONG_MESSAGES : layout.BATCH;
    return count;
  }

  #writeToDevice(): void {
    const { view, layout, exports } = this.#core;
    const count = view.getUint32(layout.DEVICE_COUNT, true);
    for (let i = 0; i < count; i++) {
      const pieces = view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true);
      const slices = this.#slices + i * layout.MAX_SLICES * IOVEC_SIZE;
      if (writev(this.#tun, slices, pieces) < 0) {
        exports.writeFailed(i, errno() === EAGAIN ? DEVICE_BUFFER_FULL : DEVICE_FAILED);
      }
    }
  }

  /** What the underlay said, between batches: the core reads it as one of no packets. */
  #takeErrors(): number {
    const { exports, layout } = this.#core;
    this.#tick();
    exports.beginBatch();
    const count = this.#errors.read();
    exports.finishBatch(layout.OUT);
    return count;
  }

  /** Once, until the main thread looked: however much comes in, one report waits for it. */
  #postControl(): void {
    const { layout } = this.#core;
    const isControl = this.#differ(layout.MAILBOX_PUT, layout.MAILBOX_TAKEN);
    const isHint = this.#differ(layout.HINTS_PUT, layout.HINTS_TAKEN);
    const { notified, post } = this.#parts;
    if ((isControl || isHint) && Atomics.exchange(notified, 0, 1) === 0) post("control");
  }

  #differ(put: number, taken: number): boolean {
    const { view } = this.#core;
    return view.getUint32(put, true) !== view.getUint32(taken, true);
  }
}

const isNothing = (why: number): boolean => why === EAGAIN || why === EINTR;
