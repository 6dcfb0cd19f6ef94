import { type Clock, clampTime } from "../../src/time/clock.js";
import { randomFrom } from "../mesh/seed.js";

interface Due {
  readonly at: number;
  readonly fn: () => void;
}

/** A clock that a test moves. Timers that are due at one moment run in the order in which they were set. */
export class ManualClock implements Clock {
  readonly random: () => number;
  #now = 0;
  #day = 1_700_000_000_000;
  /** Timers, the latest first. */
  readonly #due: Due[] = [];

  constructor(seed = 1) {
    this.random = randomFrom(seed);
  }

  now(): number {
    return Math.floor(this.#day + this.#now);
  }

  elapsed(): number {
    return this.#now;
  }

  /** Suspends the process, so that timers run late. */
  stall(ms: number): void {
    this.#now += ms;
  }

  /** Changes the time of day by so many milliseconds. */
  set(ms: number): void {
    this.#day += ms;
  }

  after(ms: number, fn: () => void): () => void {
    const entry = { at: this.#now + ms, fn };
    let [from, to] = [0, this.#due.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#due[middle]!.at > entry.at) from = middle + 1;
      else to = middle;
    }
    this.#due.splice(from, 0, entry);
    return () => {
      const place = this.#due.indexOf(entry);
      if (place >= 0) this.#due.splice(place, 1);
    };
  }

  run(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#due.at(-1); next && next.at <= end; next = this.#due.at(-1)) {
      this.#due.pop();
      this.#now = Math.max(this.#now, next.at);
      next.fn();
    }
    this.#now = end;
  }
}

/** The clock of one node, which can be killed; then none of its timers runs any more. */
export class NodeClock implements Clock {
  #dead = false;

  /** `ahead`: milliseconds by which its time of day is ahead. */
  constructor(
    readonly clock: ManualClock,
    public ahead = 0,
  ) {}

  now(): number {
    return clampTime(this.clock.now() + this.ahead);
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
