/**
 * A device without a kernel: two ends in one process. One is given to the dataplane, the other acts
 * as the host. It needs no root.
 */
import type { Device } from "./device.js";

const MAX_PACKET = 65535;

/** Makes both ends. Each receives the packets of the other, in order. */
export function memoryPair(): [MemoryDevice, MemoryDevice] {
  const a = new MemoryDevice();
  const b = new MemoryDevice();
  a.connect(b);
  b.connect(a);
  return [a, b];
}

export class MemoryDevice implements Device {
  lost = 0;
  #other: MemoryDevice | undefined;
  #packet: ((packet: Uint8Array) => void) | undefined;
  #end: (() => void) | undefined;

  /** Connects this end to another in one direction: the other receives its packets. */
  connect(other: MemoryDevice): void {
    this.#other = other;
  }

  onPacket(listener: (packet: Uint8Array) => void): void {
    this.#packet = listener;
  }

  onEnd(listener: (error?: Error) => void): void {
    this.#end = listener;
  }

  /** The other end receives a copy later, so two ends that answer each other do not recurse. */
  send(packet: Uint8Array): void {
    if (packet.length > MAX_PACKET) {
      throw new RangeError(`an IP packet of ${packet.length} bytes cannot be`);
    }
    const other = this.#other;
    if (other === undefined) {
      this.lost++;
      return;
    }
    const copy = packet.slice();
    setImmediate(() => other.#packet?.(copy));
  }

  /** Ends the pair: the other end is notified, and its packets are lost from then on. */
  close(): void {
    const other = this.#other;
    if (other === undefined) return;
    this.#other = undefined;
    other.#other = undefined;
    setImmediate(() => other.#end?.());
  }
}
