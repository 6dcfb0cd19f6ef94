/**
 * Checks from time to time what the agent made on the host, and restores what was removed or
 * replaced: socket, lock, state.
 */
import type { Logger } from "pino";
import { attempt } from "../error.js";
import { SingleFlight } from "../time/single-flight.js";

/** Restores one thing if it is not in its place. Throws a WeftError if it cannot. */
export type Repair = () => void | Promise<void>;

export class Upkeep {
  readonly #repairs: Repair[] = [];
  #problems: readonly string[] = [];
  readonly #checks = new SingleFlight(() => this.#check());
  readonly #log: Pick<Logger, "warn">;

  constructor(log: Pick<Logger, "warn">) {
    this.#log = log;
  }

  /** One sentence for each thing that could not be restored. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Adds a repair; repairs run in the order in which they were added. */
  add(repair: Repair): void {
    this.#repairs.push(repair);
  }

  /** Runs all repairs, or joins the run that is under way; resolves when it is over. */
  check(): Promise<void> {
    return this.#checks.run();
  }

  /** Resolves when no repair runs any more. */
  idle(): Promise<void> {
    return this.#checks.idle();
  }

  async #check(): Promise<void> {
    const problems: string[] = [];
    for (const repair of this.#repairs) problems.push(...(await attempt(async () => repair())));
    for (const it of problems) if (!this.#problems.includes(it)) this.#log.warn(it);
    this.#problems = problems;
  }
}
