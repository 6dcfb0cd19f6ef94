/**
 * An object-mode stream.Duplex as the device: each chunk is one IP packet. The `Tun` of node-tuntap2
 * is such a stream.
 */
import type { Duplex } from "node:stream";
import type { Device } from "./device.js";

export interface DuplexOptions {
  /**
   * Whether four bytes precede each packet, as on a Linux TUN device without IFF_NO_PI: flags (2),
   * protocol (2). They are removed on input and added on output.
   */
  readonly packetInformation?: boolean;
}

/** Most packets queued in a stream with a slow reader; the next one is lost. */
export const MAX_QUEUED = 1024;

/** Most bytes of an IP packet. A longer chunk is not one. */
const MAX_PACKET = 65535;

const INFORMATION_SIZE = 4;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;

export class DuplexDevice implements Device {
  lost = 0;
  readonly #stream: Duplex;
  readonly #informed: boolean;

  constructor(stream: Duplex, options: DuplexOptions = {}) {
    this.#stream = stream;
    this.#informed = options.packetInformation ?? false;
  }

  onPacket(listener: (packet: Uint8Array) => void): void {
    const skip = this.#informed ? INFORMATION_SIZE : 0;
    this.#stream.on("data", (chunk: unknown) => {
      if (chunk instanceof Uint8Array && chunk.length <= skip + MAX_PACKET) {
        listener(chunk.subarray(skip));
      } else {
        this.#stream.destroy(new TypeError(NO_PACKET));
      }
    });
  }

  onEnd(listener: (error?: Error) => void): void {
    let cause: Error | undefined;
    this.#stream.once("error", (error) => {
      cause = error;
    });
    this.#stream.once("close", () => listener(cause));
  }

  send(packet: Uint8Array): void {
    const { writable, writableLength } = this.#stream;
    if (!writable || writableLength >= MAX_QUEUED) this.lost++;
    else this.#stream.write(this.#informed ? inform(packet) : packet);
  }

  close(): void {
    this.#stream.destroy();
  }
}

const NO_PACKET =
  "a packet device gave a chunk that is no IP packet: is it a stream of text, or of bytes without bounds?";

function inform(packet: Uint8Array): Uint8Array {
  const chunk = new Uint8Array(INFORMATION_SIZE + packet.length);
  const version = (packet[0] ?? 0) >> 4;
  new DataView(chunk.buffer).setUint16(2, version === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
  chunk.set(packet, INFORMATION_SIZE);
  return chunk;
}
