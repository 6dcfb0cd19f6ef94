/**
 * Probes members that fell silent in their sessions, many times in a row, until they answer: even at
 * a loss of one in two, one of 40 probes is answered. A burst probe without an answer does not count
 * as a failure of its path; the scheduled probes measure that.
 */
import { EventEmitter } from "node:events";
import type { Clock } from "../time/clock.js";

/** Time between two probes of a burst, in milliseconds. */
export const BURST_PROBE_EVERY = 125;
/** How long a burst lasts after the last `begin`, in milliseconds. */
export const BURST_DURATION = 5_000;
/** Most members with a burst at one time. */
export const MAX_BURSTS = 64;

export interface BurstProberEvents {
  /** This member is to be probed now. */
  due: [id: string];
}

export class BurstProber extends EventEmitter<BurstProberEvents> {
  readonly #clock: Clock;
  /** The end of each burst by `clock.elapsed`, by id. */
  readonly #until = new Map<string, number>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    super();
    this.#clock = clock;
  }

  stop(): void {
    this.#cancel?.();
    this.#until.clear();
  }

  begin(id: string): void {
    if (this.#until.size >= MAX_BURSTS && !this.#until.has(id)) return;
    this.#until.set(id, this.#clock.elapsed() + BURST_DURATION);
    this.#wake();
  }

  /** Ends the burst: the member answered, or its answer no longer matters. */
  cancel(id: string): void {
    this.#until.delete(id);
  }

  #wake(): void {
    this.#cancel ??= this.#clock.after(BURST_PROBE_EVERY, () => {
      this.#cancel = undefined;
      this.#round();
    });
  }

  #round(): void {
    const now = this.#clock.elapsed();
    for (const [id, until] of this.#until) {
      if (now > until) this.#until.delete(id);
      else this.emit("due", id);
    }
    if (this.#until.size > 0) this.#wake();
  }
}
