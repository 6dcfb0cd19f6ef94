/** Node's own UDP socket as the underlay: portable, without FFI, one system call a datagram. */
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

/** Most bytes that wait for the kernel; a datagram beyond them is lost. */
export const MAX_SEND_QUEUE = 4 * 1024 * 1024;

export class DgramUnderlay implements Underlay {
  lost = 0;
  /** The endpoint at which peers reach this socket. */
  readonly endpoint: string;
  readonly #socket: Socket;
  #closing = false;

  /**
   * Binds a socket. For port 0 the kernel chooses one, which `endpoint` then has.
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
      // Port 0 is reserved (RFC 768): a datagram from it has no endpoint to reply to.
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

  /** Throws if `to` is no endpoint, which is a mistake of the caller. */
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

/** A link-local address includes its interface: `fe80::1%eth0`. */
const sender = (address: string): Address => parseAddress(address.replace(/%.*$/, ""));
