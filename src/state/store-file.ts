/** What a node knows, as files in a directory. */
import { join } from "node:path";
import { decodePolicy, encodePolicy, type PolicyText } from "../documents/sealed-policy.js";
import { PrivateFile } from "../files/private-file.js";
import { decodeState, encodeState, type State, type Store } from "./store.js";

export const STATE_FILE = "node.state";
export const POLICY_FILE = "policy.state";

export class FileStore implements Store {
  readonly #state: PrivateFile;
  readonly #policy: PrivateFile;

  constructor(directory: string) {
    this.#state = new PrivateFile(join(directory, STATE_FILE), "state file");
    this.#policy = new PrivateFile(join(directory, POLICY_FILE), "policy file");
  }

  load(): State | undefined {
    const text = this.#state.read();
    return text === undefined ? undefined : decodeState(text, this.#state.path);
  }

  save(state: State): void {
    this.#state.write(encodeState(state));
  }

  loadPolicy(): PolicyText | undefined {
    const text = this.#policy.read();
    return text === undefined ? undefined : decodePolicy(text, this.#policy.path);
  }

  savePolicy(policy: PolicyText): void {
    this.#policy.write(encodePolicy(policy));
  }

  /** Whether what was read or written is still there, and the next write has a place. */
  isKept(): boolean {
    return this.#state.isIntact() && this.#policy.isIntact();
  }
}
