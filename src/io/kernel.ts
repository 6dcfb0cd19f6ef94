/**
 * The kernel path: a TUN device, a UDP socket, and the worker between them.
 *
 * Both ends are opened here, on the main thread, so that what is wrong with them is
 * known before anything else is touched.
 */
import { EventEmitter, once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import type { Core } from "../core/instance.js";
import { WeftError } from "../error.js";
import { check, close, eventfd, eventfdWrite, hostAddress } from "./libc.js";
import type { LoopParts } from "./loop.js";
import { openTun } from "./tun.js";
import { openUdp } from "./udp.js";

export interface KernelOptions {
  /** Name of the device to make. */
  readonly tun: string;
  /** Address and UDP port of this node on the underlay. */
  readonly address: string;
  readonly port: number;
}

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/**
 * Moves packets from `start` to `stop`. The device exists from the moment `start`
 * settles and vanishes with `stop`, or with the process.
 *
 * Emits `error` (WeftError DATAPLANE_STOPPED) when the worker ends by itself: the
 * device was removed, or the core trapped. Nothing moves then; `stop` is still due.
 */
export class KernelIo extends EventEmitter<{ error: [WeftError] }> {
  readonly #core: Core;
  readonly #options: KernelOptions;
  readonly #log: Logger;
  readonly #descriptors: number[] = [];
  #ended: Promise<void> | undefined;
  #wake = -1;

  constructor(core: Core, options: KernelOptions, log: Logger) {
    super();
    this.#core = core;
    this.#options = options;
    this.#log = log;
  }

  async start(): Promise<void> {
    const { tun, address, port } = this.#options;
    try {
      const device = this.#keep(openTun(tun));
      const wire = this.#keep(openUdp(address, port));
      this.#wake = this.#keep(check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
      await this.#work({ tun: device, udp: wire, wake: this.#wake });
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#log.info({ device: tun, underlay: `${address}:${port}` }, "dataplane started");
  }

  async stop(): Promise<void> {
    this.#wakeWorker();
    await this.#ended;
    process.off("exit", this.#wakeWorker);
    for (const fd of this.#descriptors.splice(0)) close(fd);
    this.#wake = -1;
  }

  async #work(descriptors: Pick<LoopParts, "tun" | "udp" | "wake">): Promise<void> {
    const { bytes, view, layout, module, memory } = this.#core;
    view.setBigUint64(layout.HOST_BASE, BigInt(hostAddress(bytes)), true);
    // A process that exits waits for its workers, and this one blocks in the kernel.
    process.on("exit", this.#wakeWorker);
    const workerData: LoopParts = { module, memory, ...descriptors };
    const worker = new Worker(new URL("./loop.js", import.meta.url), { workerData });
    this.#ended = new Promise((resolve) => worker.once("exit", () => resolve()));
    await once(worker, "message");
    worker.on("error", (cause) => this.emit("error", stopped(cause)));
  }

  readonly #wakeWorker = (): void => {
    if (this.#wake >= 0) eventfdWrite(this.#wake, 1);
  };

  #keep(fd: number): number {
    this.#descriptors.push(fd);
    return fd;
  }
}

const stopped = (cause: Error): WeftError =>
  new WeftError(
    "DATAPLANE_STOPPED",
    `the dataplane worker stopped: ${cause.message}`,
    "start the agent again; if the device was not removed by hand, please report this",
  );
