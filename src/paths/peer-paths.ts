/**
 * How one member is reached: the ways to it, and the best of those that work.
 * Straight to its own endpoint is best, then to where its probes come from,
 * then through the fewest others; of equals the one that is in use.
 */

import type { NodeRecord } from "../gossip/record.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import { AllowedSources, PROOF_TTL } from "./allowed-sources.js";
import { PathState, type RoundTrip } from "./path-state.js";

/** Endpoints kept that are not the record's, and neighbours that offer a path. */
export const MAX_LEARNED = 2;
export const MAX_RELAYED = 8;
/** Offered paths that are tried at the same time. */
export const MAX_RELAYED_PROBED = 3;
/** An offered path that failed is tried again after so long, and an offer that is not repeated is over. Milliseconds. */
export const RETRY_FAILED_AFTER = 30_000;
export const ROUTE_TTL = 75_000;
/** A member that answered nothing for so long counts as unreachable; one that answered within this time lives. Milliseconds. */
export const UNREACHABLE_AFTER = 12_000;
/**
 * Probes of one member that are verified at once, and each second after that: from its own and its
 * relays' known endpoints, and from others.
 */
export const KNOWN_SOURCE_PROBES = { burst: 256, rate: 64 };
export const OTHER_SOURCE_PROBES = { burst: 32, rate: 8 };
/**
 * Probes sent to one member at once, and each second after that, because it moved, restarted, or
 * was heard elsewhere.
 */
export const PROMPTED_PROBES = { burst: 8, rate: 2 };

export const LATELY = 10_000;

/** What the probes of a member say; nothing while none was sent. */
export type Answering = "lately" | "before" | "not yet" | "no" | undefined;

export class PeerPaths {
  readonly allowedSources = new AllowedSources();
  readonly knownSourceProbes: TokenBucket;
  readonly otherSourceProbes: TokenBucket;
  readonly promptedProbes: TokenBucket;
  /** The best way that works. */
  used: PathState | undefined;
  /** When packets went to it last, and when it was probed last. */
  busyAt: number | undefined;
  probedAt: number | undefined;
  /** When it answered a probe last, and when it made itself heard last: that, or a probe of its own. */
  answeredAt: number | undefined;
  heardAt: number | undefined;
  /** Since when it says in its probes and replies that it has no mesh session, by `clock.elapsed`. */
  aloneSince: number | undefined;
  #own: PathState;
  /** The way to the endpoint of its last direct probe, if that is not its own endpoint. */
  #lastHeardPath: PathState | undefined;
  readonly #learned = new Map<string, PathState>();
  readonly #relayed = new Map<string, PathState>();
  #firstProbedAt: number | undefined;

  constructor(
    public record: NodeRecord,
    clock: Clock,
  ) {
    this.knownSourceProbes = new TokenBucket(
      clock,
      KNOWN_SOURCE_PROBES.burst,
      KNOWN_SOURCE_PROBES.rate,
    );
    this.otherSourceProbes = new TokenBucket(
      clock,
      OTHER_SOURCE_PROBES.burst,
      OTHER_SOURCE_PROBES.rate,
    );
    this.promptedProbes = new TokenBucket(clock, PROMPTED_PROBES.burst, PROMPTED_PROBES.rate);
    this.#own = ownPath(record);
  }

  get id(): string {
    return this.record.id;
  }

  get name(): string {
    return this.record.name;
  }

  /** Takes a newer record. True when it names another endpoint or another run. */
  update(record: NodeRecord): boolean {
    const { vtep, epoch } = this.record;
    const [hasMoved, hasRestarted] = [record.vtep !== vtep, record.epoch !== epoch];
    this.record = record;
    if (hasMoved) this.#own = ownPath(record);
    // Probes under way name the earlier run, which will not answer.
    if (hasRestarted) for (const path of this.#paths()) path.reroute({ ...path.nextHop });
    return hasMoved || hasRestarted;
  }

  *#paths(): Generator<PathState> {
    yield this.#own;
    yield* this.#learned.values();
    yield* this.#relayed.values();
  }

  /** It was dead and lives: what failed meanwhile says nothing of its own endpoint. */
  revived(): void {
    if (this.#own.failures > 0) this.#own = ownPath(this.record);
  }

  /**
   * A probe came straight from this endpoint. Gives the way to the endpoint when the member must
   * prove by an answer that it is there: it has not yet, or not lately.
   */
  heardFrom(endpoint: string, now: number): PathState | undefined {
    const isOwn = endpoint === this.record.vtep;
    const path = isOwn ? this.#own : (this.#learned.get(endpoint) ?? this.#learn(endpoint, now));
    path.refreshedAt = now;
    this.#lastHeardPath = isOwn ? undefined : path;
    const isStale = !isOwn && now - (path.answeredAt ?? now) > PROOF_TTL / 2;
    return !path.works || isStale ? path : undefined;
  }

  /** A neighbour has this path, or none any more. True when that is news. */
  updateRoute(neighbour: string, path: readonly string[] | undefined, now: number): boolean {
    if (!path) return this.#relayed.delete(neighbour);
    const known = this.#relayed.get(neighbour);
    if (!known && !this.#hasRoomFor(path)) return false;
    const nextHop = { kind: "via", neighbour, path } as const;
    if (!known) {
      this.#relayed.set(neighbour, new PathState(nextHop, now));
      return true;
    }
    const isSame = known.nextHop.kind === "via" && known.nextHop.path.join() === path.join();
    known.refreshedAt = now;
    if (isSame) return false;
    if (known.hasFailed) this.#relayed.set(neighbour, new PathState(nextHop, now));
    else known.reroute(nextHop);
    return true;
  }

  /** It has said in a probe or a reply whether it has a mesh session. */
  setAlone(isAlone: boolean, now: number): void {
    this.aloneSince = isAlone ? (this.aloneSince ?? now) : undefined;
  }

  hasRouteVia(neighbour: string): boolean {
    return this.#relayed.has(neighbour);
  }

  /** Drops what nobody has spoken of for too long; true when there was something. */
  expire(now: number): boolean {
    const before = this.#learned.size + this.#relayed.size;
    for (const [endpoint, { refreshedAt, answeredAt = 0 }] of this.#learned) {
      const lastNeeded = this.#own.isHealthy ? refreshedAt : Math.max(refreshedAt, answeredAt);
      if (now - lastNeeded > PROOF_TTL) this.#learned.delete(endpoint);
    }
    for (const [neighbour, { refreshedAt }] of this.#relayed) {
      if (now - refreshedAt > ROUTE_TTL) this.#relayed.delete(neighbour);
    }
    return this.#learned.size + this.#relayed.size < before;
  }

  /** Whether something is known of it that passes. */
  get hasExpiring(): boolean {
    const isProved = this.allowedSources.hasAnswered(this.record.vtep);
    return this.#learned.size + this.#relayed.size + this.allowedSources.size > Number(isProved);
  }

  answered(path: PathState, now: number, roundTrip: RoundTrip): void {
    path.answered(now, roundTrip);
    this.answeredAt = now;
    this.heardAt = now;
    if (path === this.#own) this.#resetRelayed();
  }

  /** A path through others that is needed one day must then show that it still works. */
  #resetRelayed(): void {
    for (const [neighbour, { nextHop, refreshedAt }] of this.#relayed) {
      this.#relayed.set(neighbour, new PathState(nextHop, refreshedAt));
    }
  }

  probed(path: PathState, now: number): void {
    path.sent(now);
    this.#firstProbedAt ??= now;
  }

  /** Takes the best way that works into use. `mayCarry` says of whom packets can be given to. */
  select(mayRelay: (neighbour: string) => boolean): void {
    this.used = [this.#own, ...this.#learnedByRefresh(), ...this.#relayedPaths(mayRelay)].find(
      (path) => path.works,
    );
  }

  /**
   * The ways on which one answer shows that it lives: the one in use, straight, where chance takes
   * least, and to where it was heard last: it may have moved there.
   */
  burstPaths(): Set<PathState> {
    return new Set([this.used ?? this.#own, this.#own, this.#lastHeardPath ?? this.#own]);
  }

  /** The ways to probe now: the straight ones, and those through others while these are not sound. */
  pathsToProbe(now: number, mayRelay: (neighbour: string) => boolean): PathState[] {
    // An endpoint that never answered may be a stranger's, named by a forged probe: only challenges go there.
    const proved = this.#learnedByRefresh().filter(({ answeredAt }) => answeredAt !== undefined);
    const straight = [this.#own, ...proved];
    const paths = this.isHealthy ? straight : [...straight, ...this.#relayedToProbe(now, mayRelay)];
    return paths.filter(({ isPending }) => !isPending);
  }

  /** Whether there is a straight way that works, and not by the last thread. */
  get isHealthy(): boolean {
    return [this.#own, ...this.#learned.values()].some((path) => path.isHealthy);
  }

  /** Whether it would do to know of a path through others. One failure says little: it may not know this node yet. */
  get needsRelay(): boolean {
    return !this.isHealthy && this.#own.failures > 1;
  }

  /** Whether one more answer, or one more failure, would change something. */
  get isUndecided(): boolean {
    const { failures, hasFailed, answeredAt } = this.#own;
    const hangs = failures > 0 && !hasFailed;
    return hangs || (answeredAt === undefined && !hasFailed) || (this.used?.failures ?? 0) > 0;
  }

  get usesOwnEndpoint(): boolean {
    return this.used === this.#own;
  }

  answering(now: number): Answering {
    if (this.used) return now - (this.answeredAt ?? now) <= LATELY ? "lately" : "before";
    const since = this.answeredAt ?? this.#firstProbedAt;
    if (since === undefined) return undefined;
    return now - since < UNREACHABLE_AFTER ? "not yet" : "no";
  }

  /** Whether its packets come from this endpoint, as far as known. */
  isKnownSource(endpoint: string): boolean {
    return endpoint === this.record.vtep || this.allowedSources.has(endpoint);
  }

  /** The learned ways, that spoken of last first; the one in use before all. */
  #learnedByRefresh(): PathState[] {
    return [...this.#learned.values()].sort(
      (a, b) => Number(b === this.used) - Number(a === this.used) || b.refreshedAt - a.refreshedAt,
    );
  }

  #relayedPaths(mayRelay: (neighbour: string) => boolean): PathState[] {
    return [...this.#relayed]
      .filter(([neighbour]) => mayRelay(neighbour))
      .sort(
        ([idA, a], [idB, b]) =>
          a.relays - b.relays ||
          Number(b === this.used) - Number(a === this.used) ||
          (idA < idB ? -1 : 1),
      )
      .map(([, path]) => path);
  }

  /** The best that works, and those that would be better; or those that come first. */
  #relayedToProbe(now: number, mayRelay: (neighbour: string) => boolean): PathState[] {
    const all = this.#relayedPaths(mayRelay);
    const works = all.findIndex((path) => path.works);
    const better = all
      .slice(0, works < 0 ? all.length : works)
      .filter(({ hasFailed, sentAt = 0 }) => !hasFailed || now - sentAt > RETRY_FAILED_AFTER)
      .slice(0, MAX_RELAYED_PROBED);
    return works < 0 ? better : [...better, all[works]!];
  }

  #learn(endpoint: string, now: number): PathState {
    const oldest = this.#learnedByRefresh().at(-1)?.nextHop;
    if (this.#learned.size >= MAX_LEARNED && oldest?.kind === "learned") {
      this.#learned.delete(oldest.endpoint);
    }
    const path = new PathState({ kind: "learned", endpoint }, now);
    this.#learned.set(endpoint, path);
    return path;
  }

  /** What failed gives its place to any other, else the longest path to a shorter one. */
  #hasRoomFor(path: readonly string[]): boolean {
    if (this.#relayed.size < MAX_RELAYED) return true;
    const worth = ([, path]: [string, PathState]) =>
      path.hasFailed ? Number.MAX_VALUE : path.relays;
    const worst = [...this.#relayed].reduce((a, b) => (worth(b) > worth(a) ? b : a));
    if (worth(worst) <= path.length + 1) return false;
    return this.#relayed.delete(worst[0]);
  }
}

const ownPath = ({ vtep }: NodeRecord): PathState =>
  new PathState({ kind: "own", endpoint: vtep }, 0);
