/**
 * A device with no kernel behind it: two ends in one process. One is given to the
 * dataplane, the other plays the host. No root needed.
 */
import type { Device } from "./device.js";

const MAX_PACKET = 65535;

/** Makes both ends; what one sends, the other hears, in order. */
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

  /** Joins this end to another, one way: what this one sends, the other hears. */
  connect(other: MemoryDevice): void {
    this.#other = other;
  }

  onPacket(listener: (packet: Uint8Array) => void): void {
    this.#packet = listener;
  }

  onEnd(listener: (error?: Error) => void): void {
    this.#end = listener;
  }

  /** The other end hears a copy, later: two ends that answer each other never recurse. */
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

  /** Ends the pair: the other end hears of it and from now on sends in vain. */
  close(): void {
    const other = this.#other;
    if (other === undefined) return;
    this.#other = undefined;
    other.#other = undefined;
    setImmediate(() => other.#end?.());
  }
}
