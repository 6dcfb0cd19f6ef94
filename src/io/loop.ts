/**
 * The dataplane worker: waits until the device or the wire has something, reads a
 * batch of it into the core's memory, lets the core decide, and writes what came of it.
 *
 *     wait -+- the device: read ----> core.outbound -+-> send what waits for the wire
 *           +- the wire: receive ---> core.inbound  -+-> write what waits for the device
 *           |                                        +-> tell the main thread of its mail
 *           +- an order: another socket, or the end
 *
 * It blocks in the kernel and nowhere else: no timers, no promises. The main
 * thread gives it an order and makes `wake` readable.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Core } from "../core/instance.js";
import {
  DEVICE_BUFFER_FULL,
  DEVICE_FAILED,
  SEND_BUFFER_FULL,
  SEND_FAILED,
} from "../core/reasons.js";
import { performanceStart } from "../time/system-clock.js";
import { Epoll } from "./epoll.js";
import { EAGAIN, EBADFD, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS } from "./errno.js";
import {
  errno,
  eventfdRead,
  hostAddress,
  pause,
  read,
  recvmmsg,
  recvmsg,
  sendmmsg,
  waitWritable,
  writev,
} from "./libc.js";
import { reportErrors } from "./udp.js";

/** What the main thread hands over: the core's code and memory, and three descriptors. */
export interface LoopParts {
  readonly module: Core["module"];
  readonly memory: Core["memory"];
  readonly tun: number;
  readonly udp: number;
  readonly wake: number;
  /** Milliseconds to keep looking before sleeping; 0: sleep at once. */
  readonly busyPoll: number;
  /** One word, 1 from when the main thread was told of its mail until it looked. */
  readonly told: SharedArrayBuffer;
}

/** Orders of the main thread: to end, or which socket or device to use from now on. */
export type Order = "stop" | { readonly udp: number } | { readonly tun: number };
/**
 * Reports of this worker: that it runs, has another socket or device, has lost its device, has
 * mail, or something for the log.
 */
export type Word = "ready" | "exchanged" | "device-removed" | "mail" | { readonly warning: string };

/** Milliseconds. Should a wake-up ever be lost, ending this worker takes no longer. */
const IDLE = 1000;
/** Milliseconds that one batch may wait, in all, for the socket to take its datagrams. */
const SEND_PATIENCE = 100;
/** Milliseconds to leave a failing descriptor alone, so that a lasting fault does not spin. */
const FAULT_PAUSE = 100;
/** Bytes after which a batch is big enough: more would only fall out of the cache. */
const BATCH_BYTES = 256 * 1024;
/** Messages a look when the last ones were long trains, for the same reason. */
const LONG_MESSAGES = 8;
const LONG = 16 * 1024;
/** A kernel that refuses so many trains in a row will refuse them all. */
const TRAINS_TO_REFUSE = 16;
/** Most repeats of one message because of errors about others. */
const MOST_REPEATS = 8;
/** Most errors read at once, so that a flood of them does not keep the worker from its packets. */
const MOST_ERRORS = 64;
/** Milliseconds without errors after so many: a full error queue would fail every send. */
const ERROR_PAUSE = 100;
/** Milliseconds between two warnings of a flood. */
const FLOOD_WARNING = 60_000;
const MSG_ERRQUEUE = 0x2000;

const { module, memory, wake, busyPoll, told } = workerData as LoopParts;
let { tun, udp } = workerData as LoopParts;
const port = parentPort!;
const core = Core.share(module, memory);
const { view, layout } = core;
const { outbound, inbound, settle, isTrain, splitTrains, sendFailed, writeFailed } = core.exports;
const base = hostAddress(core.bytes);
const slots = base + layout.SLOTS + layout.HEADROOM - layout.VIRTIO_SIZE;
const slices = base + layout.DEVICE_IOVECS;
const SLICES_SIZE = layout.MAX_SLICES * layout.IOVEC_SIZE;

let messages = layout.BATCH;
let refusedTrains = 0;
/** Times that the next message to send was sent again because an error may not be its own. */
let repeats = 0;
/** Whether the last receive failed while the socket's error queue was empty. */
let receiveFailed = false;
/** When the socket reports ICMP errors again; 0: it reports them. */
let errorsPausedUntil = 0;
let warnNextAt = 0;

core.exports.prepareReceive();
view.setFloat64(layout.CLOCK_START, performanceStart(), true);
const ready = new Epoll([tun, udp, wake]);
const isTold = new Int32Array(told);
const woken = new BigUint64Array(1);
say("ready");
run();
ready.close();

function run(): void {
  let awakeUntil = 0;
  for (;;) {
    ready.wait(busyPoll > 0 && performance.now() < awakeUntil ? 0 : IDLE);
    if (ready.has(wake) && !obey()) return;
    if (errorsPausedUntil > 0 && performance.now() >= errorsPausedUntil) resumeErrors();
    const worked = turnOut() + turnIn();
    if (worked > 0 && busyPoll > 0) awakeUntil = performance.now() + busyPoll;
  }
}

/** Does what the main thread said; false when that was to end. */
function obey(): boolean {
  eventfdRead(wake, woken);
  for (let said = receiveMessageOnPort(port); said; said = receiveMessageOnPort(port)) {
    const order: Order = said.message;
    if (order === "stop") return false;
    if ("tun" in order) useDevice(order.tun);
    else useSocket(order.udp);
    say("exchanged");
  }
  return true;
}

function useDevice(fd: number): void {
  ready.forget(tun);
  ready.watch(fd);
  tun = fd;
}

function useSocket(fd: number): void {
  ready.forget(udp);
  ready.watch(fd);
  udp = fd;
  errorsPausedUntil = 0;
}

function say(word: Word): void {
  port.postMessage(word);
}

/** One batch from the device. The core stops early when its lists are full: flush, go on. */
function turnOut(): number {
  if (!ready.has(tun)) return 0;
  const count = readDevice();
  if (count === 0) return 0;
  const now = tick();
  for (let at = 0; at < count; ) {
    at = outbound(at, count);
    sendToWire(now + SEND_PATIENCE);
    writeToDevice();
  }
  settle(layout.OUT);
  return count;
}

/** One batch from the wire, some of which may go back to it. */
function turnIn(): number {
  if (ready.failed(udp)) takeErrors();
  if (!ready.has(udp)) return 0;
  const count = receiveWire();
  if (count === 0) return 0;
  const now = tick();
  let at = 0;
  do {
    at = inbound(at, count);
    sendToWire(now + SEND_PATIENCE);
    writeToDevice();
  } while (at > 0);
  settle(layout.IN);
  tellOfMail();
  return count;
}

/** Once, until the main thread looked: however much comes in, one word waits for it. */
function tellOfMail(): void {
  const isMail = differ(layout.MAILBOX_PUT, layout.MAILBOX_TAKEN);
  const isHint = differ(layout.HINTS_PUT, layout.HINTS_TAKEN);
  if ((isMail || isHint) && Atomics.exchange(isTold, 0, 1) === 0) say("mail");
}

function differ(put: number, taken: number): boolean {
  return view.getUint32(put, true) !== view.getUint32(taken, true);
}

function tick(): number {
  const now = performance.now();
  view.setFloat64(layout.CLOCK, now, true);
  return now;
}

/** The kernel hands over one packet, or super-packet, a read. */
function readDevice(): number {
  const room = layout.VIRTIO_SIZE + layout.MAX_PACKET;
  let bytes = 0;
  for (let i = 0; i < layout.BATCH; i++) {
    const length = read(tun, slots + i * layout.SLOT_SIZE, room);
    if (length < 0) {
      noMore(errno());
      return i;
    }
    view.setUint32(layout.LENGTHS + 4 * i, length, true);
    bytes += length;
    if (bytes > BATCH_BYTES) return i + 1;
  }
  return layout.BATCH;
}

function receiveWire(): number {
  const count = recvmmsg(udp, base + layout.RECEIVE, messages, 0);
  if (count <= 0) {
    const why = errno();
    if (isNothing(why)) return 0;
    // An ICMP error makes one receive fail and is cleared by that; it may have been read from the
    // queue before.
    const isFault = takeErrors() === 0;
    if (isFault && receiveFailed) pause(FAULT_PAUSE);
    receiveFailed = isFault;
    return 0;
  }
  receiveFailed = false;
  const last = layout.RECEIVE + (count - 1) * layout.MMSGHDR_SIZE + layout.MMSGHDR_LEN;
  messages = view.getUint32(last, true) > LONG ? LONG_MESSAGES : layout.BATCH;
  return count;
}

/** A read from the device that failed: mostly there is nothing left to read. */
function noMore(why: number): void {
  if (isNothing(why)) return;
  if (why === EBADFD) waitForDevice();
  else pause(FAULT_PAUSE);
}

/** The wire is served on; what it brings for the host is dropped (`device-failed`). */
function waitForDevice(): void {
  ready.forget(tun);
  say("device-removed");
}

function isNothing(why: number): boolean {
  return why === EAGAIN || why === EINTR;
}

function sendToWire(deadline: number): void {
  repeats = 0;
  for (let at = 0; at < view.getUint32(layout.WIRE_COUNT, true); ) {
    const count = view.getUint32(layout.WIRE_COUNT, true) - at;
    const sent = sendmmsg(udp, base + layout.WIRE + at * layout.MMSGHDR_SIZE, count, 0);
    if (sent > 0) {
      if (isTrain(at)) refusedTrains = 0;
      at += sent;
      repeats = 0;
    } else if (!again(at, errno(), deadline)) {
      at++;
      repeats = 0;
    }
  }
}

/**
 * The kernel did not take this message: is it worth another try? Backpressure
 * before loss: a full buffer is waited for, and the device's own queue fills meanwhile.
 */
function again(message: number, why: number, deadline: number): boolean {
  if (why === EAGAIN || why === ENOBUFS) return waitForRoom(message, why, deadline);
  // An error of an earlier datagram fails the next send, which is then repeated.
  if (repeats++ < (readErrors() > 0 ? MOST_REPEATS : 1)) return true;
  if (isTrain(message) && (why === EIO || why === EINVAL || why === EMSGSIZE)) {
    splitTrains(message);
    if (why === EIO || ++refusedTrains === TRAINS_TO_REFUSE) giveUpTrains(why);
    return true;
  }
  sendFailed(message, SEND_FAILED);
  return false;
}

function waitForRoom(message: number, why: number, deadline: number): boolean {
  const patience = Math.ceil(deadline - performance.now());
  if (patience <= 0) {
    sendFailed(message, SEND_BUFFER_FULL);
    return false;
  }
  // ENOBUFS is about the kernel's memory, not this socket's buffer: there is no event to wait for.
  if (why === ENOBUFS) pause(1);
  else waitWritable(udp, patience);
  return true;
}

function giveUpTrains(why: number): void {
  const offloads = view.getUint32(layout.OFFLOADS, true);
  view.setUint32(layout.OFFLOADS, offloads & ~layout.CAN_TRAIN, true);
  say({ warning: `the kernel refuses to send trains (errno ${why}): gso is off from now on` });
}

/** What the underlay said, between batches: the core reads it as one of no packets. */
function takeErrors(): number {
  tick();
  core.exports.begin();
  const count = readErrors();
  settle(layout.OUT);
  return count;
}

/** Reads the socket's error queue, within a batch. Returns the number of errors. */
function readErrors(): number {
  let count = 0;
  for (; count < MOST_ERRORS; count++) {
    core.exports.prepareError();
    if (recvmsg(udp, base + layout.ERROR_MESSAGE, MSG_ERRQUEUE) < 0) break;
    core.exports.noteError();
  }
  if (count > 0) tellOfMail();
  if (count === MOST_ERRORS) pauseErrors();
  return count;
}

function pauseErrors(): void {
  reportErrors(udp, false);
  const now = performance.now();
  errorsPausedUntil = now + ERROR_PAUSE;
  if (now < warnNextAt) return;
  warnNextAt = now + FLOOD_WARNING;
  say({
    warning: `a flood of ICMP errors: at most ${MOST_ERRORS} are read each ${ERROR_PAUSE} ms`,
  });
}

function resumeErrors(): void {
  reportErrors(udp, true);
  errorsPausedUntil = 0;
}

function writeToDevice(): void {
  const count = view.getUint32(layout.DEVICE_COUNT, true);
  for (let i = 0; i < count; i++) {
    const pieces = view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true);
    if (writev(tun, slices + i * SLICES_SIZE, pieces) < 0) {
      writeFailed(i, errno() === EAGAIN ? DEVICE_BUFFER_FULL : DEVICE_FAILED);
    }
  }
}
