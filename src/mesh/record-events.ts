/**
 * What comes of new records: who is learned of, whose space was taken back, and who came or left, for
 * the parts of this node that must know.
 */

import { evictOldest } from "../evict-oldest.js";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import type { CopyDetector } from "../gossip/copy-detector.js";
import { MAX_RECORDS, type Members } from "../gossip/members.js";
import type { OwnRecord } from "../gossip/own-record.js";
import type { PeerSelector } from "../gossip/peer-selector.js";
import type { NodeRecord } from "../gossip/record.js";
import { Revocations } from "../gossip/revocations.js";
import type { Leasing } from "../leasing/leasing.js";
import type { Log } from "../log.js";
import type { Paths } from "../paths/paths.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Clock } from "../time/clock.js";

/** Nodes of which is kept when something new was learned of them: those held, and those dropped. */
const MAX_LEARNED = 2 * MAX_RECORDS;

export interface RecordEventsParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly members: Members;
  readonly connections: ConnectionManager;
  readonly peerSelector: PeerSelector;
  readonly copyDetector: CopyDetector;
  readonly ownRecord: OwnRecord;
  readonly failureDetector: FailureDetector;
  readonly leasing: Leasing;
  readonly paths: Paths | undefined;
}

export class RecordEvents {
  readonly #parts: RecordEventsParts;
  readonly #revocations = new Revocations();
  /** When something new was last learned of a node, by its id, the longest ago first. */
  readonly #learned = new Map<string, number>();
  /** Names of the members of which the log has said that they are here, by id. */
  readonly #present = new Map<string, string>();
  /** When those that were members ceased to be, by id, the longest ago first. */
  readonly #left = new Map<string, number>();
  /** Ids of the members that came, changed or went, or packets for which go another way. */
  #changed = new Set<string>();

  constructor(parts: RecordEventsParts) {
    this.#parts = parts;
  }

  /** What others said of themselves; or this node did, before it lost its memory. */
  onRecords(records: readonly NodeRecord[]): void {
    const { clock, own, connections, copyDetector, failureDetector, peerSelector, ownRecord } =
      this.#parts;
    const others = records.filter(({ id }) => id !== own);
    for (const record of records) if (!others.includes(record)) ownRecord.onNewerOwnRecord(record);
    for (const record of others) {
      this.#noteLearned(record.id, clock.elapsed());
      copyDetector.onRecord(record);
      peerSelector.recovered(record.id);
      failureDetector.onRecord(record);
      connections.resetBackoff(record.mesh);
    }
    this.#applyRevocations(others);
  }

  /** What this node says of itself. */
  onPublished(record: NodeRecord): void {
    this.#applyRevocations([record]);
  }

  #noteLearned(id: string, at: number): void {
    this.#learned.delete(id);
    this.#learned.set(id, at);
    evictOldest(this.#learned, MAX_LEARNED);
  }

  /** When something new was last learned of this node, by this node's clock. */
  learnedAt(id: string): number | undefined {
    return this.#learned.get(id);
  }

  /** Puts aside what was taken back from its owner, and tells who seeks and gives space. */
  #applyRevocations(records: readonly NodeRecord[]): void {
    const { clock, own, members, leasing } = this.#parts;
    const takers = records.filter((record) => this.#revocations.merge(record));
    const below =
      takers.length > 0 ? members.grantedBy(new Set(takers.map(({ owner }) => owner))) : [];
    for (const record of [...records, ...below]) {
      if (record.id !== own && this.#revocations.coverAll(record)) {
        members.drop(record.id, clock.elapsed());
      }
    }
    leasing.onRecords(records, this.#revocations);
  }

  /** Says who came, changed or left to those who keep sessions and find paths, and to the log. */
  emitChanges(): void {
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

  /** The name that a member has now; nothing when it is none. */
  #log(id: string, now: string | undefined): void {
    const { log } = this.#parts;
    const before = this.#present.get(id);
    if (before === now) return;
    if (before) log.info(`${before} has left`, { id });
    if (now) log.info(`${now} is here`, { id });
    if (now) {
      this.#present.set(id, now);
      this.#left.delete(id);
    } else {
      this.#present.delete(id);
      this.#left.set(id, this.#parts.clock.elapsed());
      evictOldest(this.#left, MAX_RECORDS);
    }
  }

  /** When it ceased to be a member in this run, by `clock.elapsed`. */
  leftAt(id: string): number | undefined {
    return this.#left.get(id);
  }

  /** Packets for it go another way. */
  pathChanged(id: string): void {
    this.#changed.add(id);
  }

  /** Ids of those that came, changed, went or are elsewhere since this was asked last, and of those behind them. */
  takeChanged(): ReadonlySet<string> {
    this.emitChanges();
    const moved = this.#changed;
    this.#changed = new Set();
    for (const id of this.#parts.paths?.through(moved) ?? []) moved.add(id);
    return moved;
  }
}
