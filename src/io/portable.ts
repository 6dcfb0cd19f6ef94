/**
 * The portable path: moves packets between any device and any underlay through a dataplane in this
 * process. It has the same core, needs no root and no FFI, and is slower than the kernel path.
 */
import { EventEmitter } from "node:events";
import { LEAST_MTU } from "../compile/peers.js";
import type { Outcome } from "../core/packet-runner.js";
import type { Dataplane } from "../dataplane.js";
import { type DataPath, MAX_CONTROL_BYTES, type Receiver } from "../paths/datapath.js";
import type { Device } from "./device.js";
import type { Underlay } from "./underlay.js";

export interface PortableParts {
  readonly dataplane: Pick<Dataplane, "fromDevice" | "fromWire" | "advance" | "active" | "mtu">;
  readonly device: Device;
  readonly underlay: Underlay;
}

/**
 * Moves packets from `start` to `stop`. Emits `error` when an end fails by itself, and `end` when one
 * closes. No packets move then, and `stop` must still be called.
 */
export class PortableIo extends EventEmitter<{ error: [Error]; end: [] }> implements DataPath {
  readonly #parts: PortableParts;
  #running = false;
  /** Time of the dataplane, in whole milliseconds. */
  #clock = 0;
  #receiver: Receiver = () => {};

  constructor(parts: PortableParts) {
    super();
    this.#parts = parts;
  }

  start(): void {
    const { dataplane, device, underlay } = this.#parts;
    this.#running = true;
    this.#clock = Math.floor(performance.now());
    device.onPacket((packet) => this.#pump(() => dataplane.fromDevice(packet)));
    underlay.onDatagram((datagram, from) => {
      const outcome = this.#pump(() => dataplane.fromWire(datagram, from));
      if (outcome?.verdict !== "control") return;
      this.#receiver(from, datagram.subarray(0, MAX_CONTROL_BYTES), datagram.length, 0);
    });
    device.onEnd((error) => this.#ended(error));
    underlay.onEnd((error) => this.#ended(error));
  }

  /** Closes both ends. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#parts.device.close();
    await this.#parts.underlay.close();
  }

  // ---- the data path of the mesh

  /** Node's UDP socket neither reads nor writes the TOS of an outer header. */
  readonly carriesEcn = false;

  send(to: string, bytes: Uint8Array): void {
    this.#parts.underlay.send(to, bytes);
  }

  receive(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  /** Node's UDP socket does not report ICMP errors. */
  onMtuHint(): void {}

  takeMtuHint(): undefined {}

  /** The MTU is that of the dataplane and never changes. */
  onMtuChange(): void {}

  get mtu(): { least: number; most: number } {
    return { least: LEAST_MTU, most: this.#parts.dataplane.mtu };
  }

  takeActive(): string[] {
    return this.#parts.dataplane.active();
  }

  // ---- parts

  #pump(decide: () => Outcome): Outcome | undefined {
    if (!this.#running) return undefined;
    this.#advance();
    const outcome = decide();
    for (const { to, bytes } of outcome.datagrams) this.#parts.underlay.send(to, bytes);
    for (const packet of outcome.packets) this.#parts.device.send(packet);
    return outcome;
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
