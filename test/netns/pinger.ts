/** Pings that go on while something happens, and are counted at its end. */
import type { Host } from "../../src/lab/namespace.js";
import type { RunningProgram } from "../../src/lab/running.js";

const EVERY_SECONDS = 0.01;

export interface Tally {
  readonly sent: number;
  readonly answered: number;
  readonly output: string;
}

export class Pinger {
  readonly #running: RunningProgram;

  constructor(from: Host, to: string) {
    this.#running = from.spawn(["ping", "-n", "-i", `${EVERY_SECONDS}`, to]);
  }

  async stop(): Promise<Tally> {
    const { stdout: output } = await this.#running.stop("SIGINT");
    const [, sent, answered] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
    return { sent: Number(sent), answered: Number(answered), output: output.slice(-2_000) };
  }
}
