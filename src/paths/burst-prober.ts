/**
 * Knocking at members that are silent elsewhere: with probe after probe, until
 * one is answered. Where one in two gets lost it still takes no chance for none
 * of many to be answered. What is not answered says nothing of the way: that is
 * for the probes in turn.
 */
import type { Clock } from "../time/clock.js";

/** Milliseconds between two at one member, and how long it goes on after it was called for last. */
export const BURST_PROBE_EVERY = 125;
export const BURST_DURATION = 5_000;
/** Members that are knocked at at the same time. */
export const MAX_BURSTS = 64;

export class BurstProber {
  readonly #clock: Clock;
  readonly #probe: (id: string) => void;
  /** Until when, by id. */
  readonly #until = new Map<string, number>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, probe: (id: string) => void) {
    this.#clock = clock;
    this.#probe = probe;
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

  /** It answered, or nobody waits for that any more. */
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
      else this.#probe(id);
    }
    if (this.#until.size > 0) this.#wake();
  }
}
