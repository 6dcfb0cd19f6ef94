/**
 * A connection, as TLS over TCP gives it: an ordered, reliable stream each way.
 * So a lost segment is never a lost message. It is sent again, and whatever
 * was said after it waits; when that takes too long, the connection breaks.
 */
import type { Connection, ConnectionEvents } from "../session/transport.js";
import { type Machine, oneWay, type SimNetwork } from "./network.js";
import type { Process } from "./process.js";

/** Bytes of one message in one TCP segment. */
const SEGMENT = 1400;
/** Around a message: WebSocket header 8, TLS record 22. Around a segment: Ethernet, IP, TCP 66. */
const FRAMING = 30;
const HEADERS = 66;
/** Linux: the least wait before sending again, doubled each time, up to the most; the tries (tcp_retries2). */
export const RETRANSMIT = { least: 200, most: 120_000, tries: 15 };

/** Milliseconds to wait before a segment is sent again, after so many failures. */
export const backoff = (first: number, failures: number): number =>
  Math.min(RETRANSMIT.most, first * 2 ** failures);

/** What goes out together. */
interface Item {
  bytes: number;
  /** Segments that have not got through. */
  left: number;
  readonly arrived: (() => void)[];
}

/** One direction. */
export class Stream {
  readonly #network: SimNetwork;
  readonly #from: Machine;
  readonly #to: Machine;
  /** Called when the sender's end has tried in vain for too long. */
  readonly #gaveUp: () => void;
  readonly #queue: Item[] = [];
  #waiting = false;
  #failures = 0;
  /** When the last message arrives that is on its way. */
  #lastArrival = 0;
  #cancel: (() => void) | undefined;

  constructor(network: SimNetwork, from: Machine, to: Machine, gaveUp: () => void) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#gaveUp = gaveUp;
  }

  /** Bytes that have not arrived yet. */
  get queued(): number {
    return this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  send(length: number, arrived: () => void): void {
    const bytes = length + FRAMING;
    const last = this.#queue.length > 1 ? this.#queue.at(-1) : undefined;
    if (last && last.bytes + bytes <= SEGMENT) {
      // What waits behind a lost segment is a stream of bytes: it shares a segment.
      last.bytes += bytes;
      last.arrived.push(arrived);
    } else {
      this.#queue.push({ bytes, left: Math.ceil(bytes / SEGMENT), arrived: [arrived] });
    }
    if (!this.#waiting) this.#flow();
  }

  /** The machine lost its power: what was not sent never will be. */
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

  /** Sends each segment that has not got through; false when one must be sent again. */
  #transmit(item: Item): boolean {
    const sent = item.left;
    for (let i = 0; i < sent; i++) if (this.#network.carries(this.#from, this.#to)) item.left--;
    if (item.left === 0) {
      this.#failures = 0;
      return true;
    }
    const roundTrip = 2 * oneWay(this.#from, this.#to);
    const timeout = Math.max(RETRANSMIT.least, 2 * roundTrip);
    // What got through behind a lost segment tells the sender in one round trip (RFC 6675).
    const isTold = item.left < sent;
    this.#failures = isTold ? 0 : this.#failures + 1;
    if (this.#failures > RETRANSMIT.tries) {
      this.drop();
      this.#gaveUp();
      return false;
    }
    this.#waiting = true;
    const wait = isTold ? roundTrip : backoff(timeout, this.#failures - 1);
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

  /** The other end hears that this one is closed, after all that was sent before. */
  hangUp(): void {
    this.abandon();
    this.#stream.send(0, () => this.other.process.act(() => this.other.#end()));
  }

  /** The process is gone; nobody hears of it from here. */
  abandon(): void {
    this.#isClosed = true;
    this.all.delete(this);
  }

  /** The machine lost its power. */
  vanish(): void {
    this.abandon();
    this.#stream.drop();
  }

  /** Says something to the other machine in order with the messages, but not to its process. */
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
    // `hello` opens a session and may come once only, as the first thing said.
    const twice = random.chance(options.duplicates) && !text.startsWith('{"type":"hello"');
    this.process.act(() => {
      if (this.#isClosed) return;
      traffic.delivered(this.far, this.machine, text);
      this.#events?.message(text);
      if (twice && !this.#isClosed) this.#events?.message(text);
    });
  }

  /** A machine that knows nothing of a connection says so (RST), once; it may be lost. */
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
