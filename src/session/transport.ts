import type { WeftError } from "../error.js";

/** A protected, ordered connection to another node that knows the cluster secret. */
export interface Connection {
  /** Address of the other end, for people. */
  readonly remote: string;
  /** A value known to the two ends of this connection and to nobody else. */
  readonly channelBinding: Uint8Array;
  /** Called once, at once. `closed` comes last, also after our own `close`. */
  open(events: ConnectionEvents): void;
  send(text: string): void;
  /** Bytes given to `send` that the kernel has not taken, including `MESSAGE_OVERHEAD` for each message. */
  readonly queued: number;
  /** Ends it once its queue is sent, or `CLOSE_TIMEOUT` milliseconds later. */
  close(): void;
  /** Ends it at once. */
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
   * Answers with the port, which differs from `port` when that is 0. Rejects with a WeftError.
   * Called again it moves: it listens there first, and then no longer at the address before.
   */
  listen(at: ListenAddress, accept: (connection: Connection) => void): Promise<number>;
  /** `address` is `HOST:PORT` or `[IPV6]:PORT`. Calls `done` once, with a connection or with why there is none. */
  dial(address: string, done: (result: Connection | WeftError) => void): void;
  /** Stops listening and ends every connection, after what was sent is out. */
  close(): Promise<void>;
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export const hostPort = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}
