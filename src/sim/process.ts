/**
 * One run of one node: its clock, which may be wrong, and its end, after which
 * nothing it asked for happens any more.
 */
import type { Clock } from "../time/clock.js";
import type { Random } from "./random.js";
import type { Schedule } from "./schedule.js";

/** When every simulation begins, in milliseconds since the epoch. */
export const EPOCH = 1_700_000_000_000;

/** How a machine's clock goes wrong. */
export interface Skew {
  /** Its milliseconds for each true one. */
  readonly rate: number;
  /** Milliseconds ahead of the true time. */
  readonly offset: number;
}

/** What a process is to do; nothing when it was cancelled. */
interface Task {
  fn: (() => void) | undefined;
}

/** Thrown out of a write to disk, through the code that asked for it: there was no time for what comes after. */
export class PowerCut extends Error {}

export class Process implements Clock {
  readonly random: () => number;
  #dead = false;
  #pausedUntil = 0;

  constructor(
    readonly schedule: Schedule,
    random: Random,
    readonly skew: Skew,
    /** Called when a write to disk was its last. */
    readonly powerCut: () => void,
  ) {
    this.random = random.next;
  }

  now(): number {
    const { rate, offset } = this.skew;
    return Math.floor(EPOCH + offset + this.schedule.now * rate);
  }

  elapsed(): number {
    return this.schedule.now * this.skew.rate;
  }

  after(ms: number, fn: () => void): () => void {
    const task: Task = { fn };
    this.schedule.later(ms / this.skew.rate, () => this.#do(task));
    return () => {
      task.fn = undefined;
    };
  }

  #do(task: Task): void {
    if (task.fn) this.act(task.fn, task);
  }

  /** Lets the process do something: now, or when its pause is over, or never. */
  act(fn: () => void, task?: Task): void {
    if (this.#dead) return;
    const wait = this.#pausedUntil - this.schedule.now;
    if (wait > 0) {
      this.schedule.later(wait, () => this.#do(task ?? { fn }));
      return;
    }
    try {
      fn();
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      this.powerCut();
    }
  }

  /** As a garbage collector or an overloaded hypervisor does: everything waits, nothing is lost. */
  pause(ms: number): void {
    this.#pausedUntil = this.schedule.now + ms;
  }

  end(): void {
    this.#dead = true;
  }
}
