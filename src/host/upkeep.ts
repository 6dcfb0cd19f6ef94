/**
 * Looks now and then at what the agent made on the host, and puts back what somebody removed or
 * replaced: socket, lock, state.
 */
import type { Logger } from "pino";
import { attempt } from "../error.js";

/** Puts one thing back where it is not in its place. Throws a WeftError where that cannot be. */
export type Mend = () => void | Promise<void>;

export class Upkeep {
  readonly #mends: Mend[] = [];
  #problems: readonly string[] = [];
  #looking: Promise<void> | undefined;
  readonly #log: Pick<Logger, "warn">;

  constructor(log: Pick<Logger, "warn">) {
    this.#log = log;
  }

  /** Things that could not be put back: one sentence each. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** In the order in which they are added. */
  add(mend: Mend): void {
    this.#mends.push(mend);
  }

  /** One look at a time; settles when it is over. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Settles when nothing is being put back any more. */
  async rest(): Promise<void> {
    await this.#looking;
  }

  async #look(): Promise<void> {
    const problems: string[] = [];
    for (const mend of this.#mends) problems.push(...(await attempt(async () => mend())));
    for (const it of problems) if (!this.#problems.includes(it)) this.#log.warn(it);
    this.#problems = problems;
  }
}
