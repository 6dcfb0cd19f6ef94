/** A network namespace and the programs that run in it. */
import type { Segment } from "./lab.js";
import { CommandFailed, type Finished, RunningProgram } from "./running.js";

export interface RunOptions {
  readonly limitMs?: number;
  readonly input?: string;
}

const RUN_LIMIT_MS = 30_000;

export class Namespace {
  readonly #started: Set<RunningProgram>;

  constructor(
    /** Its name in `ip netns`. */
    readonly namespace: string,
    /** All programs of this lab, which end when it is closed. */
    started: Set<RunningProgram>,
  ) {
    this.#started = started;
  }

  /** Starts a program and returns at once. */
  spawn(argv: readonly string[], input?: string): RunningProgram {
    const running = RunningProgram.start(["ip", "netns", "exec", this.namespace, ...argv], input);
    this.#started.add(running);
    const forget = () => this.#started.delete(running);
    running.exited.then(forget, forget);
    return running;
  }

  /** Runs a program to its end; a failure is not an error. */
  run(
    argv: readonly string[],
    { limitMs = RUN_LIMIT_MS, input }: RunOptions = {},
  ): Promise<Finished> {
    return this.spawn(argv, input).finish(limitMs);
  }

  /** Runs a program that must succeed; returns its stdout. */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const finished = await this.run(argv, options);
    if (finished.code !== 0) throw new CommandFailed(argv, finished);
    return finished.stdout;
  }

  /** Runs lines of `ip` as one batch; throws an error that names the first line that failed. */
  async ip(...lines: string[]): Promise<void> {
    await this.exec(["ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
  }

  /** Changes a kernel setting; `name` is its path below /proc/sys. */
  async sysctl(name: string, value: number): Promise<void> {
    await this.exec(["tee", `/proc/sys/${name}`], { input: `${value}` });
  }
}

/** The segment and addresses of a host on the underlay. */
export interface UnderlayPlace {
  readonly segment: Segment;
  readonly address: string;
  readonly address6: string;
}

export class Host extends Namespace implements UnderlayPlace {
  readonly segment: Segment;
  readonly address: string;
  readonly address6: string;

  constructor(
    readonly name: string,
    place: UnderlayPlace,
    namespace: string,
    started: Set<RunningProgram>,
  ) {
    super(namespace, started);
    this.segment = place.segment;
    this.address = place.address;
    this.address6 = place.address6;
  }
}
