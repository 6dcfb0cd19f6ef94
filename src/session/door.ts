/**
 * Admits connections to the mesh port before TLS: a handshake takes 0.2 ms of the main thread, a reset a
 * third of that. A stranger that connects again and again uses up its own places, not those of
 * others.
 *
 *   connection -> rate of its source -> place among those that wait -> TLS, upgrade -> known
 */
import { parseAddress } from "../address.js";
import { dropOldest } from "../oldest.js";
import { Budget } from "../time/budget.js";
import { Budgets } from "../time/budgets.js";
import type { Clock } from "../time/clock.js";

/** From a connection to an open WebSocket, in milliseconds. */
export const HANDSHAKE_WITHIN = 5_000;
/** Most connections that have not shown the secret: of all sources together, and of one. */
export const MAX_WAITING = 256;
export const MAX_WAITING_OF_ONE = 32;
/** Handshakes that one source may begin, not counting the successful ones. */
export const OF_ONE = { burst: 16, rate: 2 };
/**
 * Handshakes of all sources that have not shown the secret before; and of all sources over their
 * own rate.
 */
export const OF_NEW = { burst: 512, rate: 256 };
export const OF_HEAVY = { burst: 256, rate: 256 };
/** Most remembered sources that have shown the secret; beyond that, the oldest is forgotten. */
const MAX_KNOWN = 4096;

/** The part of `net.Socket` that is used here. */
export interface Caller {
  readonly remoteAddress?: string | undefined;
  once(event: "close", listener: () => void): unknown;
  resetAndDestroy(): unknown;
}

export interface Refusals {
  /** Over the rate: refused before TLS. */
  rate: number;
  /** Evicted for another of its own source, or of another source when there were too many. */
  crowded: number;
  /** Took too long. */
  late: number;
}

export class Door {
  readonly refused: Refusals = { rate: 0, crowded: 0, late: 0 };
  readonly #clock: Clock;
  /** Waiting connections by source, oldest first. */
  readonly #waiting = new Map<string, Set<Caller>>();
  #count = 0;
  /** Sources that have shown the secret. */
  readonly #known = new Map<string, true>();
  readonly #ofOne: Budgets;
  readonly #ofNew: Budget;
  readonly #ofHeavy: Budget;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#ofOne = new Budgets(clock, OF_ONE);
    this.#ofNew = new Budget(clock, OF_NEW.burst, OF_NEW.rate);
    this.#ofHeavy = new Budget(clock, OF_HEAVY.burst, OF_HEAVY.rate);
  }

  /** Number of waiting connections. */
  get waiting(): number {
    return this.#count;
  }

  /**
   * Lets a connection begin its handshake, or ends it.
   * @returns a function to call when it has shown the secret; nothing if it is refused
   */
  enter(caller: Caller): (() => void) | undefined {
    const source = sourceOf(caller.remoteAddress);
    if (!this.#isWithinRate(source)) {
      this.refused.rate++;
      caller.resetAndDestroy();
      return undefined;
    }
    this.#makeRoomFor(source);
    this.#seat(source, caller);
    const late = this.#clock.after(HANDSHAKE_WITHIN, () => this.#drop(source, caller, "late"));
    const leave = () => {
      late();
      this.#unseat(source, caller);
    };
    caller.once("close", leave);
    return () => {
      leave();
      this.#ofOne.of(source).earn(1);
      this.shown(caller.remoteAddress);
    };
  }

  /** The node at this address has shown the secret: its handshakes are admitted before those of strangers. */
  shown(address: string | undefined): void {
    const source = sourceOf(address);
    this.#known.delete(source);
    this.#known.set(source, true);
    dropOldest(this.#known, MAX_KNOWN);
  }

  #isWithinRate(source: string): boolean {
    if (!this.#ofOne.of(source).spend(1)) return this.#ofHeavy.spend(1);
    return this.#known.has(source) || this.#ofNew.spend(1);
  }

  /**
   * Evicts the oldest of a source over its share; when all places are taken, that of the source
   * with most.
   */
  #makeRoomFor(source: string): void {
    const own = this.#waiting.get(source)?.size ?? 0;
    const from =
      own >= MAX_WAITING_OF_ONE
        ? source
        : this.#count >= MAX_WAITING
          ? this.#heaviest()
          : undefined;
    if (from === undefined) return;
    const [oldest] = this.#waiting.get(from)!;
    this.#drop(from, oldest!, "crowded");
  }

  /** Among sources with equally many, the one that has waited longest; known sources come last. */
  #heaviest(): string {
    let [heaviest, most] = ["", 0];
    for (const [source, callers] of this.#waiting) {
      const weight = this.#known.has(source) ? callers.size / MAX_WAITING : callers.size;
      if (weight > most) [heaviest, most] = [source, weight];
    }
    return heaviest;
  }

  #drop(source: string, caller: Caller, why: keyof Refusals): void {
    this.refused[why]++;
    this.#unseat(source, caller);
    caller.resetAndDestroy();
  }

  #seat(source: string, caller: Caller): void {
    const callers = this.#waiting.get(source) ?? new Set();
    this.#waiting.set(source, callers.add(caller));
    this.#count++;
  }

  /** Does nothing when called again. */
  #unseat(source: string, caller: Caller): void {
    const callers = this.#waiting.get(source);
    if (!callers?.delete(caller)) return;
    this.#count--;
    if (callers.size === 0) this.#waiting.delete(source);
  }
}

/** Node writes the last 32 bits of some IPv6 addresses as IPv4: `::192.0.2.1`. */
const LAST_32_BITS = /\d+(\.\d+){3}$/;

/** The source of an address: one IPv4 address, or one IPv6 /64, all of which a single host may have. */
export function sourceOf(address = ""): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*/, "");
  if (!plain.includes(":")) return plain;
  const { value } = parseAddress(plain.replace(LAST_32_BITS, "0:0"));
  return `${(value >> 64n).toString(16)}::/64`;
}
