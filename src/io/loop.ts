/**
 * The loop of the dataplane: waits for the device or the wire, reads a batch of packets into the
 * core's memory, runs the core, and writes the results.
 *
 *     wait -+- the device: read ----> core.outbound -+-> send the messages for the wire
 *           +- the wire: receive ---> core.inbound  -+-> write the packets for the device
 *           |                                        +-> report control datagrams to the main thread
 *           +- a command: another socket or device, or stop
 *
 * It blocks only in the kernel: it has no timers and no promises. The main thread posts a command and
 * makes `wake` readable. The loop runs in a worker of its own: loop-worker.ts.
 */

import type { Core } from "../core/instance.js";
import { adoptFlows, type KeptFlows } from "../core/kept-flows.js";
import { DEVICE_BUFFER_FULL, DEVICE_FAILED } from "../core/reasons.js";
import { IOVEC_SIZE, MMSGHDR_LEN, MMSGHDR_SIZE } from "../linux.js";
import { performanceStart } from "../time/system-clock.js";
import { Epoll } from "./epoll.js";
import { EAGAIN, EBADFD, EINTR } from "./errno.js";
import { ErrorQueue } from "./error-queue.js";
import { errno, eventfdRead, hostAddress, pause, read, recvmmsg, writev } from "./libc.js";
import { WireSender } from "./wire-sender.js";

/** Commands of the main thread: stop, end connections, use another socket or device, adopt connections. */
export type Command =
  | "stop"
  | "reset-gone"
  | { readonly udp: number }
  | { readonly tun: number }
  | KeptFlows;
/**
 * Reports of the loop: it runs, uses another socket or device, adopted connections, lost its device, has
 * control datagrams for the main thread, or has a message for the log.
 */
export type Report =
  | "ready"
  | "exchanged"
  | "device-removed"
  | "control"
  | { readonly adopted: number }
  | { readonly warning: string };

export interface LoopParts {
  readonly core: Core;
  /** Descriptors: the device, the socket, and one that is readable when there is a command. */
  readonly tun: number;
  readonly udp: number;
  readonly wake: number;
  /** One word: 1 after a report of control datagrams, 0 once the main thread reads them. */
  readonly notified: Int32Array;
  nextCommand(): Command | undefined;
  post(report: Report): void;
}

export interface LoopOptions {
  /** Milliseconds to poll before sleeping; 0: sleep at once. */
  readonly busyPoll: number;
}

/** Milliseconds. Bounds the delay of a command if a wake-up is lost. */
const IDLE = 1000;
/** Milliseconds that one batch may wait in total for a full socket. */
const SEND_PATIENCE = 100;
/** Milliseconds without a failing descriptor, so that a lasting fault does not spin. */
const FAULT_PAUSE = 100;
/** Bytes after which a batch ends: more would not fit in the cache. */
const BATCH_BYTES = 256 * 1024;
/** Messages per receive after long GSO batches, for the same reason. */
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
  /** Messages to receive next time. */
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

  /** Returns at the command to stop. The descriptors stay open. */
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

  /** Returns false at the command to stop. */
  #handleCommands(): boolean {
    const { wake, nextCommand, post } = this.#parts;
    eventfdRead(wake, this.#woken);
    for (let command = nextCommand(); command !== undefined; command = nextCommand()) {
      if (command === "stop") return false;
      if (command === "reset-gone") {
        this.#resetGone();
        continue;
      }
      if ("pairs" in command) {
        post({ adopted: this.#adopt(command) });
        continue;
      }
      if ("tun" in command) this.#useDevice(command.tun);
      else this.#useSocket(command.udp);
      post("exchanged");
    }
    return true;
  }

  /** To the core it is a batch without packets. */
  #adopt(kept: KeptFlows): number {
    const { exports, layout } = this.#core;
    this.#tick();
    exports.beginBatch();
    const adopted = adoptFlows(this.#core, kept);
    exports.finishBatch(layout.OUT);
    return adopted;
  }

  /** Ends connections whose translation is gone. */
  #resetGone(): void {
    const { exports, layout } = this.#core;
    const now = this.#tick();
    let at = 0;
    do {
      at = exports.resetGone(at);
      this.#sender.send(now + SEND_PATIENCE);
      this.#writeToDevice();
      exports.finishBatch(layout.OUT);
    } while (at > 0);
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

  /** Handles one batch from the device. The core returns early when its lists are full: they are flushed. */
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

  /** Handles one batch from the wire, of which some packets may be relayed to the wire. */
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

  /** The kernel returns one packet, or super-packet, per read. */
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

  /** Usually there is nothing left to read. */
  #readFailed(why: number): void {
    if (isNothing(why)) return;
    if (why === EBADFD) this.#waitForDevice();
    else pause(FAULT_PAUSE);
  }

  /** The wire is still served; packets for this host are dropped (`device-failed`). */
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
      // An ICMP error fails one receive, which clears it; it may already have been read from the
      // queue.
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

  /** Reads the error queue between batches; to the core it is a batch without packets. */
  #takeErrors(): number {
    const { exports, layout } = this.#core;
    this.#tick();
    exports.beginBatch();
    const count = this.#errors.read();
    exports.finishBatch(layout.OUT);
    return count;
  }

  /** Reports control datagrams once until the main thread reads them, however many arrive. */
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
