import type { WeftError } from "../error.js";

/** An encrypted, ordered connection to a node that knows the cluster secret. */
export interface Connection {
  /** Address of the other end, for logs. */
  readonly remote: string;
  /** A secret value that only the two ends of this connection know. */
  readonly channelBinding: Uint8Array;
  /** Sets the listeners. Called once, right away. `closed` is the last event, also after `close`. */
  open(events: ConnectionEvents): void;
  send(text: string): void;
  /** Bytes given to `send` that the kernel has not taken, including `MESSAGE_OVERHEAD` for each message. */
  readonly queued: number;
  /** Closes once the queue is sent, or after CLOSE_TIMEOUT. */
  close(): void;
  /** Closes now and drops the queue. */
  abort(): void;
}

export interface ConnectionEvents {
  message(text: string): void;
  closed(): void;
}

/** In milliseconds. */
export const CLOSE_TIMEOUT = 5_000;

export interface Transport {
  /**
   * Resolves with the port, which differs from `port` when that is 0. Rejects with a WeftError.
   * Called again, it listens at the new address first and then leaves the old one.
   */
  listen(at: ListenAddress, accept: (connection: Connection) => void): Promise<number>;
  /** `address` is `HOST:PORT` or `[IPV6]:PORT`. Calls `done` once, with a connection or with an error. */
  dial(address: string, done: (result: Connection | WeftError) => void): void;
  /** Stops listening, and closes every connection once its queue is sent. */
  close(): Promise<void>;
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export const hostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}
