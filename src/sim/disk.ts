/**
 * The disk of one node. It holds the text that the real store writes, and replaces it as a whole, as
 * the real store does: after a power failure it holds the old text or the new one.
 */

import {
  decodeDocument,
  encodeDocument,
  type StoredDocument,
} from "../documents/sealed-document.js";
import { WeftError } from "../error.js";
import { decodeState, encodeState, type State, type Store } from "../state/store.js";
import { PowerCut } from "./process.js";
import type { Random } from "./random.js";

export class SimDisk implements Store {
  isFull = false;
  /** Makes the power fail during the next write: before the new text is in place, or right after. */
  cutAtNextWrite: "before" | "after" | undefined;
  /** Called with each written state. */
  written: (state: State) => void = () => {};
  /** The state that was written last, even if the text was torn since. */
  last: State;
  #text: string;
  /** By kind. */
  readonly #documents = new Map<string, string>();

  constructor(state: State) {
    this.last = state;
    this.#text = encodeState(state);
  }

  load(): State {
    return decodeState(this.#text, "the simulated disk");
  }

  save(state: State): void {
    this.#write(() => {
      this.#text = encodeState(state);
      this.last = state;
      this.written(state);
    });
  }

  loadDocument(kind: string): StoredDocument | undefined {
    const text = this.#documents.get(kind);
    return text === undefined ? undefined : decodeDocument(kind, text, "the simulated disk");
  }

  saveDocument(document: StoredDocument): void {
    this.#write(() => {
      this.#documents.set(document.seal.kind, encodeDocument(document));
    });
  }

  #write(write: () => void): void {
    const cut = this.cutAtNextWrite;
    this.cutAtNextWrite = undefined;
    if (cut === "before") throw new PowerCut();
    if (this.isFull) throw new WeftError("STATE_WRITE", "the disk is full", "make room on it");
    write();
    if (cut === "after") throw new PowerCut();
  }

  /** Damages the text, as a disk does that lies about a finished write: cuts its end or changes a byte. */
  tear(random: Random): void {
    const text = this.#text;
    const at = random.below(text.length);
    const wrong = text[at] === "x" ? "y" : "x";
    this.#text = text.slice(0, at) + (random.chance(0.5) ? "" : wrong + text.slice(at + 1));
  }
}
