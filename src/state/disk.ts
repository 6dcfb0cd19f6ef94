/** The state that this node keeps on disk. Each change is written there before it can be read here. */
import { sentence, WeftError } from "../error.js";
import type { Proof } from "../lease/grant.js";
import type { Log } from "../log.js";
import type { ClusterState, State, Store } from "./store.js";

export class Disk {
  readonly #store: Store;
  readonly #log: Log;
  #state: State;
  #problem: string | undefined;

  constructor(store: Store, log: Log, state: State) {
    this.#store = store;
    this.#log = log;
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  /** The state of the cluster that this node belongs to. Throws before the node has joined one. */
  get cluster(): ClusterState {
    if (!this.#state.cluster) throw new Error("no cluster is known yet");
    return this.#state.cluster;
  }

  get leases(): readonly Proof[] {
    return this.#state.cluster?.leases ?? [];
  }

  /** Whether the state names other nodes: then it may be a backup that lacks the last grants to them. */
  get knowsOthers(): boolean {
    const { cluster, remembered } = this.#state;
    const grants = cluster?.journal.filter(({ from, to }) => from !== to) ?? [];
    return grants.length + remembered.length > 0;
  }

  /** The last error of a write, as a sentence, until a write succeeds. */
  get problem(): string | undefined {
    return this.#problem;
  }

  save(change: Partial<State>): void {
    const next = { ...this.#state, ...change };
    this.#store.save(next);
    this.#state = next;
    this.#problem = undefined;
  }

  saveCluster(change: Partial<ClusterState>): void {
    this.save({ cluster: { ...this.cluster, ...change } });
  }

  /** Whether this node knows that the cluster has no document of this kind. */
  isAbsent(kind: string): boolean {
    return this.cluster.absentDocuments.includes(kind);
  }

  saveAbsent(kind: string, isAbsent: boolean): void {
    const others = this.cluster.absentDocuments.filter((other) => other !== kind);
    this.saveCluster({ absentDocuments: isAbsent ? [...others, kind] : others });
  }

  /**
   * Runs an action. A `WeftError`, as of a full disk, becomes the `problem` and does not end the
   * process; any other error is a fault of weft and is thrown.
   */
  safely(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      if (sentence(error) !== this.#problem) {
        this.#log.error(error.message, { remedy: error.remedy });
      }
      this.#problem = sentence(error);
    }
  }
}
