/** Runs work one at a time: a call while a run is under way joins that run. */
export class SingleFlight {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Starts a run, or joins the one that is under way; resolves when it is over. */
  run(): Promise<void> {
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Resolves when no run is under way any more; starts none. */
  async idle(): Promise<void> {
    await this.#running;
  }
}
