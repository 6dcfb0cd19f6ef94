/**
 * The portable path: pumps any device and any underlay through a dataplane in this
 * process. No root, no FFI; slower than the kernel path, and the same core.
 */
import { EventEmitter } from "node:events";
import type { Dataplane, Outcome } from "../dataplane.js";
import type { Device } from "./device.js";
import type { Underlay } from "./underlay.js";

export interface PortableParts {
  readonly dataplane: Pick<Dataplane, "fromDevice" | "fromWire" | "advance">;
  readonly device: Device;
  readonly underlay: Underlay;
}

/**
 * Moves packets from `start` to `stop`. Emits `error` when an end fails by itself,
 * and `end` when one closes; nothing moves then, and `stop` is still due.
 */
export class PortableIo extends EventEmitter<{ error: [Error]; end: [] }> {
  readonly #parts: PortableParts;
  #running = false;
  /** Milliseconds, whole ones: how far the dataplane's own time has come. */
  #clock = 0;

  constructor(parts: PortableParts) {
    super();
    this.#parts = parts;
  }

  start(): void {
    const { dataplane, device, underlay } = this.#parts;
    this.#running = true;
    this.#clock = Math.floor(performance.now());
    device.onPacket((packet) => this.#pump(() => dataplane.fromDevice(packet)));
    underlay.onDatagram((datagram, from) => this.#pump(() => dataplane.fromWire(datagram, from)));
    device.onEnd((error) => this.#ended(error));
    underlay.onEnd((error) => this.#ended(error));
  }

  /** Closes both ends. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#parts.device.close();
    await this.#parts.underlay.close();
  }

  #pump(decide: () => Outcome): void {
    if (!this.#running) return;
    this.#advance();
    const { datagrams, packets } = decide();
    for (const { to, bytes } of datagrams) this.#parts.underlay.send(to, bytes);
    for (const packet of packets) this.#parts.device.send(packet);
  }

  #advance(): void {
    const now = Math.floor(performance.now());
    this.#parts.dataplane.advance(now - this.#clock);
    this.#clock = now;
  }

  #ended(error?: Error): void {
    if (!this.#running) return;
    this.#running = false;
    if (error) this.emit("error", error);
    else this.emit("end");
  }
}
