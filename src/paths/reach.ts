/**
 * How one member is reached: the ways to it, and the best of those that work.
 * Straight to its own endpoint is best, then to where its probes come from,
 * then through the fewest others; of equals the one that is in use.
 */

import type { NodeRecord } from "../gossip/record.js";
import { Budget } from "../time/budget.js";
import type { Clock } from "../time/clock.js";
import { PROOF_LASTS, Senders } from "./senders.js";
import { type Took, Way } from "./way.js";

/** Endpoints kept that are not the record's, and neighbours that offer a path. */
export const MAX_LEARNED = 2;
export const MAX_VIAS = 8;
/** Offered paths that are tried at the same time. */
export const MAX_TRIED = 3;
/** An offered path that failed is tried again after so long, and an offer that is not repeated is over. Milliseconds. */
export const REST = 30_000;
export const OFFER_LASTS = 75_000;
/** A member that answered nothing for so long counts as unreachable; one that answered within this time lives. Milliseconds. */
export const SILENT_FOR = 12_000;
/**
 * Probes of one member that are verified at once, and each second after that: from its own and its
 * relays' known endpoints, and from others.
 */
export const PROBES = { burst: 256, perSecond: 64 };
export const ELSEWHERE = { burst: 32, perSecond: 8 };
/**
 * Probes sent to one member at once, and each second after that, because it moved, restarted, or
 * was heard elsewhere.
 */
export const PROMPTS = { burst: 8, perSecond: 2 };

export const LATELY = 10_000;

/** What the probes of a member say; nothing while none was sent. */
export type Answering = "lately" | "before" | "not yet" | "no" | undefined;

export class Reach {
  readonly senders = new Senders();
  readonly probes: Budget;
  readonly elsewhere: Budget;
  readonly prompts: Budget;
  /** The best way that works. */
  used: Way | undefined;
  /** When packets went to it last, and when it was probed last. */
  busyAt: number | undefined;
  probedAt: number | undefined;
  /** When it answered a probe last, and when it made itself heard last: that, or a probe of its own. */
  answeredAt: number | undefined;
  heardAt: number | undefined;
  /** Since when it says in its probes and replies that it has no mesh session, by `clock.elapsed`. */
  aloneSince: number | undefined;
  #own: Way;
  /** The way to the endpoint of its last direct probe, if that is not its own endpoint. */
  #elsewhere: Way | undefined;
  readonly #learned = new Map<string, Way>();
  readonly #vias = new Map<string, Way>();
  #firstProbedAt: number | undefined;

  constructor(
    public record: NodeRecord,
    clock: Clock,
  ) {
    this.probes = new Budget(clock, PROBES.burst, PROBES.perSecond);
    this.elsewhere = new Budget(clock, ELSEWHERE.burst, ELSEWHERE.perSecond);
    this.prompts = new Budget(clock, PROMPTS.burst, PROMPTS.perSecond);
    this.#own = own(record);
  }

  get id(): string {
    return this.record.id;
  }

  get name(): string {
    return this.record.name;
  }

  /** Takes a newer record. True when it names another endpoint or another run. */
  follow(record: NodeRecord): boolean {
    const { vtep, epoch } = this.record;
    const [hasMoved, hasRestarted] = [record.vtep !== vtep, record.epoch !== epoch];
    this.record = record;
    if (hasMoved) this.#own = own(record);
    // Probes under way name the earlier run, which will not answer.
    if (hasRestarted) for (const way of this.#ways()) way.lead({ ...way.course });
    return hasMoved || hasRestarted;
  }

  *#ways(): Generator<Way> {
    yield this.#own;
    yield* this.#learned.values();
    yield* this.#vias.values();
  }

  /** It was dead and lives: what failed meanwhile says nothing of its own endpoint. */
  lives(): void {
    if (this.#own.failures > 0) this.#own = own(this.record);
  }

  /**
   * A probe came straight from this endpoint. Gives the way to the endpoint when the member must
   * prove by an answer that it is there: it has not yet, or not lately.
   */
  heardFrom(endpoint: string, now: number): Way | undefined {
    const isOwn = endpoint === this.record.vtep;
    const way = isOwn ? this.#own : (this.#learned.get(endpoint) ?? this.#learn(endpoint, now));
    way.mentionedAt = now;
    this.#elsewhere = isOwn ? undefined : way;
    const isStale = !isOwn && now - (way.answeredAt ?? now) > PROOF_LASTS / 2;
    return !way.works || isStale ? way : undefined;
  }

  /** A neighbour has this path, or none any more. True when that is news. */
  offered(neighbour: string, path: readonly string[] | undefined, now: number): boolean {
    if (!path) return this.#vias.delete(neighbour);
    const known = this.#vias.get(neighbour);
    if (!known && !this.#hasRoomFor(path)) return false;
    const course = { kind: "via", neighbour, path } as const;
    if (!known) {
      this.#vias.set(neighbour, new Way(course, now));
      return true;
    }
    const isSame = known.course.kind === "via" && known.course.path.join() === path.join();
    known.mentionedAt = now;
    if (isSame) return false;
    if (known.hasFailed) this.#vias.set(neighbour, new Way(course, now));
    else known.lead(course);
    return true;
  }

  /** It has said in a probe or a reply whether it has a mesh session. */
  saidAlone(isAlone: boolean, now: number): void {
    this.aloneSince = isAlone ? (this.aloneSince ?? now) : undefined;
  }

  offers(neighbour: string): boolean {
    return this.#vias.has(neighbour);
  }

  /** Drops what nobody has spoken of for too long; true when there was something. */
  expire(now: number): boolean {
    const before = this.#learned.size + this.#vias.size;
    for (const [endpoint, { mentionedAt, answeredAt = 0 }] of this.#learned) {
      const lastNeeded = this.#own.isSound ? mentionedAt : Math.max(mentionedAt, answeredAt);
      if (now - lastNeeded > PROOF_LASTS) this.#learned.delete(endpoint);
    }
    for (const [neighbour, { mentionedAt }] of this.#vias) {
      if (now - mentionedAt > OFFER_LASTS) this.#vias.delete(neighbour);
    }
    return this.#learned.size + this.#vias.size < before;
  }

  /** Whether something is known of it that passes. */
  get passes(): boolean {
    const isProved = this.senders.hasAnswered(this.record.vtep);
    return this.#learned.size + this.#vias.size + this.senders.size > Number(isProved);
  }

  answered(way: Way, now: number, took: Took): void {
    way.answered(now, took);
    this.answeredAt = now;
    this.heardAt = now;
    if (way === this.#own) this.#forgetRelays();
  }

  /** A path through others that is needed one day must then show that it still works. */
  #forgetRelays(): void {
    for (const [neighbour, { course, mentionedAt }] of this.#vias) {
      this.#vias.set(neighbour, new Way(course, mentionedAt));
    }
  }

  probed(way: Way, now: number): void {
    way.sent(now);
    this.#firstProbedAt ??= now;
  }

  /** Takes the best way that works into use. `mayCarry` says of whom packets can be given to. */
  choose(mayCarry: (neighbour: string) => boolean): void {
    this.used = [this.#own, ...this.#byMention(), ...this.#offeredWays(mayCarry)].find(
      (way) => way.works,
    );
  }

  /**
   * The ways on which one answer shows that it lives: the one in use, straight, where chance takes
   * least, and to where it was heard last: it may have moved there.
   */
  toKnock(): Set<Way> {
    return new Set([this.used ?? this.#own, this.#own, this.#elsewhere ?? this.#own]);
  }

  /** The ways to probe now: the straight ones, and those through others while these are not sound. */
  toTry(now: number, mayCarry: (neighbour: string) => boolean): Way[] {
    // An endpoint that never answered may be a stranger's, named by a forged probe: only challenges go there.
    const proved = this.#byMention().filter(({ answeredAt }) => answeredAt !== undefined);
    const straight = [this.#own, ...proved];
    const ways = this.isSound ? straight : [...straight, ...this.#offersToTry(now, mayCarry)];
    return ways.filter(({ isAwaited }) => !isAwaited);
  }

  /** Whether there is a straight way that works, and not by the last thread. */
  get isSound(): boolean {
    return [this.#own, ...this.#learned.values()].some((way) => way.isSound);
  }

  /** Whether it would do to know of a path through others. One failure says little: it may not know this node yet. */
  get needsOffers(): boolean {
    return !this.isSound && this.#own.failures > 1;
  }

  /** Whether one more answer, or one more failure, would change something. */
  get isOpen(): boolean {
    const { failures, hasFailed, answeredAt } = this.#own;
    const hangs = failures > 0 && !hasFailed;
    return hangs || (answeredAt === undefined && !hasFailed) || (this.used?.failures ?? 0) > 0;
  }

  get isOwn(): boolean {
    return this.used === this.#own;
  }

  answering(now: number): Answering {
    if (this.used) return now - (this.answeredAt ?? now) <= LATELY ? "lately" : "before";
    const since = this.answeredAt ?? this.#firstProbedAt;
    if (since === undefined) return undefined;
    return now - since < SILENT_FOR ? "not yet" : "no";
  }

  /** Whether its packets come from this endpoint, as far as known. */
  knows(endpoint: string): boolean {
    return endpoint === this.record.vtep || this.senders.has(endpoint);
  }

  /** The learned ways, that spoken of last first; the one in use before all. */
  #byMention(): Way[] {
    return [...this.#learned.values()].sort(
      (a, b) => Number(b === this.used) - Number(a === this.used) || b.mentionedAt - a.mentionedAt,
    );
  }

  #offeredWays(mayCarry: (neighbour: string) => boolean): Way[] {
    return [...this.#vias]
      .filter(([neighbour]) => mayCarry(neighbour))
      .sort(
        ([idA, a], [idB, b]) =>
          a.relays - b.relays ||
          Number(b === this.used) - Number(a === this.used) ||
          (idA < idB ? -1 : 1),
      )
      .map(([, way]) => way);
  }

  /** The best that works, and those that would be better; or those that come first. */
  #offersToTry(now: number, mayCarry: (neighbour: string) => boolean): Way[] {
    const all = this.#offeredWays(mayCarry);
    const works = all.findIndex((way) => way.works);
    const better = all
      .slice(0, works < 0 ? all.length : works)
      .filter(({ hasFailed, sentAt = 0 }) => !hasFailed || now - sentAt > REST)
      .slice(0, MAX_TRIED);
    return works < 0 ? better : [...better, all[works]!];
  }

  #learn(endpoint: string, now: number): Way {
    const oldest = this.#byMention().at(-1)?.course;
    if (this.#learned.size >= MAX_LEARNED && oldest?.kind === "learned") {
      this.#learned.delete(oldest.endpoint);
    }
    const way = new Way({ kind: "learned", endpoint }, now);
    this.#learned.set(endpoint, way);
    return way;
  }

  /** What failed gives its place to any other, else the longest path to a shorter one. */
  #hasRoomFor(path: readonly string[]): boolean {
    if (this.#vias.size < MAX_VIAS) return true;
    const worth = ([, way]: [string, Way]) => (way.hasFailed ? Number.MAX_VALUE : way.relays);
    const worst = [...this.#vias].reduce((a, b) => (worth(b) > worth(a) ? b : a));
    if (worth(worst) <= path.length + 1) return false;
    return this.#vias.delete(worst[0]);
  }
}

const own = ({ vtep }: NodeRecord): Way => new Way({ kind: "own", endpoint: vtep }, 0);
