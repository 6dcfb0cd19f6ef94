/**
 * One agent a state directory. The lock is the kernel's, so it ends with the
 * process however that ends; the file holds the pid for the message only.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { printable } from "../address.js";
import { WeftError } from "../error.js";
import { makeDirectory } from "./directory.js";

// <sys/file.h>
const LOCK_EX = 2;
const LOCK_NB = 4;

const flock: (fd: number, operation: number) => number = koffi
  .load("libc.so.6")
  .func("int flock(int fd, int operation)");

export class StateLock {
  readonly #file: string;
  #fd = -1;
  #removeDirectory = () => {};

  /** @param directory made, readable by its owner only, if it does not exist */
  constructor(private readonly directory: string) {
    this.#file = join(directory, "lock");
  }

  /** @throws WeftError STATE when another process holds it, or the directory cannot be used */
  take(): void {
    try {
      this.#removeDirectory = makeDirectory(this.directory, 0o700);
      while (!this.#tryLock());
      ftruncateSync(this.#fd);
      writeSync(this.#fd, `${process.pid}\n`);
    } catch (error) {
      this.release();
      if (error instanceof WeftError) throw error;
      throw new WeftError(
        "STATE",
        `the state directory ${this.directory} cannot be used: ${(error as Error).message}`,
        "name a directory this user can write to with --state",
      );
    }
  }

  /** Leaves the directory as it was found: the lock file goes, and the directory if it is empty and ours. */
  release(): void {
    if (this.#fd >= 0) {
      unlinkSync(this.#file);
      closeSync(this.#fd);
      this.#fd = -1;
    }
    this.#removeDirectory();
    this.#removeDirectory = () => {};
  }

  /** False when the file was removed between opening and locking it: a holder was just leaving. */
  #tryLock(): boolean {
    const fd = openSync(this.#file, "a+", 0o600);
    if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      closeSync(fd);
      throw heldByAnother(this.directory, this.#file);
    }
    if (fstatSync(fd).ino !== statSync(this.#file, { throwIfNoEntry: false })?.ino) {
      closeSync(fd);
      return false;
    }
    this.#fd = fd;
    return true;
  }
}

function heldByAnother(directory: string, file: string): WeftError {
  const pid = printable(readFileSync(file, "utf8").trim()) || "unknown";
  return new WeftError(
    "STATE",
    `another agent (pid ${pid}) uses the state directory ${directory}`,
    "stop it, or give this one a directory of its own with --state",
  );
}
