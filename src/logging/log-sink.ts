/**
 * Writes the lines of the log to a descriptor without ever waiting for it or failing because of it.
 * Lines that cannot be written are queued up to a bound; lines beyond it are lost and counted.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { getSystemErrorMap } from "node:util";
import { isWritable } from "../io/libc.js";

/** Most bytes of queued lines. */
const MAX_WAITING = 64 * 1024;
/** Most bytes of one write. A pipe that is ready accepts this many at once (PIPE_BUF, pipe(7)). */
const MAX_WRITE = 4096;
/** Milliseconds between two tries. */
const RETRY_EVERY = 1_000;

/** State of the log: lines that are not written. */
export interface LogState {
  /** Lines lost since the start. */
  readonly lost: number;
  /** Lines in the queue. */
  readonly waiting: number;
  /** ISO time since when writing fails; absent while it succeeds. */
  readonly since?: string;
  /** The reason why writing fails. */
  readonly why?: string;
}

/** A period that is over, in which the log could not be written. */
export interface Gap {
  /** Lines lost in it. */
  readonly lost: number;
  readonly since: string;
  /** The reason at its beginning. */
  readonly why: string;
}

export class LogSink {
  readonly #fd: number;
  readonly #recovered: (gap: Gap) => void;
  #lines: Buffer[] = [];
  /** Bytes of the first line that are already written. */
  #written = 0;
  #waiting = 0;
  #lost = 0;
  #gap: { lost: number; since: string; why: string } | undefined;
  /** The reason why the last try failed. */
  #why = "";

  /** @param recovered called after a gap with lost lines; lines that it writes come next */
  constructor(fd: number, recovered: (gap: Gap) => void) {
    this.#fd = ownDescription(fd);
    this.#recovered = recovered;
  }

  /** @param line including its line end */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waiting + bytes.length > MAX_WAITING && this.#gap) {
      this.#gap.lost++;
      this.#lost++;
      return;
    }
    this.#lines.push(bytes);
    this.#waiting += bytes.length;
    if (!this.#gap) this.#flush();
  }

  state(): LogState {
    return {
      lost: this.#lost,
      waiting: this.#lines.length,
      ...(this.#gap && { since: this.#gap.since, why: this.#why }),
    };
  }

  #flush(): void {
    for (let line = this.#lines[0]; line; line = this.#lines[0]) {
      const failure = this.#writeSome(line);
      if (failure !== undefined) {
        this.#fail(failure);
        return;
      }
      if (this.#written < line.length) continue;
      this.#lines.shift();
      this.#waiting -= line.length;
      this.#written = 0;
    }
    const gap = this.#gap;
    this.#gap = undefined;
    if (gap && gap.lost > 0) this.#recovered(gap);
  }

  /** @returns the code of the error, if it wrote nothing */
  #writeSome(line: Buffer): string | undefined {
    if (!isWritable(this.#fd)) return "EAGAIN";
    const length = Math.min(line.length - this.#written, MAX_WRITE);
    try {
      this.#written += writeSync(this.#fd, line, this.#written, length);
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? "EIO";
    }
  }

  #fail(code: string): void {
    this.#why = inWords(code);
    this.#gap ??= { lost: 0, since: new Date().toISOString(), why: this.#why };
    setTimeout(() => this.#flush(), RETRY_EVERY).unref();
  }
}

/**
 * Opens a pipe or a terminal again, because O_NONBLOCK belongs to the open file description, which
 * other processes share. If that fails, the descriptor is used whenever poll(2) reports it ready.
 */
function ownDescription(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO() && !isatty(fd)) return fd;
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return fd;
  }
}

const MESSAGES = new Map(getSystemErrorMap().values());

const inWords = (code: string): string =>
  code === "EAGAIN" ? "it is not read" : (MESSAGES.get(code) ?? code);
