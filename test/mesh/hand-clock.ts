import type { Clock } from "../../src/mesh/clock.js";
import { randomFrom } from "./seed.js";

interface Due {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that a test moves by hand. What is due at one moment runs in the order it was asked for. */
export class HandClock implements Clock {
  readonly random: () => number;
  #now = 0;
  #day = 1_700_000_000_000;
  #count = 0;
  #due: Due[] = [];

  constructor(seed = 1) {
    this.random = randomFrom(seed);
  }

  now(): number {
    return Math.floor(this.#day + this.#now);
  }

  elapsed(): number {
    return this.#now;
  }

  /** Somebody sets the time of day. */
  set(ms: number): void {
    this.#day += ms;
  }

  after(ms: number, fn: () => void): () => void {
    const entry = { at: this.#now + ms, order: this.#count++, fn };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((one) => one !== entry);
    };
  }

  run(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#due.reduce<Due | undefined>(
        (a, b) => (!a || b.at < a.at || (b.at === a.at && b.order < a.order) ? b : a),
        undefined,
      );
      if (!next || next.at > end) break;
      this.#due = this.#due.filter((one) => one !== next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
    }
    this.#now = end;
  }
}

/** The clock of one node, which can be killed: then nothing it asked for happens any more. */
export class NodeClock implements Clock {
  #dead = false;

  constructor(readonly clock: HandClock) {}

  now(): number {
    return this.clock.now();
  }

  elapsed(): number {
    return this.clock.elapsed();
  }

  random(): number {
    return this.clock.random();
  }

  after(ms: number, fn: () => void): () => void {
    return this.clock.after(ms, () => this.#dead || fn());
  }

  kill(): void {
    this.#dead = true;
  }
}
