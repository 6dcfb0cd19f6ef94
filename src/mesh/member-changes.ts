/**
 * The one feed of what changed of the members: from their records to the parts that keep sessions
 * and find paths, to the log, and with what changed of their paths to the tables.
 */
import { evictOldest } from "../evict-oldest.js";
import { MAX_RECORDS, type Members } from "../gossip/members.js";
import type { PeerSelector } from "../gossip/peer-selector.js";
import type { Log } from "../log.js";
import type { Paths } from "../paths/paths.js";
import type { Clock } from "../time/clock.js";

export interface MemberChangesParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly members: Members;
  readonly peerSelector: PeerSelector;
  readonly paths: Paths | undefined;
}

export class MemberChanges {
  readonly #parts: MemberChangesParts;
  /** Names of the members, by id, as the log has told them. */
  readonly #present = new Map<string, string>();
  /** When former members ceased to be members, by id, the longest ago first. */
  readonly #left = new Map<string, number>();
  /** Ids of the members that the tables may not show as they are. */
  #changed = new Set<string>();

  constructor(parts: MemberChangesParts) {
    this.#parts = parts;
  }

  /** Passes on which members came, changed or left since this was called last. */
  apply(): void {
    const { own, members, peerSelector, paths } = this.#parts;
    for (const id of members.takeChangedIds()) {
      const record = members.get(id);
      peerSelector.set(id, record && members.view.mayDial(record) ? record : undefined);
      const member = id === own ? undefined : members.view.members.get(id);
      paths?.update(id, member);
      this.#log(id, member?.name);
      this.#changed.add(id);
    }
  }

  /** Packets for this member go another way. */
  pathChanged(id: string): void {
    this.#changed.add(id);
  }

  /** Ids of the members that changed since this was asked last, and of those that are reached through them. */
  take(): ReadonlySet<string> {
    this.apply();
    const changed = this.#changed;
    this.#changed = new Set();
    for (const id of this.#parts.paths?.through(changed) ?? []) changed.add(id);
    return changed;
  }

  /** When a node ceased to be a member in this run, by `clock.elapsed`. */
  leftAt(id: string): number | undefined {
    return this.#left.get(id);
  }

  /** @param now the name of a member; nothing when the node is none */
  #log(id: string, now: string | undefined): void {
    const { clock, log } = this.#parts;
    const before = this.#present.get(id);
    if (before === now) return;
    if (before) log.info(`${before} has left`, { id });
    if (now) {
      log.info(`${now} is here`, { id });
      this.#present.set(id, now);
      this.#left.delete(id);
    } else {
      this.#present.delete(id);
      this.#left.set(id, clock.elapsed());
      evictOldest(this.#left, MAX_RECORDS);
    }
  }
}
