/**
 * How records travel: news at once to every neighbour, and now and then a
 * comparison with one of them, which finds what was lost on the way.
 */
import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import { evictOldest } from "../evict-oldest.js";
import { nodeId } from "../identity/identity.js";
import type { Log } from "../log.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, every, randomOf } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { AnyRecord, AttachedRecord } from "./attached-record.js";
import { announce, BroadcastQueue, sendRecords, versionOf } from "./broadcast-queue.js";
import { ALL, type Range } from "./digest-tree.js";
import { MAX_RECORDS, type Members } from "./members.js";
import {
  type GossipMessage,
  gossipSpec,
  MAX_IDS,
  type RecordKey,
  type Version,
} from "./messages.js";
import { type Envelope, isNodeRecord, isRenewal, type NodeRecord } from "./record.js";
import { NODE } from "./record-kind.js";

/** Milliseconds between two comparisons. */
export const ANTI_ENTROPY_EVERY = 10_000;
/** Time between two searches for records that were not renewed, in milliseconds. */
export const EXPIRE_EVERY = 60_000;
/** Time for a wanted record to arrive before another neighbour is asked, in milliseconds. */
export const WANT_AGAIN_AFTER = 600;
/** A set of up to this many records is listed in place of its buckets: that takes no more bytes. */
export const MAX_LISTED_RECORDS = 24;
/**
 * Limits on the records and comparisons that one peer makes this node send: at once, and per second
 * after that. A newcomer gets two records of each owner, each first announced and then sent.
 */
export const SERVE_LIMITS = {
  records: { burst: 4 * MAX_RECORDS, rate: 64 },
  comparisons: { burst: 32, rate: 2 },
};

/**
 * Limits on the signatures that are verified: in records that one member sends of other owners, and in
 * those that one peer sends of one owner. Peers that are not members share the limit of one member,
 * because every holder of the secret can make up more of them.
 */
export const VERIFY_LIMITS = {
  sender: { burst: 2 * MAX_RECORDS, rate: 128 },
  owner: { burst: 256, rate: 1 },
};
const NON_MEMBERS = "strangers";

type GossipSession = Session<GossipMessage>;

export interface GossipParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly members: Members;
  readonly connections: Sessions<GossipMessage>;
}

export interface GossipEvents {
  /** These node records came and changed the set. */
  records: [records: readonly NodeRecord[]];
  /** These attached records came and changed the set. */
  attached: [records: readonly AttachedRecord[]];
  /** Records lapsed or were dropped, because they were not renewed. */
  expired: [];
}

/** Nodes of which the time of the last new record is kept: those held, and those dropped. */
const MAX_HEARD = 2 * MAX_RECORDS;

export class Gossip extends EventEmitter<GossipEvents> implements Protocol<GossipMessage> {
  readonly spec = gossipSpec;
  /** Ids of nodes of which a newer record is awaited: it is passed on at once. */
  readonly awaited = new Set<string>();
  readonly #parts: GossipParts;
  readonly #warnings: TokenBucket;
  readonly #queue: BroadcastQueue;
  /** The limits of `SERVE_LIMITS`, by peer. */
  readonly #serveLimits: {
    readonly records: KeyedRateLimiter;
    readonly comparisons: KeyedRateLimiter;
  };
  /** The limits of `VERIFY_LIMITS`, by peer and by owner. */
  readonly #verifyLimits: { readonly sender: KeyedRateLimiter; readonly owner: KeyedRateLimiter };
  /** When each version was asked for, by id, kind and version. */
  readonly #wanted = new Map<string, number>();
  /** When a new record of a node came last, by its id, the longest ago first. */
  readonly #heard = new Map<string, number>();
  #cancels: (() => void)[] = [];

  constructor(parts: GossipParts) {
    super();
    this.#parts = parts;
    this.#warnings = new TokenBucket(parts.clock, 1, 1 / 60);
    this.#serveLimits = {
      records: new KeyedRateLimiter(parts.clock, SERVE_LIMITS.records),
      comparisons: new KeyedRateLimiter(parts.clock, SERVE_LIMITS.comparisons),
    };
    this.#verifyLimits = {
      sender: new KeyedRateLimiter(parts.clock, VERIFY_LIMITS.sender),
      owner: new KeyedRateLimiter(parts.clock, VERIFY_LIMITS.owner),
    };
    this.#queue = new BroadcastQueue(parts);
  }

  start(): void {
    const { clock } = this.#parts;
    this.#cancels = [
      every(clock, ANTI_ENTROPY_EVERY, () => this.#compareWithRandomPeer()),
      every(clock, EXPIRE_EVERY, () => this.#expire()),
    ];
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
    this.#queue.flush();
  }

  /** Begins a comparison. */
  opened(session: GossipSession): void {
    session.send({ type: "digest", digest: this.#parts.members.digest });
  }

  /** Tells everyone what this node says of itself, at once; of a mere renewal they only hear. */
  publish(record: AnyRecord, isUrgent: boolean): void {
    this.#queue.publish(record, isUrgent);
  }

  received(session: GossipSession, message: GossipMessage) {
    switch (message.type) {
      case "digest":
        return this.#onDigest(session, message.digest);
      case "buckets":
        return this.#onBuckets(session, message.buckets);
      case "versions":
        return this.#onVersions(session, message);
      case "have":
        return this.wantMissing(session, message.versions);
      case "want":
        return this.#send(session, this.#heldRecords(message.keys));
      case "records":
        return this.#merge(session, message.records);
    }
  }

  /** A peer has spoken of versions that are not here: asks for them. */
  wantMissing(session: Session, versions: readonly Version[]): void {
    this.#want(session, versions, { again: true });
  }

  /** Announces which versions of these nodes' own records are held here. */
  announceHeld(session: Session, ids: readonly string[]): void {
    announce(session, this.#heldRecords(ids.map((id) => [id, NODE])));
  }

  /** When a new record of this node came last, by `clock.elapsed`. */
  heardAt(id: string): number | undefined {
    return this.#heard.get(id);
  }

  // ---- comparing

  #compareWithRandomPeer(): void {
    const sessions = this.#parts.connections.sessions();
    const one = randomOf(this.#parts.clock, sessions);
    if (one) this.opened(one);
  }

  #onDigest(session: GossipSession, digest: string) {
    const { members } = this.#parts;
    if (digest === members.digest || !this.#serveLimits.comparisons.of(session.peer.id).spend(1))
      return;
    if (members.records <= MAX_LISTED_RECORDS) this.#sendVersions(session, ALL);
    else session.send({ type: "buckets", buckets: members.buckets });
  }

  #onBuckets(session: GossipSession, buckets: string): void {
    if (!this.#serveLimits.comparisons.of(session.peer.id).spend(1)) return;
    for (const range of this.#parts.members.differences(buckets)) {
      this.#sendVersions(session, range);
    }
  }

  /** Pages that follow each other without a gap, from one end of the range to the other; no two with one owner. */
  #sendVersions(session: GossipSession, range: Range): void {
    const all = Array.from(this.#parts.members.inRange(range), versionOf);
    let { after } = range;
    do {
      const versions = all.splice(0, MAX_IDS);
      while (all[0] && all[0][0] === versions.at(-1)![0]) all.unshift(versions.pop()!);
      const until = all.length > 0 ? versions.at(-1)![0] : range.until;
      session.send({ type: "versions", after, until, versions });
      after = until;
    } while (all.length > 0);
  }

  #onVersions(
    session: GossipSession,
    { after, until, versions }: MessageOf<GossipMessage, "versions">,
  ): void {
    const theirs = new Map(versions.map(([id, kind, version]) => [`${id} ${kind}`, version]));
    const limit = this.#serveLimits.records.of(session.peer.id);
    const newerHere: AnyRecord[] = [];
    for (const record of this.#parts.members.inRange({ after, until })) {
      const { id, kind, version } = record;
      if (version <= (theirs.get(`${id} ${kind}`) ?? 0)) continue;
      // A page may list nothing and cover everything: the search ends with the tokens.
      if (!limit.spend(1)) break;
      newerHere.push(record);
    }
    // All neighbours of a node may announce the same record to it; it then wants it from one.
    announce(session, newerHere);
    this.wantMissing(session, versions);
  }

  /** Asks for what nobody was asked for yet; for the rest, once more, if it has not come by then. */
  #want(session: GossipSession, versions: readonly Version[], { again }: { again: boolean }): void {
    const { members, clock } = this.#parts;
    const now = clock.elapsed();
    for (const version of versions) this.#queue.markKnown(session, version);
    const lacked = versions.filter((version) => members.lacks(version));
    const waits = (version: Version) =>
      now - (this.#wanted.get(version.join()) ?? Number.NEGATIVE_INFINITY) < WANT_AGAIN_AFTER;
    const later = lacked.filter(waits);
    this.#sendWant(
      session,
      lacked.filter((version) => !waits(version)),
    );
    if (!again || later.length === 0) return;
    clock.after(WANT_AGAIN_AFTER, () => this.#want(session, later, { again: false }));
  }

  #sendWant(session: GossipSession, wanted: readonly Version[]) {
    if (wanted.length === 0) return;
    const now = this.#parts.clock.elapsed();
    for (const [key, at] of this.#wanted) {
      if (now - at <= WANT_AGAIN_AFTER && this.#wanted.size < MAX_RECORDS) break;
      this.#wanted.delete(key);
    }
    for (const version of wanted) this.#wanted.set(version.join(), now);
    session.send({ type: "want", keys: wanted.map(([id, kind]): RecordKey => [id, kind]) });
  }

  #heldRecords(keys: readonly RecordKey[]): AnyRecord[] {
    return [...new Set(keys.flatMap((key) => this.#parts.members.record(key) ?? []))];
  }

  /** Sends the records that a peer wants, as far as its limit reaches. */
  #send(session: GossipSession, records: readonly AnyRecord[]): void {
    sendRecords(session, this.#withinLimit(session, records));
  }

  #withinLimit(session: GossipSession, records: readonly AnyRecord[]): AnyRecord[] {
    const budget = this.#serveLimits.records.of(session.peer.id);
    return records.filter(() => budget.spend(1));
  }

  // ---- merging

  #merge(session: GossipSession, envelopes: readonly Envelope[]): void {
    const { members } = this.#parts;
    const merged: AnyRecord[] = [];
    const lacked: Version[] = [];
    let lie: WeftError | undefined;
    for (const envelope of envelopes) {
      const held = members.byPublicKey(envelope.owner);
      const result = this.#mergeWithinLimit(session, envelope);
      if (result instanceof WeftError) {
        this.#warn(session, result);
        if (result.code === "ATTACHED_FULL" || isPassedOn(session, envelope, result)) continue;
        lie = result;
        break;
      }
      if (result) {
        merged.push(result);
        this.#queue.forward(result, this.#isUrgent(result, held), session);
      } else {
        lacked.push(...this.#onOld(session, envelope, held));
      }
    }
    this.wantMissing(session, lacked);
    if (merged.length > 0) this.#onMerged(merged);
    if (lie && lie.code !== "MEMBERS_FULL") session.close(lie);
  }

  #warn(session: GossipSession, { message, remedy }: WeftError): void {
    if (this.#warnings.spend(1)) {
      this.#parts.log.warn(`from ${session.remote}: ${message}`, { remedy });
    }
  }

  /**
   * A record came that is no update: the peer has it already, or it came before the node record of its owner.
   * @returns what to ask for
   */
  #onOld(session: GossipSession, envelope: Envelope, held: NodeRecord | undefined): Version[] {
    const { kind, version } = envelope;
    this.#returnDropped(session, envelope);
    if (held) this.#queue.markKnown(session, [held.id, kind, version]);
    if (held || kind === NODE) return [];
    const id = nodeId(envelope.owner);
    return [
      [id, NODE, 1],
      [id, kind, version],
    ];
  }

  #onMerged(records: readonly AnyRecord[]): void {
    const now = this.#parts.clock.elapsed();
    const nodes = records.filter(isNodeRecord);
    for (const { id } of nodes) {
      this.#heard.delete(id);
      this.#heard.set(id, now);
    }
    evictOldest(this.#heard, MAX_HEARD);
    if (nodes.length > 0) this.emit("records", nodes);
    const attached = records.filter((record) => "content" in record);
    if (attached.length > 0) this.emit("attached", attached);
  }

  /** As `merge`. A record beyond the limits is not opened; a later comparison finds it again. */
  #mergeWithinLimit(session: GossipSession, envelope: Envelope): AnyRecord | WeftError | undefined {
    const { members } = this.#parts;
    const { id, publicKey } = session.peer;
    const { sender, owner } = this.#verifyLimits;
    // Of what is not opened nothing is written down: it costs nobody anything to make up.
    if (!members.isUpdate(envelope)) return undefined;
    const isOwn = envelope.owner === publicKey;
    const ofOthers = isOwn ? undefined : sender.of(members.has(id) ? id : NON_MEMBERS);
    if (ofOthers?.inDebt) return undefined;
    // An old record can be sent by anybody: that must not keep a new one of its owner out.
    const ofOwner = owner.of(`${id} ${envelope.owner}`);
    if (ofOwner.inDebt) return undefined;
    const before = members.signaturesVerified;
    const result = members.merge(envelope);
    const work = members.signaturesVerified - before;
    ofOthers?.debit(work);
    ofOwner.debit(work);
    return result;
  }

  /** Whether some neighbours are sent it in full. `held`: the node record of its owner until now. */
  #isUrgent(record: AnyRecord, held: NodeRecord | undefined): boolean {
    if (!isNodeRecord(record)) return record.isUrgent;
    return !held || !isRenewal(held, record) || this.awaited.has(record.id);
  }

  /** An owner that comes back with less than was dropped of it must know, to go on above that. */
  #returnDropped(session: GossipSession, { owner }: Envelope): void {
    if (session.peer.publicKey !== owner) return;
    const dropped = this.#parts.members.dropped(session.peer.id);
    if (dropped) this.#send(session, [dropped]);
  }

  #expire(): void {
    const { members, clock } = this.#parts;
    const { lapsed, dropped } = members.expire(clock.elapsed());
    if (lapsed.length + dropped.length > 0) this.emit("expired");
  }
}

/** A neighbour that does not know the kind of a record passes it on in good faith, whatever is in it. */
const isPassedOn = ({ peer }: GossipSession, { owner }: Envelope, { code }: WeftError): boolean =>
  code === "RECORD_MALFORMED" && peer.publicKey !== owner;
