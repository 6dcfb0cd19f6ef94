/** What this node keeps on disk. Each change stands there before anything else knows of it. */
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

  /** What is kept of the cluster that this node belongs to. */
  get cluster(): ClusterState {
    if (!this.#state.cluster) throw new Error("no cluster is known yet");
    return this.#state.cluster;
  }

  get leases(): readonly Proof[] {
    return this.#state.cluster?.leases ?? [];
  }

  /** Whether it tells of others: then it may be a backup, from before they got what they have. */
  get knowsOthers(): boolean {
    const { cluster, remembered } = this.#state;
    const gifts = cluster?.journal.filter(({ from, to }) => from !== to) ?? [];
    return gifts.length + remembered.length > 0;
  }

  /** What went wrong last, as long as nothing could be written since. */
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

  /** Runs what an event set off. A full disk must not end the node; everything else is our own mistake. */
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
