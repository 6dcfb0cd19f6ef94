/**
 * Connections inside one process, for tests and the demo: same order, same bytes, no socket.
 * Everything arrives by a timer of the clock, so a test controls the time.
 */
import { createHash } from "node:crypto";
import { WeftError } from "../error.js";
import type { Clock } from "../time/clock.js";
import {
  type Connection,
  type ConnectionEvents,
  hostPort,
  type ListenAddress,
  type Transport,
} from "./transport.js";

/** The network between in-memory transports. */
export class MemoryNetwork {
  readonly listeners = new Map<string, MemoryTransport>();
  /** Whether one host can open a connection to another. */
  mayDial: (from: string, to: string) => boolean = () => true;
  /** Whether packets get from one host to another. Open connections stay open, but silent. */
  carries: (from: string, to: string) => boolean = () => true;
  #connections = 0;

  constructor(
    readonly clock: Clock,
    /** One-way delay in milliseconds. */
    readonly delay = 1,
  ) {}

  /** A transport for the host with this address. */
  host(address: string): MemoryTransport {
    return new MemoryTransport(this, address);
  }

  binding(): Uint8Array {
    return createHash("sha256")
      .update(`connection ${++this.#connections}`)
      .digest();
  }
}

export class MemoryTransport implements Transport {
  readonly #ends = new Set<MemoryEnd>();
  #listening: string | undefined;
  #accept: ((connection: Connection) => void) | undefined;

  constructor(
    readonly network: MemoryNetwork,
    public host: string,
  ) {}

  async listen(at: ListenAddress, accept: (connection: Connection) => void): Promise<number> {
    const host = at.address || this.host;
    const { port } = at;
    const address = hostPort(host, port);
    if (this.network.listeners.has(address)) {
      throw new WeftError("MESH_PORT", `${address} is in use`, "choose another --mesh-port");
    }
    this.#stopListening();
    this.host = host;
    this.#accept = accept;
    this.#listening = address;
    this.network.listeners.set(address, this);
    return port;
  }

  dial(address: string, done: (result: Connection | WeftError) => void): void {
    const { clock, delay } = this.network;
    clock.after(2 * delay, () => {
      const other = this.network.listeners.get(address);
      if (!other) return done(new WeftError("UNREACHABLE", "nothing listens there", "start it"));
      const { mayDial, carries } = this.network;
      if (!mayDial(this.host, other.host) || !carries(this.host, other.host)) {
        return done(new WeftError("UNREACHABLE", "no answer", "repair the network"));
      }
      const binding = this.network.binding();
      const near = new MemoryEnd(this.network, this.host, address, binding, this.#ends);
      const far = new MemoryEnd(this.network, other.host, this.host, binding, other.#ends);
      near.other = far;
      far.other = near;
      other.#accept?.(far);
      done(near);
    });
  }

  async close(): Promise<void> {
    this.#stopListening();
    for (const end of [...this.#ends]) end.close();
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#ends.size;
  }

  #stopListening(): void {
    if (this.#listening !== undefined) this.network.listeners.delete(this.#listening);
  }
}

class MemoryEnd implements Connection {
  other!: MemoryEnd;
  #events: ConnectionEvents | undefined;
  #closed = false;

  constructor(
    readonly network: MemoryNetwork,
    readonly host: string,
    readonly remote: string,
    readonly channelBinding: Uint8Array,
    readonly all: Set<MemoryEnd>,
  ) {
    all.add(this);
  }

  open(events: ConnectionEvents): void {
    this.#events = events;
  }

  /** The network holds all bytes in flight. */
  readonly queued = 0;

  send(text: string): void {
    if (!this.#closed) this.#toOther(() => this.other.#arrived(text));
  }

  close(): void {
    if (this.#closed) return;
    this.#end();
    this.#toOther(() => this.other.#end());
  }

  abort(): void {
    this.close();
  }

  #arrived(text: string): void {
    if (!this.#closed) this.#events?.message(text);
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.all.delete(this);
    this.#events?.closed();
  }

  #toOther(act: () => void): void {
    const { clock, delay, carries } = this.network;
    if (carries(this.host, this.other.host)) clock.after(delay, act);
  }
}
