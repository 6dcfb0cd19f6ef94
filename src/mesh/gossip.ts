/**
 * How records travel: news at once to every neighbour, and now and then a
 * comparison with one of them, which finds what was lost on the way.
 */
import { WeftError } from "../error.js";
import { Budget } from "./budget.js";
import { type Clock, every } from "./clock.js";
import type { Log } from "./log.js";
import type { Members } from "./members.js";
import { MAX_IDS, MAX_MESSAGE_BYTES, MAX_RECORDS_IN_MESSAGE, type MessageOf } from "./message.js";
import type { NodeRecord } from "./record.js";
import type { Session } from "./session.js";

/** Milliseconds between two comparisons. */
export const COMPARE_EVERY = 10_000;

export type GossipMessage = MessageOf<"digest" | "versions" | "ask" | "records">;

export interface GossipParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly members: Members;
  sessions(): readonly Session[];
  /** Called with what changed the set. */
  news(records: readonly NodeRecord[]): void;
}

export class Gossip {
  readonly #parts: GossipParts;
  readonly #complaints: Budget;
  #cancel: (() => void) | undefined;

  constructor(parts: GossipParts) {
    this.#parts = parts;
    this.#complaints = new Budget(parts.clock, 1, 1 / 60);
  }

  start(): void {
    this.#cancel = every(this.#parts.clock, COMPARE_EVERY, () => this.#compareWithOne());
  }

  stop(): void {
    this.#cancel?.();
  }

  /** Begins a comparison. */
  compare(session: Session) {
    session.send({ type: "digest", digest: this.#parts.members.digest });
  }

  /** Sends news on, to everyone but the one it came from. */
  spread(records: readonly NodeRecord[], from?: Session) {
    for (const session of this.#parts.sessions())
      if (session !== from) sendRecords(session, records);
  }

  received(session: Session, message: GossipMessage) {
    switch (message.type) {
      case "digest":
        if (message.digest !== this.#parts.members.digest) this.#sendVersions(session);
        return;
      case "versions":
        return this.#fillGaps(session, message);
      case "ask":
        return sendRecords(
          session,
          message.ids.flatMap((id) => this.#parts.members.get(id) ?? []),
        );
      case "records":
        return this.#merge(session, message.records);
    }
  }

  #compareWithOne(): void {
    const sessions = this.#parts.sessions();
    const one = sessions[Math.floor(this.#parts.clock.random() * sessions.length)];
    if (one) this.compare(one);
  }

  /** Pages that follow each other without a gap, from the open beginning to the open end. */
  #sendVersions(session: Session): void {
    const all = this.#parts.members
      .sorted()
      .map(([id, { version }]) => [id, version] as [string, number]);
    let after = "";
    do {
      const versions = all.splice(0, MAX_IDS);
      const until = all.length > 0 ? versions.at(-1)![0] : "";
      session.send({ type: "versions", after, until, versions });
      after = until;
    } while (after !== "");
  }

  #fillGaps(session: Session, { after, until, versions }: MessageOf<"versions">): void {
    const { members } = this.#parts;
    const theirs = new Map(versions);
    const inPage = members.sorted().filter(([id]) => id > after && (until === "" || id <= until));
    const newerHere = inPage.filter(([id, { version }]) => version > (theirs.get(id) ?? 0));
    sendRecords(
      session,
      newerHere.map(([, record]) => record),
    );
    const ids = versions
      .filter(([id, version]) => version > (members.get(id)?.version ?? 0))
      .map(([id]) => id);
    if (ids.length > 0) session.send({ type: "ask", ids });
  }

  #merge(session: Session, records: readonly NodeRecord[]): void {
    const news: NodeRecord[] = [];
    let lie: WeftError | undefined;
    for (const record of records) {
      const result = this.#parts.members.merge(record);
      if (result instanceof WeftError) lie = result;
      else if (result) news.push(result);
      if (lie) break;
    }
    if (news.length > 0) {
      this.spread(news, session);
      this.#parts.news(news);
    }
    if (!lie) return;
    if (this.#complaints.spend(1)) {
      this.#parts.log.warn(`from ${session.remote}: ${lie.message}`, { remedy: lie.remedy });
    }
    if (lie.code !== "MEMBERS_FULL") session.close(lie);
  }
}

/** In as many messages as their size needs. */
function sendRecords(session: Session, records: readonly NodeRecord[]): void {
  const room = MAX_MESSAGE_BYTES - 100;
  let batch: NodeRecord[] = [];
  let bytes = 0;
  const flush = () => {
    if (batch.length > 0) session.send({ type: "records", records: batch });
    batch = [];
    bytes = 0;
  };
  for (const record of records) {
    const size = JSON.stringify(record).length + 1;
    if (bytes + size > room || batch.length === MAX_RECORDS_IN_MESSAGE) flush();
    batch.push(record);
    bytes += size;
  }
  flush();
}
