/**
 * The kernel path: a TUN device, a UDP socket, and the worker between them.
 *
 * The main thread opens both, so that their errors are known before anything else on the machine
 * changes.
 */
import { EventEmitter, once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import { parseAddress } from "../address.js";
import type { Offloads } from "../config/config.js";
import type { Core } from "../core/instance.js";
import type { KeptFlows } from "../core/kept-flows.js";
import { takeControl } from "../core/mailbox.js";
import type { Publisher } from "../core/publish.js";
import { WeftError } from "../error.js";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../linux.js";
import type { DataPath, Receiver } from "../paths/datapath.js";
import { monotonic } from "../time/system-clock.js";
import { check, close, eventfd, eventfdWrite, hostAddress } from "./libc.js";
import type { Command, Report } from "./loop.js";
import type { LoopWorkerData } from "./loop-worker.js";
import { tryGso } from "./probe.js";
import { deviceName, openTun } from "./tun.js";
import { gather, holdPort, openUdp, sendDatagram } from "./udp.js";

export interface KernelParts {
  readonly core: Core;
  /** Has the names of the peers. */
  readonly publisher: Publisher;
  readonly log: Logger;
}

export interface KernelOptions {
  /** Name of the TUN device. */
  readonly tun: string;
  /** Underlay address and UDP port of this node. */
  readonly address: string;
  readonly port: number;
  /** Offloads to use where this host has them. */
  readonly offloads: Offloads;
  /** Microseconds to poll for packets before sleeping; 0: sleep at once. */
  readonly busyPoll: number;
  /** MTU of the device, in bytes. */
  readonly mtu: number;
}

/**
 * Bytes of the largest inner packet that every path takes, by underlay: 576 outside (RFC 791, 3.1)
 * or 1280 (RFC 8200, 5), less the headers.
 */
const LEAST_MTU = { 4: 526, 6: 1210 } as const;

/**
 * Moves packets from `start` to `stop`. The device exists once `start` has resolved, and is removed
 * by `stop` or the end of the process.
 *
 * Emits `removed` when another program removed the device: packets of this host wait for `renewDevice`.
 * Emits `error` (WeftError DATAPLANE_STOPPED) when the core trapped and the worker ended. No packets
 * move then, and `stop` must still be called.
 */
export class KernelIo
  extends EventEmitter<{ error: [WeftError]; removed: [] }>
  implements DataPath
{
  readonly #core: Core;
  readonly #publisher: Publisher;
  readonly #options: KernelOptions;
  readonly #log: Logger;
  readonly #descriptors: number[] = [];
  #offloads: Offloads = { tso: false, uso: false, gso: false, gro: false };
  #worker: Worker | undefined;
  #ended: Promise<void> | undefined;
  #wake = -1;
  #wire = -1;
  #device = -1;
  #address: string;
  #mtu: number;
  /** See `LoopParts`. */
  readonly #notified = new Int32Array(new SharedArrayBuffer(4));
  #receiver: Receiver = () => {};
  #hinted: (name: string) => void = () => {};
  #resized: () => void = () => {};
  /** Resolvers of commands to adopt connections, oldest first. */
  readonly #adoptions: ((adopted: number) => void)[] = [];
  /** Resolvers of commands that give the worker a descriptor, oldest first. */
  readonly #exchanges: (() => void)[] = [];

  constructor({ core, publisher, log }: KernelParts, options: KernelOptions) {
    super();
    this.#core = core;
    this.#publisher = publisher;
    this.#options = options;
    this.#address = options.address;
    this.#mtu = options.mtu;
    this.#log = log;
  }

  async start(): Promise<void> {
    const { tun, address, port } = this.#options;
    try {
      const { fd: device, tso, uso } = openTun(tun, this.#options.offloads);
      this.#device = this.#keep(device);
      this.#keep(holdPort(port));
      this.#wire = this.#keep(openUdp(address, port, { isHeld: true }));
      this.#use({ tso, uso, ...this.#tryGso(this.#wire) });
      this.#wake = this.#keep(check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
      await this.#work({ tun: device, udp: this.#wire, wake: this.#wake });
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#log.info({ device: tun, underlay: `${address}:${port}` }, "dataplane started");
  }

  /** Offloads in use now. */
  offloads(): Offloads {
    const { view, layout } = this.#core;
    const gso = (view.getUint32(layout.OFFLOADS, true) & layout.CAN_GSO) !== 0;
    return { ...this.#offloads, gso };
  }

  /** The time at which the core's clock was 0, in milliseconds since 1970 by this host's current clock. */
  epoch(): number {
    return Date.now() - this.clock;
  }

  /** The current time by the core's CLOCK, in milliseconds; also after `stop`. */
  get clock(): number {
    const { view, layout } = this.#core;
    return monotonic() - view.getFloat64(layout.CLOCK_START, true);
  }

  /** The worker enters connections into the table. @returns how many; 0 if it has ended */
  async adopt(kept: KeptFlows): Promise<number> {
    const adopted = new Promise<number>((resolve) => this.#adoptions.push(resolve));
    this.#command(kept);
    return await Promise.race([adopted, this.#ended!.then(() => 0)]);
  }

  async stop(): Promise<void> {
    this.#command("stop");
    await this.#ended;
    process.off("exit", this.#onExit);
    for (const fd of this.#descriptors.splice(0)) close(fd);
    this.#wake = -1;
    this.#wire = -1;
    this.#device = -1;
  }

  /** The current name of the device; undefined if it was removed. */
  deviceName(): string | undefined {
    return deviceName(this.#device);
  }

  /**
   * Makes the device again after it was removed or moved away. It has no address, MTU or route yet.
   * @throws WeftError as `start` does, when the name is taken; nothing has changed then
   */
  async renewDevice(): Promise<void> {
    const { fd, tso, uso } = openTun(this.#options.tun, this.#offloads);
    this.#use({ ...this.offloads(), tso, uso });
    await this.#exchange({ tun: this.#keep(fd) });
    this.#release(this.#device);
    this.#device = fd;
  }

  /**
   * Replaces the socket by one at another underlay address of this host. The device and all connections
   * through it stay.
   * @throws WeftError as `start` does, when the address is not available; nothing has changed then
   */
  async rebind(address: string): Promise<void> {
    if (address === this.#address) return;
    const wire = this.#keep(openUdp(address, this.#options.port, { isHeld: true }));
    if (this.#offloads.gro) gather(wire);
    await this.#exchange({ udp: wire });
    this.#release(this.#wire);
    this.#wire = wire;
    this.#address = address;
    this.#log.info({ underlay: `${address}:${this.#options.port}` }, "dataplane moved");
  }

  // ---- the data path of the mesh

  readonly carriesEcn = true;

  send(to: string, bytes: Uint8Array): void {
    sendDatagram(this.#wire, to, bytes);
  }

  receive(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  takeActive(): string[] {
    return this.#publisher.active();
  }

  get mtu(): { least: number; most: number } {
    return { least: LEAST_MTU[parseAddress(this.#address).family], most: this.#mtu };
  }

  /** Sets the largest packet of the device in the core, in bytes; the device's own MTU is set elsewhere. */
  resize(mtu: number): void {
    this.#mtu = mtu;
    this.#resized();
  }

  onMtuChange(listener: () => void): void {
    this.#resized = listener;
  }

  onMtuHint(listener: (name: string) => void): void {
    this.#hinted = listener;
  }

  takeMtuHint(name: string): number | undefined {
    return this.#publisher.takeHint(name);
  }

  // ---- parts

  /** Tries each offload on this host. One that does not work is logged once and not used. */
  #tryGso(wire: number): Pick<Offloads, "gso" | "gro"> {
    const { address, offloads } = this.#options;
    if (!offloads.gso && !offloads.gro) return { gso: false, gro: false };
    const trial = tryGso(address);
    if (offloads.gso && !trial.gso) this.#log.warn("UDP_SEGMENT does not work here: gso is off");
    if (offloads.gro && !trial.gro) this.#log.warn("UDP_GRO does not work here: gro is off");
    return { gso: offloads.gso && trial.gso, gro: offloads.gro && trial.gro && gather(wire) };
  }

  #use(offloads: Offloads): void {
    const { view, layout } = this.#core;
    const { tso, uso, gso } = offloads;
    const bits =
      (gso ? layout.CAN_GSO : 0) |
      (tso ? layout.CAN_COALESCE_TCP : 0) |
      (uso ? layout.CAN_COALESCE_UDP : 0);
    view.setUint32(layout.OFFLOADS, bits, true);
    this.#offloads = offloads;
    const missing = (["tso", "uso"] as const).filter(
      (name) => this.#options.offloads[name] && !offloads[name],
    );
    if (missing.length > 0)
      this.#log.warn(`the device has no ${missing.join(", ")} on this kernel`);
  }

  async #work(descriptors: Pick<LoopWorkerData, "tun" | "udp" | "wake">): Promise<void> {
    const { bytes, view, layout, module, memory } = this.#core;
    view.setBigUint64(layout.HOST_BASE, BigInt(hostAddress(bytes)), true);
    // At exit a process waits for its workers, and this one blocks in the kernel.
    process.on("exit", this.#onExit);
    const busyPoll = this.#options.busyPoll / 1000;
    const notified = this.#notified;
    const workerData: LoopWorkerData = { module, memory, busyPoll, notified, ...descriptors };
    const worker = new Worker(new URL("./loop-worker.js", import.meta.url), { workerData });
    this.#worker = worker;
    this.#ended = new Promise((resolve) => worker.once("exit", () => resolve()));
    await once(worker, "message");
    worker.on("message", (report: Report) => this.#onReport(report));
    worker.on("error", (cause) => this.emit("error", stopped(cause)));
  }

  /** Resolves when the worker uses this descriptor, or has ended. */
  async #exchange(command: Command): Promise<void> {
    const exchanged = new Promise<void>((resolve) => this.#exchanges.push(resolve));
    this.#command(command);
    await Promise.race([exchanged, this.#ended]);
  }

  #onReport(report: Report): void {
    if (report === "exchanged") this.#exchanges.shift()?.();
    else if (report === "device-removed") this.emit("removed");
    else if (report === "control") this.#deliverControl();
    else if (report === "ready") return;
    else if ("adopted" in report) this.#adoptions.shift()?.(report.adopted);
    else this.#log.warn(report.warning);
  }

  #deliverControl(): void {
    // Cleared first, so that a datagram from now on causes a new report.
    Atomics.store(this.#notified, 0, 0);
    for (const { from, bytes, length, at } of takeControl(this.#core)) {
      this.#receiver(from, bytes, length, this.clock - at);
    }
    for (const name of this.#publisher.hinted()) this.#hinted(name);
  }

  /** Ends the connections whose translation is gone: both ends of those of TCP get a RST. */
  resetGone(): void {
    this.#command("reset-gone");
  }

  #command(command: Command): void {
    this.#worker?.postMessage(command);
    if (this.#wake >= 0) eventfdWrite(this.#wake, 1);
  }

  readonly #onExit = (): void => this.#command("stop");

  #keep(fd: number): number {
    this.#descriptors.push(fd);
    return fd;
  }

  /** Closes the descriptor unless `stop` has already closed it. */
  #release(fd: number): void {
    const at = this.#descriptors.indexOf(fd);
    if (at < 0) return;
    this.#descriptors.splice(at, 1);
    close(fd);
  }
}

const stopped = (cause: Error): WeftError =>
  new WeftError(
    "DATAPLANE_STOPPED",
    `the dataplane worker stopped: ${cause.message}`,
    "start the agent again, and please report this",
  );
