/**
 * What comes of new records: who is learned of, whose space was taken back, and who came or left, for
 * the parts of this node that must know.
 */

import type { Liveness } from "../failure-detector/liveness.js";
import type { Copies } from "../gossip/copies.js";
import { MAX_RECORDS, type Members } from "../gossip/members.js";
import type { Neighbourhood } from "../gossip/neighbourhood.js";
import type { OwnRecord } from "../gossip/own-record.js";
import type { NodeRecord } from "../gossip/record.js";
import { Takings } from "../gossip/takings.js";
import type { Leasing } from "../leasing/leasing.js";
import type { Log } from "../log.js";
import { dropOldest } from "../oldest.js";
import type { Paths } from "../paths/paths.js";
import type { Links } from "../session/links.js";
import type { Clock } from "../time/clock.js";

/** Nodes of which is kept when something new was learned of them: those held, and those dropped. */
const MAX_LEARNED = 2 * MAX_RECORDS;

export interface NewsParts {
  readonly clock: Clock;
  readonly log: Log;
  /** This node's id. */
  readonly own: string;
  readonly members: Members;
  readonly links: Links;
  readonly neighbourhood: Neighbourhood;
  readonly copies: Copies;
  readonly ownRecord: OwnRecord;
  readonly liveness: Liveness;
  readonly leasing: Leasing;
  readonly paths: Paths | undefined;
}

export class News {
  readonly #parts: NewsParts;
  readonly #takings = new Takings();
  /** When something new was last learned of a node, by its id, the longest ago first. */
  readonly #learned = new Map<string, number>();
  /** Names of the members of which the log has said that they are here, by id. */
  readonly #present = new Map<string, string>();
  /** When those that were members ceased to be, by id, the longest ago first. */
  readonly #left = new Map<string, number>();
  /** Ids of the members that came, changed or went, or packets for which go another way. */
  #moved = new Set<string>();

  constructor(parts: NewsParts) {
    this.#parts = parts;
  }

  /** What others said of themselves; or this node did, before it lost its memory. */
  came(records: readonly NodeRecord[]): void {
    const { clock, own, links, copies, liveness, neighbourhood, ownRecord } = this.#parts;
    const others = records.filter(({ id }) => id !== own);
    for (const record of records) if (!others.includes(record)) ownRecord.heard(record);
    for (const record of others) {
      this.#learn(record.id, clock.elapsed());
      copies.onRecord(record);
      neighbourhood.isBack(record.id);
      liveness.news(record);
      links.hasNews(record.mesh);
    }
    this.#heed(others);
  }

  /** What this node says of itself. */
  said(record: NodeRecord): void {
    this.#heed([record]);
  }

  #learn(id: string, at: number): void {
    this.#learned.delete(id);
    this.#learned.set(id, at);
    dropOldest(this.#learned, MAX_LEARNED);
  }

  /** When something new was last learned of this node, by this node's clock. */
  learnedAt(id: string): number | undefined {
    return this.#learned.get(id);
  }

  /** Puts aside what was taken back from its owner, and tells who seeks and gives space. */
  #heed(records: readonly NodeRecord[]): void {
    const { clock, own, members, leasing } = this.#parts;
    const takers = records.filter((record) => this.#takings.learned(record));
    const below = takers.length > 0 ? members.below(new Set(takers.map(({ owner }) => owner))) : [];
    for (const record of [...records, ...below]) {
      if (record.id !== own && this.#takings.areAll(record)) {
        members.drop(record.id, clock.elapsed());
      }
    }
    leasing.learned(records, this.#takings);
  }

  /** Says who came, changed or left to those who keep sessions and find paths, and to the log. */
  passOn(): void {
    const { own, members, neighbourhood, paths } = this.#parts;
    for (const id of members.takeTouched()) {
      const record = members.get(id);
      neighbourhood.set(id, record && members.view.mayDial(record) ? record : undefined);
      const member = id === own ? undefined : members.view.members.get(id);
      paths?.follow(id, member);
      this.#log(id, member?.name);
      this.#moved.add(id);
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
      dropOldest(this.#left, MAX_RECORDS);
    }
  }

  /** When it ceased to be a member in this run, by `clock.elapsed`. */
  leftAt(id: string): number | undefined {
    return this.#left.get(id);
  }

  /** Packets for it go another way. */
  isElsewhere(id: string): void {
    this.#moved.add(id);
  }

  /** Ids of those that came, changed, went or are elsewhere since this was asked last, and of those behind them. */
  takeMoved(): ReadonlySet<string> {
    this.passOn();
    const moved = this.#moved;
    this.#moved = new Set();
    for (const id of this.#parts.paths?.through(moved) ?? []) moved.add(id);
    return moved;
  }
}
