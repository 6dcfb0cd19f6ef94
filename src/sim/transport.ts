/** The transport of one process, which listens and dials like transport-ws, in simulated time. */
import { WeftError } from "../error.js";
import {
  type Connection,
  hostPort,
  type ListenAddress,
  type Transport,
} from "../session/transport.js";
import { backoff, ConnectionEnd, RETRANSMIT } from "./connection.js";
import type { Machine, SimNetwork } from "./network.js";
import type { Process } from "./process.js";

/** Milliseconds until a dial fails, as in transport-ws. */
const HANDSHAKE_WITHIN = 5_000;
/** Flights before the answer: SYN, SYN+ACK, ClientHello, ServerHello, and TLS Finished with the HTTP upgrade. */
const FLIGHTS = 5;
/** Milliseconds of Linux's first wait for the answer to a SYN. */
const SYN_TIMEOUT = 1_000;

export class SimTransport implements Transport {
  readonly #network: SimNetwork;
  readonly #machine: Machine;
  readonly #process: Process;
  readonly #ends = new Set<ConnectionEnd>();
  #listening: string | undefined;
  #accept: ((connection: Connection) => void) | undefined;

  constructor(network: SimNetwork, machine: Machine, process: Process) {
    this.#network = network;
    this.#machine = machine;
    this.#process = process;
  }

  async listen({ port }: ListenAddress, accept: (connection: Connection) => void): Promise<number> {
    this.#deaf();
    this.#accept = accept;
    this.#listening = hostPort(this.#machine.address, port);
    this.#network.listeners.set(this.#listening, this);
    return port;
  }

  dial(address: string, done: (result: Connection | WeftError) => void): void {
    let isOver = false;
    const over = (result: Connection | WeftError) => {
      if (isOver) return;
      isOver = true;
      cancel();
      this.#process.act(() => done(result));
    };
    const cancel = this.#process.after(HANDSHAKE_WITHIN, () => over(NO_ANSWER));
    const host = address.slice(0, address.lastIndexOf(":"));
    const far = this.#network.machineAt(host);
    if (far) this.#flight(far, address, 0, 0, over, () => isOver);
  }

  /** Closes every connection, after the data sent before. */
  async close(): Promise<void> {
    this.#deaf();
    for (const end of [...this.#ends]) end.close();
  }

  /** Ends as by SIGKILL: the kernel closes the connections of the process. */
  killed(): void {
    this.#deaf();
    for (const end of [...this.#ends]) end.hangUp();
  }

  /** Ends as by a power failure: the other ends are not notified. */
  vanished(): void {
    this.#deaf();
    for (const end of [...this.#ends]) end.vanish();
  }

  #deaf(): void {
    if (this.#listening) this.#network.listeners.delete(this.#listening);
  }

  #flight(
    far: Machine,
    address: string,
    count: number,
    failures: number,
    over: (result: Connection | WeftError) => void,
    isOver: () => boolean,
  ): void {
    if (isOver()) return;
    const { schedule } = this.#network;
    const [from, to] = count % 2 === 0 ? [this.#machine, far] : [far, this.#machine];
    if (!this.#network.carries(from, to)) {
      const wait = backoff(count < 2 ? SYN_TIMEOUT : RETRANSMIT.least, failures);
      schedule.later(wait, () => this.#flight(far, address, count, failures + 1, over, isOver));
      return;
    }
    schedule.later(this.#network.delay(from, to), () => {
      const listener = this.#network.listeners.get(address);
      if (to === far && !listener) return this.#refused(far, over);
      if (count + 1 < FLIGHTS) return this.#flight(far, address, count + 1, 0, over, isOver);
      if (!isOver()) this.#connected(far, listener!, over, isOver);
    });
  }

  /** Answers a dial with a reset (RST), since nothing listens there. */
  #refused(far: Machine, over: (result: WeftError) => void): void {
    if (!far.isOn || !this.#network.carries(far, this.#machine)) return;
    const delay = this.#network.delay(far, this.#machine);
    this.#network.schedule.later(delay, () => over(REFUSED));
  }

  #connected(
    far: Machine,
    listener: SimTransport,
    over: (result: Connection | WeftError) => void,
    isOver: () => boolean,
  ): void {
    const binding = this.#network.binding();
    const near = new ConnectionEnd(
      this.#network,
      this.#machine,
      far,
      this.#process,
      binding,
      this.#ends,
    );
    const there = new ConnectionEnd(
      this.#network,
      far,
      this.#machine,
      listener.#process,
      binding,
      listener.#ends,
    );
    near.other = there;
    there.other = near;
    there.signal(() => (isOver() ? near.hangUp() : over(near)));
    listener.#process.act(() => listener.#accept?.(there));
  }
}

const NO_ANSWER = new WeftError("UNREACHABLE", "it does not answer", "see that it runs");
const REFUSED = new WeftError("UNREACHABLE", "nothing listens there", "see that it runs");
