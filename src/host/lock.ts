/**
 * The lock keeps a second agent from a state directory. It is the kernel's, so it ends with the
 * process in any case; the file holds pid and node name for messages only.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { WeftError } from "../error.js";
import { makeDirectory, remedyFor } from "../files/directory.js";
import { inWords, lockText, readLock } from "./other-agent.js";
import { leadsTo, openOwn, whyNotOwn } from "./own.js";

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
  readonly #directory: string;

  /** @param directory the state directory; created, readable by its owner only, if it does not exist */
  constructor(directory: string) {
    this.#directory = directory;
    this.#file = join(directory, "lock");
  }

  /**
   * Takes the lock, and writes pid and name into its file.
   * @param name the name of this node
   * @throws WeftError STATE when another process holds it, or the directory cannot be used
   */
  take(name: string): void {
    try {
      this.#removeDirectory = makeDirectory(this.#directory, 0o700);
      const why = whyNotOwn(this.#directory, { mayShare: false });
      if (why !== undefined) throw new Error(why);
      while (!this.#tryLock());
      ftruncateSync(this.#fd);
      writeSync(this.#fd, lockText({ pid: process.pid, name }));
    } catch (error) {
      this.release();
      if (error instanceof WeftError) throw error;
      throw new WeftError(
        "STATE",
        `the state directory ${this.#directory} cannot be used: ${(error as Error).message}`,
        remedyFor(
          error,
          "name a directory with --state that this user, and no other, can write to",
        ),
      );
    }
  }

  /**
   * Takes the lock again if its file or directory was removed or replaced.
   * @returns whether it was
   * @throws WeftError STATE as `take` does; the old lock stays
   */
  keep(name: string): boolean {
    if (this.#isInPlace(this.#fd)) return false;
    const [held, removeDirectory] = [this.#fd, this.#removeDirectory];
    this.#fd = -1;
    try {
      this.take(name);
    } catch (error) {
      [this.#fd, this.#removeDirectory] = [held, removeDirectory];
      throw error;
    }
    closeSync(held);
    const removeNew = this.#removeDirectory;
    this.#removeDirectory = () => {
      removeNew();
      removeDirectory();
    };
    return true;
  }

  /** Removes the lock file, and the directory if this agent created it and it is empty. */
  release(): void {
    if (this.#fd >= 0) {
      // If the directory was removed meanwhile, another agent may hold a new lock at the same path.
      if (this.#isInPlace(this.#fd)) unlinkSync(this.#file);
      closeSync(this.#fd);
      this.#fd = -1;
    }
    this.#removeDirectory();
    this.#removeDirectory = () => {};
  }

  /** False when its holder removed the file between this process's open and lock. */
  #tryLock(): boolean {
    // Without O_NONBLOCK a FIFO of that name would block this process.
    const fd = openOwn(this.#file, 0o600, constants.O_RDWR | constants.O_NONBLOCK);
    if (flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      const error = heldByAnother(this.#directory, fd);
      closeSync(fd);
      throw error;
    }
    if (!this.#isInPlace(fd)) {
      closeSync(fd);
      return false;
    }
    this.#fd = fd;
    return true;
  }

  #isInPlace(fd: number): boolean {
    return leadsTo(this.#file, fstatSync(fd));
  }
}

function heldByAnother(directory: string, lock: number): WeftError {
  const text = Buffer.alloc(128);
  const length = readSync(lock, text, 0, text.length, 0);
  const holder = readLock(text.toString("utf8", 0, length));
  return new WeftError(
    "STATE",
    `another agent (${holder ? inWords(holder) : "pid unknown"}) uses the state directory ${directory}`,
    "stop it, or give this one a directory of its own with --state",
  );
}
