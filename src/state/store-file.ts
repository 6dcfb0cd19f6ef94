/** A store of files in a directory: one for the node's state, and one for each cluster document. */
import { join } from "node:path";
import {
  decodeDocument,
  encodeDocument,
  type StoredDocument,
} from "../documents/sealed-document.js";
import { PrivateFile } from "../files/private-file.js";
import { decodeState, encodeState, type State, type Store } from "./store.js";

export const STATE_FILE = "node.state";
/** The name of the file that holds the document of a kind. */
export const documentFile = (kind: string): string => `${kind}.document`;

export class FileStore implements Store {
  readonly #state: PrivateFile;
  readonly #directory: string;
  /** By kind. */
  readonly #documents = new Map<string, PrivateFile>();

  constructor(directory: string) {
    this.#state = new PrivateFile(join(directory, STATE_FILE), "state file");
    this.#directory = directory;
  }

  load(): State | undefined {
    const text = this.#state.read();
    return text === undefined ? undefined : decodeState(text, this.#state.path);
  }

  save(state: State): void {
    this.#state.write(encodeState(state));
  }

  loadDocument(kind: string): StoredDocument | undefined {
    const file = this.#document(kind);
    const text = file.read();
    return text === undefined ? undefined : decodeDocument(kind, text, file.path);
  }

  saveDocument(document: StoredDocument): void {
    this.#document(document.seal.kind).write(encodeDocument(document));
  }

  /** Whether all files that were read or written are still in place. */
  isKept(): boolean {
    return [this.#state, ...this.#documents.values()].every((file) => file.isIntact());
  }

  #document(kind: string): PrivateFile {
    const known = this.#documents.get(kind);
    if (known) return known;
    const file = new PrivateFile(join(this.#directory, documentFile(kind)), `${kind} file`);
    this.#documents.set(kind, file);
    return file;
  }
}
