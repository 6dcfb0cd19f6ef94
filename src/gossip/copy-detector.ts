/**
 * Members whose state directory was copied: two processes then publish records of one identity in
 * turn. A restart begins a new epoch and never returns to the old one; copies do.
 */

import { evictOldest } from "../evict-oldest.js";
import type { Clock } from "../time/clock.js";
import { MAX_RECORDS } from "./members.js";
import type { NodeRecord } from "./record.js";

/** How long a copy is a problem after its last sign, in milliseconds. Copies answer each other every 5 s. */
export const COPY_REPORTED_FOR = 60_000;

/** One process of an identity, as its record says. */
interface Run {
  readonly epoch: string;
  readonly mesh: string;
}

interface Runs {
  readonly current: Run;
  readonly previous?: Run;
  /** When the previous one was back, by `clock.elapsed`. */
  readonly returned?: number;
}

export class CopyDetector {
  /** By id, the longest unchanged first. */
  readonly #runs = new Map<string, Runs>();

  constructor(readonly clock: Pick<Clock, "elapsed">) {}

  onRecord({ id, epoch, mesh }: NodeRecord): void {
    const runs = this.#runs.get(id);
    if (runs?.current.epoch === epoch) return;
    const isBack = runs?.previous?.epoch === epoch;
    this.#runs.delete(id);
    this.#runs.set(id, {
      current: { epoch, mesh },
      ...(runs && { previous: runs.current }),
      ...(isBack && { returned: this.clock.elapsed() }),
    });
    evictOldest(this.#runs, MAX_RECORDS);
  }

  /** `nameOf` gives nothing for an id that is no member any more. */
  problems(nameOf: (id: string) => string | undefined): string[] {
    const now = this.clock.elapsed();
    return [...this.#runs].flatMap(([id, { current, previous, returned }]) => {
      const name = nameOf(id);
      const isCopied = returned !== undefined && now - returned < COPY_REPORTED_FOR;
      if (!isCopied || !previous || name === undefined) return [];
      return `two agents run as ${name}, at ${current.mesh} and ${previous.mesh}: the state directory of one is a copy: stop that agent, remove its state directory, start it again`;
    });
  }
}
