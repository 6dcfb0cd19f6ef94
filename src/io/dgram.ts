/** Node's own UDP socket as the underlay: portable, no FFI, one system call a datagram. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import {
  type Address,
  formatAddress,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
} from "../address.js";
import { bindError } from "./bind.js";
import type { Underlay } from "./underlay.js";

/** Bytes that may wait for the kernel to take them; a datagram beyond is lost. */
export const MAX_SEND_QUEUE = 4 * 1024 * 1024;

export class DgramUnderlay implements Underlay {
  lost = 0;
  /** Where peers reach this socket. */
  readonly endpoint: string;
  readonly #socket: Socket;
  #closing = false;

  /**
   * Binds a socket; port 0 takes a free one, which `endpoint` then tells.
   * Rejects with a WeftError: UDP_IN_USE, UDP_ADDRESS, UDP_PERMISSION.
   */
  static async open(address: string, port: number): Promise<DgramUnderlay> {
    const socket = createSocket(parseAddress(address).family === 4 ? "udp4" : "udp6");
    try {
      socket.bind({ address, port, exclusive: true });
      await once(socket, "listening");
    } catch (error) {
      socket.close();
      const { errno = 0 } = error as NodeJS.ErrnoException;
      throw bindError(-errno, address, port);
    }
    return new DgramUnderlay(socket);
  }

  private constructor(socket: Socket) {
    const { address, port } = socket.address();
    this.endpoint = formatEndpoint({ address: parseAddress(address), port });
    this.#socket = socket;
  }

  onDatagram(listener: (datagram: Uint8Array, from: string) => void): void {
    this.#socket.on("message", (datagram, { address, port }) => {
      // Port 0 is reserved (RFC 768): whoever forges it has no endpoint to be known by.
      if (port === 0) this.lost++;
      else listener(datagram, formatEndpoint({ address: sender(address), port }));
    });
  }

  onEnd(listener: (error?: Error) => void): void {
    let cause: Error | undefined;
    this.#socket.on("error", (error) => {
      cause = error;
      this.#close();
    });
    this.#socket.once("close", () => listener(cause));
  }

  /** Throws on a `to` that is no endpoint: that is the caller's mistake, not the network's. */
  send(to: string, datagram: Uint8Array): void {
    const { address, port } = parseEndpoint(to);
    if (this.#closing || this.#socket.getSendQueueSize() > MAX_SEND_QUEUE) {
      this.lost++;
      return;
    }
    this.#socket.send(datagram, port, formatAddress(address), (error) => {
      if (error !== null) this.lost++;
    });
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    const closed = once(this.#socket, "close");
    this.#close();
    await closed;
  }

  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.close();
  }
}

/** A link-local address comes with its interface: `fe80::1%eth0`. */
const sender = (address: string): Address => parseAddress(address.replace(/%.*$/, ""));
