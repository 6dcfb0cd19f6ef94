/**
 * The underlay: machines with addresses, delays and losses of segments, and cuts between machines.
 * connection.ts simulates TCP on top of it.
 */
import { createHash } from "node:crypto";
import { Datagrams } from "./datagrams.js";
import type { Random } from "./random.js";
import type { Schedule } from "./schedule.js";
import type { SimTransport } from "./transport.js";

/** One-way delay between the nearest and between the farthest two machines, in milliseconds. */
export const NEAREST = 1;
export const FARTHEST = 25;
/** Random part of a delay, from 0 to this share of the fixed part. */
const JITTER = 0.3;

export interface Machine {
  /** From 0, in order of creation. Numbers of replaced machines are not used again. */
  readonly number: number;
  readonly address: string;
  isOn: boolean;
}

/** Whether segments from one machine to another are dropped. */
export type Cut = (from: Machine, to: Machine) => boolean;

export interface TrafficListener {
  /** A datagram was sent, and may be lost. */
  datagram(from: Machine, to: Machine | undefined, bytes: number): void;
  sent(from: Machine, messageBytes: number, wireBytes: number): void;
  delivered(from: Machine, to: Machine, text: string): void;
}

export interface NetworkOptions {
  /** The initial probability that a segment is lost. */
  readonly loss: number;
  /** The probability that a message arrives twice, which TCP never does but the mesh must tolerate. */
  readonly duplicates: number;
}

export class SimNetwork {
  /** Listening transports by `ADDRESS:PORT`. */
  readonly listeners = new Map<string, SimTransport>();
  readonly #machines = new Map<string, Machine>();
  readonly #cuts = new Set<Cut>();
  /** The time at which the last cut was healed, by the schedule. */
  #wholeSince = 0;
  readonly datagrams: Datagrams;
  /** The probability that a segment is lost. */
  loss: number;
  #bindings = 0;

  constructor(
    readonly schedule: Schedule,
    readonly random: Random,
    readonly options: NetworkOptions,
    readonly traffic: TrafficListener,
  ) {
    this.loss = options.loss;
    this.datagrams = new Datagrams({
      now: () => schedule.now,
      after: (ms, act) => schedule.later(ms, act),
      crossing: (from, to, bytes) => this.#crossing(from, to, bytes),
    });
  }

  /** A new machine, with an address of its own. */
  machine(): Machine {
    const number = this.#machines.size;
    const address = `198.${18 + (number >> 16)}.${(number >> 8) & 0xff}.${number & 0xff}`;
    const machine = { number, address, isOn: true };
    this.#machines.set(address, machine);
    return machine;
  }

  get size(): number {
    return this.#machines.size;
  }

  machineAt(address: string): Machine | undefined {
    return this.#machines.get(address);
  }

  /** The TLS exporter value of a new connection, which only its two ends know. */
  binding(): Uint8Array {
    return createHash("sha256")
      .update(`connection ${++this.#bindings}`)
      .digest();
  }

  /** Adds a cut; returns a function that heals it. */
  cut(cut: Cut): () => void {
    this.#cuts.add(cut);
    return () => {
      this.#cuts.delete(cut);
      this.#wholeSince = this.schedule.now;
    };
  }

  /** The time since which every machine can reach every other; infinite while there is a cut. */
  get wholeSince(): number {
    return this.#cuts.size === 0 ? this.#wholeSince : Number.POSITIVE_INFINITY;
  }

  /** Whether a segment that is sent now arrives. */
  carries(from: Machine, to: Machine): boolean {
    if (!to.isOn) return false;
    if (this.#cuts.size > 0) for (const cut of this.#cuts) if (cut(from, to)) return false;
    return !this.random.chance(this.loss);
  }

  /** Milliseconds until a datagram that is sent now arrives; undefined when it is lost, as a segment may be. */
  #crossing(from: string, to: string, bytes: number): number | undefined {
    const [near, far] = [this.#machines.get(from)!, this.#machines.get(to)];
    this.traffic.datagram(near, far, bytes);
    return far && this.carries(near, far) ? this.delay(near, far) : undefined;
  }

  /** Milliseconds until a segment that is sent now arrives. */
  delay(a: Machine, b: Machine): number {
    return oneWay(a, b) * (1 + JITTER * this.random.next());
  }
}

/** The fixed part of the delay between two machines in milliseconds, the same in both directions. */
export function oneWay(a: Machine, b: Machine): number {
  const low = Math.min(a.number, b.number);
  const high = Math.max(a.number, b.number);
  const mixed = Math.imul(Math.imul(low + 1, 0x9e3779b1) ^ (high + 1), 0x85ebca6b) >>> 0;
  return NEAREST + ((FARTHEST - NEAREST) * mixed) / 2 ** 32;
}
