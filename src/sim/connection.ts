/**
 * A connection, like TLS over TCP: an ordered, reliable stream in each direction. A lost segment is
 * sent again, and later messages wait behind it; after too many attempts the connection breaks.
 */
import type { Connection, ConnectionEvents } from "../session/transport.js";
import { type Machine, oneWay, type SimNetwork } from "./network.js";
import type { Process } from "./process.js";

/** Payload bytes of a TCP segment. */
const SEGMENT = 1400;
/** Bytes around a message: WebSocket header 8, TLS record 22. Around a segment: Ethernet, IP and TCP 66. */
const FRAMING = 30;
const HEADERS = 66;
/** As in Linux: milliseconds before a retransmission, doubled each time up to `most`; attempts (tcp_retries2). */
export const RETRANSMIT = { least: 200, most: 120_000, tries: 15 };

/** Milliseconds to wait before a segment is sent again, after `failures` attempts. */
export const backoff = (first: number, failures: number): number =>
  Math.min(RETRANSMIT.most, first * 2 ** failures);

/** A message, or small messages that share a segment. */
interface Item {
  bytes: number;
  /** Segments that have not arrived. */
  left: number;
  readonly arrived: (() => void)[];
}

/** One direction of a connection. */
export class Stream {
  readonly #network: SimNetwork;
  readonly #from: Machine;
  readonly #to: Machine;
  /** Called when all attempts to send a segment have failed. */
  readonly #gaveUp: () => void;
  readonly #queue: Item[] = [];
  #waiting = false;
  #failures = 0;
  /** The time at which the last message under way arrives. */
  #lastArrival = 0;
  #cancel: (() => void) | undefined;

  constructor(network: SimNetwork, from: Machine, to: Machine, gaveUp: () => void) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#gaveUp = gaveUp;
  }

  /** Bytes that wait to be sent. */
  get queued(): number {
    return this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  send(length: number, arrived: () => void): void {
    const bytes = length + FRAMING;
    const last = this.#queue.length > 1 ? this.#queue.at(-1) : undefined;
    if (last && last.bytes + bytes <= SEGMENT) {
      // Messages that wait behind a lost segment are a stream of bytes, so small ones share a segment.
      last.bytes += bytes;
      last.arrived.push(arrived);
    } else {
      this.#queue.push({ bytes, left: Math.ceil(bytes / SEGMENT), arrived: [arrived] });
    }
    if (!this.#waiting) this.#flow();
  }

  /** Drops everything that waits, as a power failure does. */
  drop(): void {
    this.#queue.length = 0;
    this.#cancel?.();
  }

  #flow(): void {
    this.#waiting = false;
    for (let item = this.#queue[0]; item; item = this.#queue[0]) {
      if (!this.#transmit(item)) return;
      this.#queue.shift();
      const { schedule } = this.#network;
      const soonest = schedule.now + this.#network.delay(this.#from, this.#to);
      this.#lastArrival = Math.max(this.#lastArrival, soonest);
      for (const arrived of item.arrived) {
        schedule.later(this.#lastArrival - schedule.now, arrived);
      }
    }
  }

  /** Sends each segment that has not arrived; false when one must be sent again. */
  #transmit(item: Item): boolean {
    const sent = item.left;
    for (let i = 0; i < sent; i++) if (this.#network.carries(this.#from, this.#to)) item.left--;
    if (item.left === 0) {
      this.#failures = 0;
      return true;
    }
    const roundTrip = 2 * oneWay(this.#from, this.#to);
    const timeout = Math.max(RETRANSMIT.least, 2 * roundTrip);
    // Segments that arrive behind a lost one reveal the loss in one round trip (RFC 6675).
    const isRevealed = item.left < sent;
    this.#failures = isRevealed ? 0 : this.#failures + 1;
    if (this.#failures > RETRANSMIT.tries) {
      this.drop();
      this.#gaveUp();
      return false;
    }
    this.#waiting = true;
    const wait = isRevealed ? roundTrip : backoff(timeout, this.#failures - 1);
    this.#cancel = this.#network.schedule.after(wait, () => this.#flow());
    return false;
  }
}

/** One end of a connection, held by one process. */
export class ConnectionEnd implements Connection {
  other!: ConnectionEnd;
  #events: ConnectionEvents | undefined;
  #isClosed = false;
  readonly #stream: Stream;

  constructor(
    readonly network: SimNetwork,
    readonly machine: Machine,
    readonly far: Machine,
    readonly process: Process,
    readonly channelBinding: Uint8Array,
    readonly all: Set<ConnectionEnd>,
  ) {
    this.#stream = new Stream(network, machine, far, () => this.process.act(() => this.#end()));
    all.add(this);
  }

  get remote(): string {
    return this.far.address;
  }

  open(events: ConnectionEvents): void {
    this.#events = events;
  }

  send(text: string): void {
    if (this.#isClosed) return;
    const segments = Math.ceil((text.length + FRAMING) / SEGMENT);
    const wire = text.length + FRAMING + segments * HEADERS;
    this.network.traffic.sent(this.machine, text.length, wire);
    this.#stream.send(text.length, () => this.other.#arrived(text));
  }

  get queued(): number {
    return this.#stream.queued;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#end();
    this.hangUp();
  }

  abort(): void {
    if (this.#isClosed) return;
    this.#stream.drop();
    this.close();
  }

  /** Closes this end; the other end learns it after all data sent before. */
  hangUp(): void {
    this.abandon();
    this.#stream.send(0, () => this.other.process.act(() => this.other.#end()));
  }

  /** Closes this end without telling the other. */
  abandon(): void {
    this.#isClosed = true;
    this.all.delete(this);
  }

  /** Closes this end as a power failure does, and drops its unsent data. */
  vanish(): void {
    this.abandon();
    this.#stream.drop();
  }

  /** Sends a signal to the other machine, in order with the messages, but not to its process. */
  signal(arrived: () => void): void {
    this.#stream.send(0, arrived);
  }

  #arrived(text: string): void {
    const { traffic, random, options } = this.network;
    if (!this.machine.isOn) return;
    if (this.#isClosed) {
      this.#reset();
      return;
    }
    // `hello` opens a session and is never duplicated: it may only come first, and once.
    const twice = random.chance(options.duplicates) && !text.startsWith('{"type":"hello"');
    this.process.act(() => {
      if (this.#isClosed) return;
      traffic.delivered(this.far, this.machine, text);
      this.#events?.message(text);
      if (twice && !this.#isClosed) this.#events?.message(text);
    });
  }

  /** Answers data for an unknown connection with one reset (RST), which may be lost. */
  #reset(): void {
    if (!this.network.carries(this.machine, this.far)) return;
    this.network.schedule.later(this.network.delay(this.machine, this.far), () =>
      this.other.process.act(() => this.other.#end()),
    );
  }

  #end(): void {
    if (this.#isClosed) return;
    this.abandon();
    this.#events?.closed();
  }
}
