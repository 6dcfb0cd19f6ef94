/**
 * Updates on their way to the neighbours. Updates of one moment travel together, and not to a neighbour
 * that has announced the same version meanwhile. In a burst, as when a whole cluster comes up, they are
 * only announced, so that each record is carried to each node once.
 */

import { MAX_MESSAGE_BYTES } from "../session/messages.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import { type GossipMessage, MAX_IDS, MAX_RECORDS_IN_MESSAGE, type Version } from "./messages.js";
import type { Envelope, SignedRecord } from "./record.js";

/** How long an update of another owner waits for more, in milliseconds; the second in a burst. */
export const BATCH_DELAY = 20;
export const BUSY_BATCH_DELAY = 250;
/** More updates of other owners than this, at once and per second after that, are a burst. */
export const EAGER_LIMIT = { burst: 32, rate: 8 };
/** Neighbours that get an update in full; to the others it is announced, and they want it if they lack it. */
export const EAGER_FANOUT = 6;

type GossipSession = Session<GossipMessage>;

export interface BroadcastQueueParts {
  readonly clock: Clock;
  readonly connections: Sessions<GossipMessage>;
}

interface Entry {
  readonly record: SignedRecord;
  /** Whether it goes in full to some neighbours. Else it is announced to all. */
  readonly isUrgent: boolean;
  /** Neighbours that have it. */
  readonly holders: Set<GossipSession>;
}

export class BroadcastQueue {
  readonly #parts: BroadcastQueueParts;
  readonly #entries = new Map<string, Entry>();
  readonly #eager: TokenBucket;
  #cancel: (() => void) | undefined;

  constructor(parts: BroadcastQueueParts) {
    this.#parts = parts;
    this.#eager = new TokenBucket(parts.clock, EAGER_LIMIT.burst, EAGER_LIMIT.rate);
  }

  /** Sends a record of this node to all neighbours, now. */
  publish(record: SignedRecord, isUrgent: boolean): void {
    this.#add(record, isUrgent);
    this.flush();
  }

  /** Passes on to the others a record that came from one. */
  forward(record: SignedRecord, isUrgent: boolean, from: GossipSession): void {
    const isBusy = !this.#eager.spend(1);
    this.#add(record, isUrgent && !isBusy, from);
    this.#cancel ??= this.#parts.clock.after(isBusy ? BUSY_BATCH_DELAY : BATCH_DELAY, () =>
      this.flush(),
    );
  }

  #add(record: SignedRecord, isUrgent: boolean, from?: GossipSession): void {
    // A mere renewal of news that nobody was told yet is that news.
    const key = `${record.id} ${record.kind}`;
    const urgent = isUrgent || this.#entries.get(key)?.isUrgent === true;
    this.#entries.set(key, { record, isUrgent: urgent, holders: new Set(from && [from]) });
  }

  /** This neighbour has this version, or a newer one. */
  markKnown(session: GossipSession, [id, kind, version]: Version): void {
    if (this.#entries.size === 0) return;
    const entry = this.#entries.get(`${id} ${kind}`);
    if (entry && version >= entry.record.version) entry.holders.add(session);
  }

  /** Everything goes now. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    const sessions = this.#rotatedSessions();
    const pushed = new Map<Entry, number>();
    for (const session of sessions) {
      const lacking = entries.filter(({ holders }) => !holders.has(session));
      const full = lacking.filter(
        (entry) => entry.isUrgent && (pushed.get(entry) ?? 0) < EAGER_FANOUT,
      );
      for (const entry of full) pushed.set(entry, (pushed.get(entry) ?? 0) + 1);
      const announced = lacking.filter((entry) => !full.includes(entry));
      sendRecords(
        session,
        full.map(({ record }) => record),
      );
      announce(
        session,
        announced.map(({ record }) => record),
      );
    }
  }

  /** The sessions, beginning with any one. */
  #rotatedSessions(): readonly GossipSession[] {
    const sessions = this.#parts.connections.sessions();
    const first = Math.floor(this.#parts.clock.random() * sessions.length);
    return [...sessions.slice(first), ...sessions.slice(0, first)];
  }
}

export const versionOf = ({ id, kind, version }: SignedRecord): Version => [id, kind, version];

/** Announces records. A neighbour that lacks one sends `want`. */
export function announce(session: GossipSession, records: readonly SignedRecord[]): void {
  for (let n = 0; n < records.length; n += MAX_IDS) {
    const some = records.slice(n, n + MAX_IDS);
    session.send({ type: "have", versions: some.map(versionOf) });
  }
}

/** Sends records in as many messages as their size needs. */
export function sendRecords(session: GossipSession, records: readonly SignedRecord[]): void {
  const room = MAX_MESSAGE_BYTES - 100;
  let batch: Envelope[] = [];
  let size = 0;
  const flush = () => {
    if (batch.length > 0) session.send({ type: "records", records: batch });
    batch = [];
    size = 0;
  };
  for (const { envelope, bytes } of records) {
    if (size + bytes + 1 > room || batch.length === MAX_RECORDS_IN_MESSAGE) flush();
    batch.push(envelope);
    size += bytes + 1;
  }
  flush();
}
