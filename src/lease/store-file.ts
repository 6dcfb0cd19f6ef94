/** The state in a directory. A reader sees the old file or the new one, whenever the power goes. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { WeftError } from "../error.js";
import { decodeState, encodeState, type State, type Store } from "./store.js";

export const STATE_FILE = "node.state";

export class FileStore implements Store {
  readonly #file: string;

  constructor(readonly directory: string) {
    this.#file = join(directory, STATE_FILE);
  }

  load(): State | undefined {
    let text: string;
    try {
      text = readFileSync(this.#file, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw new WeftError(
        "STATE_READ",
        `the state file ${this.#file} cannot be read (${codeOf(error)})`,
        "run as its owner, or choose another --state directory",
      );
    }
    if ((statSync(this.#file).mode & 0o077) !== 0) {
      throw new WeftError(
        "STATE_OPEN",
        `the state file ${this.#file} holds this node's key and is open to others`,
        `chmod 600 ${this.#file}`,
      );
    }
    return decodeState(text, this.#file);
  }

  save(state: State): void {
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      const next = `${this.#file}.new`;
      rmSync(next, { force: true }); // What a crash left may be open to others.
      flushed(openSync(next, "wx", 0o600), (file) => writeFileSync(file, encodeState(state)));
      renameSync(next, this.#file);
      flushed(openSync(this.directory, "r"));
    } catch (error) {
      throw new WeftError(
        "STATE_WRITE",
        `the state file ${this.#file} cannot be written (${codeOf(error)})`,
        "make room on the disk, or choose another --state directory",
      );
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

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
