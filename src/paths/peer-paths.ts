/**
 * The paths to one member, and the best one that works. Its own endpoint ranks first, then endpoints
 * that its probes came from, then paths through relays, the fewest first. Of equals the path in use
 * ranks first.
 */

import type { NodeRecord } from "../gossip/record.js";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import { AllowedSources, PROOF_TTL } from "./allowed-sources.js";
import { PathState, type RoundTrip } from "./path-state.js";
import type { Run } from "./probe.js";

/** Most learned endpoints of a member. */
export const MAX_LEARNED = 2;
/** Most relayed paths to a member, one for each neighbour that advertises one. */
export const MAX_RELAYED = 8;
/** Most relayed paths that are probed at one time and might become the best. */
export const MAX_RELAYED_PROBED = 3;
/** Time until a failed relayed path is probed again, in milliseconds. */
export const RETRY_FAILED_AFTER = 30_000;
/** Time until an advertised path that is not repeated expires, in milliseconds. */
export const ROUTE_TTL = 75_000;
/** A member that has answered no probe for this long is unreachable, in milliseconds. */
export const UNREACHABLE_AFTER = 12_000;
/**
 * Probes of one member that are verified, at once and per second: from its known endpoints and those
 * of its relays, and from all others.
 */
export const KNOWN_SOURCE_PROBES = { burst: 256, rate: 64 };
export const OTHER_SOURCE_PROBES = { burst: 32, rate: 8 };
/**
 * Probes sent to one member because it moved, restarted or was heard at a new endpoint, at once and
 * per second.
 */
export const PROMPTED_PROBES = { burst: 8, rate: 2 };

/** An answer within this time counts as `lately`, in milliseconds. */
export const LATELY = 10_000;

/**
 * How a member answers probes: a path works and answered `lately` or `before`; no path works, for a
 * short time (`not yet`) or for UNREACHABLE_AFTER (`no`). Undefined before the first probe.
 */
export type Answering = "lately" | "before" | "not yet" | "no" | undefined;

export class PeerPaths {
  readonly allowedSources = new AllowedSources();
  readonly knownSourceProbes: TokenBucket;
  readonly otherSourceProbes: TokenBucket;
  readonly promptedProbes: TokenBucket;
  /** The path in use: the best that works. */
  used: PathState | undefined;
  /** When packets were last sent to it, and when it was last probed. */
  busyAt: number | undefined;
  probedAt: number | undefined;
  /** When it last answered a probe, and when it last answered or sent one. */
  answeredAt: number | undefined;
  heardAt: number | undefined;
  /** Since when it says in its probes and replies that it has no mesh session, by `clock.elapsed`. */
  aloneSince: number | undefined;
  #own: PathState;
  /** The path to the endpoint of its last direct probe, unless that is its own endpoint. */
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

  get run(): Run {
    return { id: this.record.id, epoch: this.record.epoch };
  }

  /** Takes a newer record. True when it names another endpoint or another run. */
  update(record: NodeRecord): boolean {
    const { vtep, epoch } = this.record;
    const [hasMoved, hasRestarted] = [record.vtep !== vtep, record.epoch !== epoch];
    this.record = record;
    if (hasMoved) this.#own = ownPath(record);
    // Probes in flight name the earlier run, which will not answer.
    if (hasRestarted) for (const path of this.#paths()) path.reroute({ ...path.nextHop });
    return hasMoved || hasRestarted;
  }

  *#paths(): Generator<PathState> {
    yield this.#own;
    yield* this.#learned.values();
    yield* this.#relayed.values();
  }

  /** It was dead and is alive again: forgets failures of its own endpoint. */
  revived(): void {
    if (this.#own.failures > 0) this.#own = ownPath(this.record);
  }

  /**
   * A direct probe came from this endpoint. Returns the path to it when the member must prove by an
   * answer that it is there: there was none yet, or it is old.
   */
  heardFrom(endpoint: string, now: number): PathState | undefined {
    const isOwn = endpoint === this.record.vtep;
    const path = isOwn ? this.#own : (this.#learned.get(endpoint) ?? this.#learn(endpoint, now));
    path.refreshedAt = now;
    this.#lastHeardPath = isOwn ? undefined : path;
    const isStale = !isOwn && now - (path.answeredAt ?? now) > PROOF_TTL / 2;
    return !path.works || isStale ? path : undefined;
  }

  /** A neighbour advertised this path, or withdrew it. True when that changed something. */
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

  /** Records whether the member says in its probes and replies that it has no mesh session. */
  setAlone(isAlone: boolean, now: number): void {
    this.aloneSince = isAlone ? (this.aloneSince ?? now) : undefined;
  }

  hasRouteVia(neighbour: string): boolean {
    return this.#relayed.has(neighbour);
  }

  /** Drops learned and relayed paths that were not refreshed in time. True when there were any. */
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

  /** Whether anything known of it can expire. */
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

  /** Forgets the answers on relayed paths: before a later use they must be answered anew. */
  #resetRelayed(): void {
    for (const [neighbour, { nextHop, refreshedAt }] of this.#relayed) {
      this.#relayed.set(neighbour, new PathState(nextHop, refreshedAt));
    }
  }

  probed(path: PathState, now: number): void {
    path.sent(now);
    this.#firstProbedAt ??= now;
  }

  /** Selects the best path that works. `mayRelay` tells whether a neighbour can take packets. */
  select(mayRelay: (neighbour: string) => boolean): void {
    this.used = [this.#own, ...this.#learnedByRefresh(), ...this.#relayedPaths(mayRelay)].find(
      (path) => path.works,
    );
  }

  /**
   * The paths of a burst: the one in use; the own endpoint, where the fewest probes get lost; and
   * the endpoint where the member was last heard, since it may have moved.
   */
  burstPaths(): Set<PathState> {
    return new Set([this.used ?? this.#own, this.#own, this.#lastHeardPath ?? this.#own]);
  }

  /** The paths to probe now: the direct ones, and relayed ones while no direct path is healthy. */
  pathsToProbe(now: number, mayRelay: (neighbour: string) => boolean): PathState[] {
    // An endpoint that never answered may be a third party's, named by a forged probe: only challenges go there.
    const proved = this.#learnedByRefresh().filter(({ answeredAt }) => answeredAt !== undefined);
    const straight = [this.#own, ...proved];
    const paths = this.isHealthy ? straight : [...straight, ...this.#relayedToProbe(now, mayRelay)];
    return paths.filter(({ isPending }) => !isPending);
  }

  /** Whether a direct path is healthy. */
  get isHealthy(): boolean {
    return [this.#own, ...this.#learned.values()].some((path) => path.isHealthy);
  }

  /** Whether to request a relayed path. One failure is not enough: the member may not know this node yet. */
  get needsRelay(): boolean {
    return !this.isHealthy && this.#own.failures > 1;
  }

  /** Whether an answer or a failure is about to change the selection: such a member is probed often. */
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

  /** Whether this endpoint is known as a source of its packets. */
  isKnownSource(endpoint: string): boolean {
    return endpoint === this.record.vtep || this.allowedSources.has(endpoint);
  }

  /** The learned paths: the one in use first, then the most recently refreshed. */
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

  /** The best relayed path that works and a few that would rank higher; if none works, the highest ranking. */
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

  /** Makes room for a path: evicts a failed one, or the longest one if it is longer. False if there is none. */
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
