/**
 * Follows the underlay address while the agent runs: a host may get another one
 * at any time. One that was given is never exchanged for another.
 */
import { type Address, formatAddress } from "../address.js";
import { WeftError } from "../error.js";
import { findUnderlay, type Underlay } from "./underlay.js";

export class UnderlayWatch {
  #underlay: Underlay;
  #problem: string | undefined;
  #looking: Promise<void> | undefined;

  /**
   * @param given as to `findUnderlay`
   * @param first what the agent runs on now
   * @param move takes up another; when it throws a WeftError, it is tried again at the next look
   */
  constructor(
    private readonly given: Address | undefined,
    first: Underlay,
    private readonly move: (to: Underlay) => Promise<void>,
  ) {
    this.#underlay = first;
  }

  get underlay(): Underlay {
    return this.#underlay;
  }

  /** Why the underlay is not as it should be: one sentence. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** One look at a time; settles when it is over. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Settles when nothing is being taken up any more. */
  async rest(): Promise<void> {
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      const found = await findUnderlay(this.given);
      const isOther = formatAddress(found.address) !== formatAddress(this.#underlay.address);
      if (isOther) await this.move(found);
      this.#underlay = found;
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#problem = `${error.message}: ${error.remedy}`;
    }
  }
}
