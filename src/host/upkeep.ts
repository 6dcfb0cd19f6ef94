/**
 * Looks now and then at what the agent made on the host, and puts back what somebody removed or
 * replaced: socket, lock, state.
 */
import type { Logger } from "pino";
import { attempt } from "../error.js";

/** Puts one thing back where it is not in its place. Throws a WeftError where that cannot be. */
export type Repair = () => void | Promise<void>;

export class Upkeep {
  readonly #repairs: Repair[] = [];
  #problems: readonly string[] = [];
  #checking: Promise<void> | undefined;
  readonly #log: Pick<Logger, "warn">;

  constructor(log: Pick<Logger, "warn">) {
    this.#log = log;
  }

  /** Things that could not be put back: one sentence each. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** In the order in which they are added. */
  add(repair: Repair): void {
    this.#repairs.push(repair);
  }

  /** One look at a time; settles when it is over. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** Settles when nothing is being put back any more. */
  async idle(): Promise<void> {
    await this.#checking;
  }

  async #check(): Promise<void> {
    const problems: string[] = [];
    for (const repair of this.#repairs) problems.push(...(await attempt(async () => repair())));
    for (const it of problems) if (!this.#problems.includes(it)) this.#log.warn(it);
    this.#problems = problems;
  }
}
