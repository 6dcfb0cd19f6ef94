/** Pings that go on while something happens, and are counted at its end. */
import type { Host } from "../../src/lab/namespace.js";
import type { RunningProgram } from "../../src/lab/running.js";

const EVERY_SECONDS = 0.01;
/** Pings of a tenth of a second, which may still be under way at the end. */
const UNDER_WAY = 10;

export interface Tally {
  readonly sent: number;
  readonly answered: number;
  /** Pings without an answer, except after the last answer those of the last tenth of a second. */
  readonly lost: number;
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
    const last = [...output.matchAll(/icmp_seq=(\d+) /g)].at(-1)?.[1];
    return {
      sent: Number(sent),
      answered: Number(answered),
      lost: Math.max(Number(last), Number(sent) - UNDER_WAY) - Number(answered),
      output: output.slice(-2_000),
    };
  }
}
