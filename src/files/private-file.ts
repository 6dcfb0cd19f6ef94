/** A file that only this node may read. After a power cut it holds the old text or the new one. */
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { WeftError } from "../error.js";
import { makeDirectory, remedyFor } from "./directory.js";
import { type RegularFile, readRegularFile, whyUnreadable } from "./regular-file.js";

/** In bytes: far above a node's grants and a document of up to 4 MiB. */
const MAX_FILE = 256 * 1024 * 1024;

export class PrivateFile {
  #exists = false;

  constructor(
    readonly path: string,
    /** A noun for it in errors, like `state file`. */
    readonly what: string,
  ) {}

  /** The text; undefined when there is no such file. */
  read(): string | undefined {
    return this.readBytes()?.toString();
  }

  readBytes(): Buffer | undefined {
    const found = this.#open();
    if (!found) return undefined;
    const { bytes, stats } = found;
    this.#exists = true;
    if ((stats.mode & 0o077) !== 0) {
      throw new WeftError(
        "STATE_OPEN",
        `the ${this.what} ${this.path} is open to other users`,
        `chmod 600 ${this.path}`,
      );
    }
    if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
      throw new WeftError(
        "STATE_OPEN",
        `the ${this.what} ${this.path} belongs to user ${stats.uid}, not to the agent's user`,
        `chown ${process.geteuid?.()} ${this.path}`,
      );
    }
    return bytes;
  }

  #open(): RegularFile | undefined {
    try {
      return readRegularFile(this.path, MAX_FILE);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw new WeftError(
        "STATE_READ",
        `the ${this.what} ${this.path} ${whyUnreadable(error, MAX_FILE)}`,
        "run as its owner, or choose another --state directory",
      );
    }
  }

  /** When this returns, the text survives a power cut. */
  write(text: string): void {
    const directory = dirname(this.path);
    const next = `${this.path}.new`;
    try {
      makeDirectory(directory, 0o700);
      rmSync(next, { force: true }); // A crash may have left one that is open to others.
      flushed(openSync(next, "wx", 0o600), (file) => writeFileSync(file, text));
      renameSync(next, this.path);
      flushed(openSync(directory, "r"));
      this.#exists = true;
    } catch (error) {
      throw this.#unwritten(error);
    }
  }

  /**
   * Writes without waiting for the disk. After the end of the process the file holds the old bytes or
   * these; after a power cut perhaps neither.
   */
  async writeSoon(bytes: Uint8Array): Promise<void> {
    const next = `${this.path}.new`;
    try {
      makeDirectory(dirname(this.path), 0o700);
      await rm(next, { force: true });
      await writeFile(next, bytes, { flag: "wx", mode: 0o600 });
      await rename(next, this.path);
      this.#exists = true;
    } catch (error) {
      throw this.#unwritten(error);
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
    this.#exists = false;
  }

  #unwritten(error: unknown): WeftError {
    // On a full disk the next attempt needs its space.
    if (codeOf(error) === "ENOSPC") rmSync(`${this.path}.new`, { force: true });
    return new WeftError(
      "STATE_WRITE",
      `the ${this.what} ${this.path} cannot be written (${codeOf(error)})`,
      remedyFor(error, "let the agent write to its directory, or choose another with --state"),
    );
  }

  /** Whether a file that was read or written is still there, and the disk has room for the next write. */
  isIntact(): boolean {
    if (!this.#exists) return true;
    const directory = dirname(this.path);
    try {
      accessSync(directory, constants.W_OK);
      const { size } = statSync(this.path);
      const { bfree, bsize, files, ffree } = statfsSync(directory);
      return bfree * bsize >= size && (files === 0 || ffree > 0);
    } catch {
      return false;
    }
  }
}

function flushed(file: number, write?: (file: number) => void): void {
  try {
    write?.(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

const codeOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
};
