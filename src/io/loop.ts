/**
 * The dataplane worker: waits until the device or the wire has something, reads a
 * batch of it into the core's memory, lets the core decide, and writes what came of it.
 *
 *     wait -+- the device: read ----> core.outbound -+-> send what waits for the wire
 *           +- the wire: receive ---> core.inbound  -+-> write what waits for the device
 *
 * It blocks in the kernel and nowhere else: no timers, no promises, no messages. The
 * main thread ends it by making `wake` readable.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Core } from "../core/instance.js";
import {
  DEVICE_BUFFER_FULL,
  DEVICE_FAILED,
  SEND_BUFFER_FULL,
  SEND_FAILED,
} from "../core/reasons.js";
import { Epoll } from "./epoll.js";
import { EAGAIN, EBADFD, EINTR, ENOBUFS } from "./errno.js";
import {
  errno,
  hostAddress,
  pause,
  read,
  recvmmsg,
  sendmmsg,
  waitWritable,
  write,
} from "./libc.js";

/** What the main thread hands over: the core's code and memory, and three descriptors. */
export interface LoopParts {
  readonly module: Core["module"];
  readonly memory: Core["memory"];
  readonly tun: number;
  readonly udp: number;
  readonly wake: number;
}

/** Milliseconds. Should a wake-up ever be lost, ending this worker takes no longer. */
const IDLE = 1000;
/** Milliseconds that one batch may wait, in all, for the socket to take its datagrams. */
const SEND_PATIENCE = 100;
/** Milliseconds to leave a failing descriptor alone, so that a lasting fault does not spin. */
const FAULT_PAUSE = 100;

type Pass = (from: number, count: number) => number;

const { module, memory, tun, udp, wake } = workerData as LoopParts;
const core = await Core.create({ module, memory });
const { view, layout } = core;
const { outbound, inbound, settle, sendFailed, writeFailed } = core.exports;
const base = hostAddress(core.bytes);
const slots = base + layout.SLOTS + layout.HEADROOM - layout.VIRTIO_SIZE;

core.exports.prepareReceive();
const ready = new Epoll([tun, udp, wake]);
parentPort?.postMessage("ready");
run();
ready.close();

function run(): void {
  for (;;) {
    ready.wait(IDLE);
    if (ready.has(wake)) return;
    if (ready.has(tun)) turn(layout.OUT, readDevice(), outbound);
    if (ready.has(udp)) turn(layout.IN, receiveWire(), inbound);
  }
}

/** One batch from end to end. The core stops early when its lists are full: flush, go on. */
function turn(direction: number, count: number, pass: Pass): void {
  if (count === 0) return;
  const now = performance.now();
  view.setFloat64(layout.CLOCK, now, true);
  for (let at = 0; at < count; ) {
    at = pass(at, count);
    sendToWire(now + SEND_PATIENCE);
    writeToDevice();
  }
  settle(direction, count);
}

/** The kernel hands over one packet a read. */
function readDevice(): number {
  for (let i = 0; i < layout.BATCH; i++) {
    const room = layout.VIRTIO_SIZE + layout.MAX_PACKET;
    const length = read(tun, slots + i * layout.SLOT_SIZE, room);
    if (length < 0) {
      noMore();
      return i;
    }
    view.setUint32(layout.LENGTHS + 4 * i, length, true);
  }
  return layout.BATCH;
}

function receiveWire(): number {
  const count = recvmmsg(udp, base + layout.RECEIVE, layout.BATCH, 0);
  if (count >= 0) return count;
  noMore();
  return 0;
}

/** A read that failed: mostly there is nothing left to read. */
function noMore(): void {
  const why = errno();
  if (why === EAGAIN || why === EINTR) return;
  if (why === EBADFD) throw new Error("the device was removed");
  pause(FAULT_PAUSE);
}

function sendToWire(deadline: number): void {
  const count = view.getUint32(layout.WIRE_COUNT, true);
  for (let at = 0; at < count; ) {
    const sent = sendmmsg(udp, base + layout.WIRE + at * layout.MMSGHDR_SIZE, count - at, 0);
    if (sent > 0) at += sent;
    else at = refused(at, errno(), deadline);
  }
}

/**
 * The kernel did not take this datagram; returns the one to try next. Backpressure
 * before loss: a full buffer is waited for, and the device's own queue fills meanwhile.
 */
function refused(datagram: number, why: number, deadline: number): number {
  if (why !== EAGAIN && why !== ENOBUFS) return sendFailed(datagram, SEND_FAILED);
  const patience = Math.ceil(deadline - performance.now());
  if (patience <= 0) return sendFailed(datagram, SEND_BUFFER_FULL);
  // ENOBUFS is about the kernel's memory, not this socket's buffer: there is no event to wait for.
  if (why === ENOBUFS) pause(1);
  else waitWritable(udp, patience);
  return datagram;
}

function writeToDevice(): void {
  const count = view.getUint32(layout.DEVICE_COUNT, true);
  for (let i = 0; i < count; i++) {
    const entry = layout.DEVICE + i * layout.DEVICE_SIZE;
    const address = view.getUint32(entry, true);
    const length = view.getUint32(entry + 4, true);
    if (write(tun, base + address, length) < 0) {
      writeFailed(i, errno() === EAGAIN ? DEVICE_BUFFER_FULL : DEVICE_FAILED);
    }
  }
}
