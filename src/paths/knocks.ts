/**
 * Knocking at members that are silent elsewhere: with probe after probe, until
 * one is answered. Where one in two gets lost it still takes no chance for none
 * of many to be answered. What is not answered says nothing of the way: that is
 * for the probes in turn.
 */
import type { Clock } from "../time/clock.js";

/** Milliseconds between two at one member, and how long it goes on after it was called for last. */
export const KNOCK_EVERY = 125;
export const KNOCK_FOR = 5_000;
/** Members that are knocked at at the same time. */
export const MAX_KNOCKED = 64;

export class Knocks {
  readonly #clock: Clock;
  readonly #knock: (id: string) => void;
  /** Until when, by id. */
  readonly #until = new Map<string, number>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, knock: (id: string) => void) {
    this.#clock = clock;
    this.#knock = knock;
  }

  stop(): void {
    this.#cancel?.();
    this.#until.clear();
  }

  at(id: string): void {
    if (this.#until.size >= MAX_KNOCKED && !this.#until.has(id)) return;
    this.#until.set(id, this.#clock.elapsed() + KNOCK_FOR);
    this.#wake();
  }

  /** It answered, or nobody waits for that any more. */
  end(id: string): void {
    this.#until.delete(id);
  }

  #wake(): void {
    this.#cancel ??= this.#clock.after(KNOCK_EVERY, () => {
      this.#cancel = undefined;
      this.#round();
    });
  }

  #round(): void {
    const now = this.#clock.elapsed();
    for (const [id, until] of this.#until) {
      if (now > until) this.#until.delete(id);
      else this.#knock(id);
    }
    if (this.#until.size > 0) this.#wake();
  }
}
