/**
 * How records travel: news at once to every neighbour, and now and then a
 * comparison with one of them, which finds what was lost on the way.
 */
import { WeftError } from "../error.js";
import type { Log } from "../log.js";
import type { MessageOf, Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { Budget } from "../time/budget.js";
import { Budgets } from "../time/budgets.js";
import { type Clock, every, oneOf } from "../time/clock.js";
import { MAX_RECORDS, type Members } from "./members.js";
import { type GossipMessage, gossipSpec, MAX_IDS, type Version } from "./messages.js";
import { Outbox, sendRecords, sendWord } from "./outbox.js";
import { type Envelope, isRenewal, type NodeRecord } from "./record.js";
import { ALL, type Range } from "./summary.js";

/** Milliseconds between two comparisons. */
export const COMPARE_EVERY = 10_000;
/** How often what nobody renewed is looked for, in milliseconds. */
export const EXPIRE_EVERY = 60_000;
/** How long a node waits for what it asked for before it asks another, in milliseconds. */
export const ASK_AGAIN = 600;
/** A set of so many records is listed rather than summed up: that takes no more bytes. */
export const FEW_RECORDS = 24;
/** What one peer may make this node send, at once and per second after that. */
export const SERVED = {
  records: { burst: 2 * MAX_RECORDS, rate: 64 },
  comparisons: { burst: 32, rate: 2 },
};

/**
 * Signatures that are verified of what one member sends that is others', and of what it sends of one
 * owner, itself among them. Those who are no members share what one has: anybody with the secret can
 * make up more of them.
 */
export const VERIFIED = {
  sender: { burst: 2 * MAX_RECORDS, rate: 128 },
  owner: { burst: 256, rate: 1 },
};
const STRANGERS = "strangers";

type GossipSession = Session<GossipMessage>;

export interface GossipParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly members: Members;
  sessions(): readonly GossipSession[];
  /** Called with what changed the set. */
  news(records: readonly NodeRecord[]): void;
  /** Whether a newer record of this node is waited for. */
  isAwaited(id: string): boolean;
  /** Called when records lapsed or were dropped, because nobody renewed them. */
  expired(): void;
}

export class Gossip implements Protocol<GossipMessage> {
  readonly spec = gossipSpec;
  readonly #parts: GossipParts;
  readonly #complaints: Budget;
  readonly #outbox: Outbox;
  /** What a peer may still ask for. */
  readonly #served: { readonly records: Budgets; readonly comparisons: Budgets };
  /** How many more signatures are verified. */
  readonly #verified: { readonly sender: Budgets; readonly owner: Budgets };
  /** Which version of whom was asked for, and when. */
  readonly #asked = new Map<string, number>();
  #cancels: (() => void)[] = [];

  constructor(parts: GossipParts) {
    this.#parts = parts;
    this.#complaints = new Budget(parts.clock, 1, 1 / 60);
    this.#served = {
      records: new Budgets(parts.clock, SERVED.records),
      comparisons: new Budgets(parts.clock, SERVED.comparisons),
    };
    this.#verified = {
      sender: new Budgets(parts.clock, VERIFIED.sender),
      owner: new Budgets(parts.clock, VERIFIED.owner),
    };
    this.#outbox = new Outbox(parts);
  }

  start(): void {
    const { clock } = this.#parts;
    this.#cancels = [
      every(clock, COMPARE_EVERY, () => this.#compareWithOne()),
      every(clock, EXPIRE_EVERY, () => this.#expire()),
    ];
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
    this.#outbox.flush();
  }

  /** Begins a comparison. */
  opened(session: GossipSession): void {
    session.send({ type: "digest", digest: this.#parts.members.digest });
  }

  /** Tells everyone what this node says of itself, at once; of a mere renewal they only hear. */
  publish(record: NodeRecord, isUrgent: boolean): void {
    this.#outbox.publish(record, isUrgent);
  }

  received(session: GossipSession, message: GossipMessage) {
    switch (message.type) {
      case "digest":
        return this.#compared(session, message.digest);
      case "branches":
        return this.#branched(session, message.branches);
      case "versions":
        return this.#fillGaps(session, message);
      case "heard":
        return this.heardOf(session, message.versions);
      case "ask":
        return this.#send(session, this.#held(message.ids));
      case "records":
        return this.#merge(session, message.records);
    }
  }

  /** A peer has spoken of versions that are not here: asks for them. */
  heardOf(session: GossipSession, versions: readonly Version[]): void {
    this.#heard(session, versions, { again: true });
  }

  /** Says which versions of these nodes are held here. */
  tell(session: GossipSession, ids: readonly string[]): void {
    sendWord(session, this.#held(ids));
  }

  // ---- comparing

  #compareWithOne(): void {
    const sessions = this.#parts.sessions();
    const one = oneOf(this.#parts.clock, sessions);
    if (one) this.opened(one);
  }

  #compared(session: GossipSession, digest: string) {
    const { members } = this.#parts;
    if (digest === members.digest || !this.#served.comparisons.of(session.peer.id).spend(1)) return;
    if (members.size <= FEW_RECORDS) this.#sendVersions(session, ALL);
    else session.send({ type: "branches", branches: members.branches });
  }

  #branched(session: GossipSession, branches: string): void {
    if (!this.#served.comparisons.of(session.peer.id).spend(1)) return;
    for (const range of this.#parts.members.differences(branches)) {
      this.#sendVersions(session, range);
    }
  }

  /** Pages that follow each other without a gap, from one end of the range to the other. */
  #sendVersions(session: GossipSession, range: Range): void {
    const all = this.#parts.members.within(range).map(({ id, version }): Version => [id, version]);
    let { after } = range;
    do {
      const versions = all.splice(0, MAX_IDS);
      const until = all.length > 0 ? versions.at(-1)![0] : range.until;
      session.send({ type: "versions", after, until, versions });
      after = until;
    } while (all.length > 0);
  }

  #fillGaps(
    session: GossipSession,
    { after, until, versions }: MessageOf<GossipMessage, "versions">,
  ): void {
    const { members } = this.#parts;
    const theirs = new Map(versions);
    const newerHere = members
      .within({ after, until })
      .filter(({ id, version }) => version > (theirs.get(id) ?? 0));
    // Who lacks it may be told the same by all its neighbours, and asks one of them.
    sendWord(session, this.#spend(session, newerHere));
    this.heardOf(session, versions);
  }

  /** Asks for what nobody was asked for yet; for the rest, once more, if it has not come by then. */
  #heard(
    session: GossipSession,
    versions: readonly Version[],
    { again }: { again: boolean },
  ): void {
    const { members, clock } = this.#parts;
    const now = clock.elapsed();
    for (const [id, version] of versions) this.#outbox.isKnown(session, id, version);
    const lacked = versions.filter(([id, version]) => members.lacks(id, version));
    const waits = ([id, version]: Version) =>
      now - (this.#asked.get(`${id} ${version}`) ?? Number.NEGATIVE_INFINITY) < ASK_AGAIN;
    const later = lacked.filter(waits);
    this.#ask(
      session,
      lacked.filter((pair) => !waits(pair)),
    );
    if (!again || later.length === 0) return;
    clock.after(ASK_AGAIN, () => this.#heard(session, later, { again: false }));
  }

  #ask(session: GossipSession, wanted: readonly Version[]) {
    if (wanted.length === 0) return;
    const now = this.#parts.clock.elapsed();
    for (const [key, at] of this.#asked) {
      if (now - at <= ASK_AGAIN && this.#asked.size < MAX_RECORDS) break;
      this.#asked.delete(key);
    }
    for (const [id, version] of wanted) this.#asked.set(`${id} ${version}`, now);
    session.send({ type: "ask", ids: wanted.map(([id]) => id) });
  }

  #held(ids: readonly string[]): NodeRecord[] {
    return [...new Set(ids)].flatMap((id) => this.#parts.members.get(id) ?? []);
  }

  /** What a peer asked for, as far as it may still ask. */
  #send(session: GossipSession, records: readonly NodeRecord[]): void {
    sendRecords(session, this.#spend(session, records));
  }

  #spend(session: GossipSession, records: readonly NodeRecord[]): NodeRecord[] {
    const budget = this.#served.records.of(session.peer.id);
    return records.filter(() => budget.spend(1));
  }

  // ---- merging

  #merge(session: GossipSession, envelopes: readonly Envelope[]): void {
    const { members } = this.#parts;
    const news: NodeRecord[] = [];
    let lie: WeftError | undefined;
    for (const envelope of envelopes) {
      const held = members.of(envelope.owner);
      const result = this.#opened(session, envelope);
      if (result instanceof WeftError) {
        lie = result;
        break;
      }
      if (result) {
        news.push(result);
        this.#outbox.pass(result, !this.#canWait(held, result), session);
      } else {
        if (held) this.#outbox.isKnown(session, held.id, envelope.version);
        this.#remind(session, envelope);
      }
    }
    if (news.length > 0) this.#parts.news(news);
    if (!lie) return;
    if (this.#complaints.spend(1)) {
      this.#parts.log.warn(`from ${session.remote}: ${lie.message}`, { remedy: lie.remedy });
    }
    if (lie.code !== "MEMBERS_FULL") session.close(lie);
  }

  /** As `merge`. What is not opened now, since there was too much, is found again by a comparison. */
  #opened(session: GossipSession, envelope: Envelope): NodeRecord | WeftError | undefined {
    const { members } = this.#parts;
    const { id, publicKey } = session.peer;
    const { sender, owner } = this.#verified;
    // Of what is not opened nothing is written down: it costs nobody anything to make up.
    if (!members.isNews(envelope)) return undefined;
    const isOwn = envelope.owner === publicKey;
    const ofOthers = isOwn ? undefined : sender.of(members.get(id) ? id : STRANGERS);
    if (ofOthers?.isOverdrawn) return undefined;
    // An old record can be sent by anybody: that must not keep a new one of its owner out.
    const ofOwner = owner.of(`${id} ${envelope.owner}`);
    if (ofOwner.isOverdrawn) return undefined;
    const before = members.verified;
    const result = members.merge(envelope);
    const work = members.verified - before;
    ofOthers?.charge(work);
    ofOwner.charge(work);
    return result;
  }

  #canWait(held: NodeRecord | undefined, record: NodeRecord): boolean {
    return held !== undefined && isRenewal(held, record) && !this.#parts.isAwaited(record.id);
  }

  /** An owner that comes back with less than was dropped of it must know, to go on above that. */
  #remind(session: GossipSession, { owner }: Envelope): void {
    if (session.peer.publicKey !== owner) return;
    const dropped = this.#parts.members.dropped(session.peer.id);
    if (dropped) this.#send(session, [dropped]);
  }

  #expire(): void {
    const { members, clock } = this.#parts;
    const { lapsed, dropped } = members.expire(clock.elapsed());
    if (lapsed.length + dropped.length > 0) this.#parts.expired();
  }
}
