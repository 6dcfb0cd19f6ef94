/**
 * One child process, with bounds on its output and its time. No shell is involved, so arguments are
 * passed as they are.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class CommandFailed extends Error {
  override readonly name = "CommandFailed";

  constructor(
    readonly argv: readonly string[],
    readonly finished: Finished,
    why = ended(finished),
  ) {
    super(`\`${argv.join(" ")}\` ${why}${said(finished)}`);
  }
}

/** Characters kept of each stream, the last ones. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

const POLL_MS = 20;

/** The kernel kills a child when the process that started it ends, even by SIGKILL. */
const DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"];

/** Debian has `ip`, `bridge` and `ethtool` in directories that `su` without a dash leaves out of PATH. */
const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

export class RunningProgram {
  /** Settles when the child has ended and all its output has been read. */
  readonly exited: Promise<Finished>;
  #stdout = "";
  #stderr = "";
  #ended = false;
  readonly #child: ChildProcessWithoutNullStreams;

  private constructor(
    readonly argv: readonly string[],
    child: ChildProcessWithoutNullStreams,
  ) {
    this.#child = child;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-OUTPUT_LIMIT);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-OUTPUT_LIMIT);
    });
    this.exited = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        this.#ended = true;
        resolve({ stdout: this.#stdout, stderr: this.#stderr, code, signal });
      });
    });
    this.exited.catch(() => {
      this.#ended = true;
    });
  }

  static start(argv: readonly string[], input = ""): RunningProgram {
    const [command = "", ...args] = [...DIE_WITH_PARENT, ...argv];
    const child = spawn(command, args, { env: { ...process.env, PATH } });
    child.stdin.on("error", () => {}); // A child may end without reading its input.
    child.stdin.end(input);
    return new RunningProgram(argv, child);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The output of both streams so far. */
  get output(): string {
    return this.#stdout + this.#stderr;
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    if (!this.#ended) this.#child.kill(signal);
  }

  /** Waits for the end of the child; kills it and throws if it takes longer than `limitMs`. */
  async finish(limitMs: number): Promise<Finished> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.kill("SIGKILL");
    }, limitMs);
    try {
      const finished = await this.exited;
      if (late) throw new CommandFailed(this.argv, finished, `took longer than ${limitMs} ms`);
      return finished;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal, and SIGKILL after `graceMs`; waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGTERM", graceMs = 5_000): Promise<Finished> {
    this.kill(signal);
    const timer = setTimeout(() => this.kill("SIGKILL"), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until the output contains `what`. */
  async waitForOutput(what: string | RegExp, limitMs = 10_000): Promise<void> {
    const deadline = Date.now() + limitMs;
    const said = (): boolean =>
      typeof what === "string" ? this.output.includes(what) : what.test(this.output);
    while (!said()) {
      if (this.#ended) throw this.#silent(`ended without saying ${what}`);
      if (Date.now() > deadline) throw this.#silent(`has not said ${what} in ${limitMs} ms`);
      await sleep(POLL_MS);
    }
  }

  #silent(why: string): CommandFailed {
    const soFar = { stdout: this.#stdout, stderr: this.#stderr, code: null, signal: null };
    return new CommandFailed(this.argv, soFar, why);
  }
}

const ended = ({ code, signal }: Finished): string =>
  signal === null ? `ended with ${code}` : `was ended by ${signal}`;

/** The last lines of the output, for an error message. */
function said({ stdout, stderr }: Finished): string {
  const lines = `${stdout}\n${stderr}`.trim().split("\n").slice(-20).join("\n");
  return lines === "" ? "" : `:\n${lines}`;
}
