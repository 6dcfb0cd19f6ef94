/**
 * One run of one node, with a clock that may be wrong. After its end, none of its timers and events
 * has an effect.
 */
import type { Clock } from "../time/clock.js";
import type { Random } from "./random.js";
import type { Schedule } from "./schedule.js";

/** The time at which every simulation begins, in milliseconds since the epoch. */
export const EPOCH = 1_700_000_000_000;

/** The error of a machine's clock. */
export interface Skew {
  /** Milliseconds of this clock for each true one. */
  readonly rate: number;
  /** Milliseconds ahead of the true time. */
  readonly offset: number;
}

/** An action of a process; undefined when it was cancelled. */
interface Task {
  fn: (() => void) | undefined;
}

/** Thrown by a write to disk, so that the code after the write does not run. */
export class PowerCut extends Error {}

export class Process implements Clock {
  readonly random: () => number;
  #dead = false;
  #pausedUntil = 0;

  constructor(
    readonly schedule: Schedule,
    random: Random,
    readonly skew: Skew,
    /** Called when the power failed during a write to disk. */
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

  /** Runs an action of the process: now, after its pause, or not at all when it has ended. */
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

  /** Delays all actions, as a garbage collector or an overloaded hypervisor does; none is lost. */
  pause(ms: number): void {
    this.#pausedUntil = this.schedule.now + ms;
  }

  end(): void {
    this.#dead = true;
  }
}
