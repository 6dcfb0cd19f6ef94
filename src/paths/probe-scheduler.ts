/** Whose turn it is to be probed. Some members are watched closely, all others share what is left. */

import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { PeerPaths } from "./peer-paths.js";

/** Between two turns of a member that is watched closely, in milliseconds: of a few, one to which packets go, one about which something is open. */
export const FAST_PROBE_EVERY = 2_000;
/** Between two turns of any other that is not reached at its own endpoint. Milliseconds. */
export const SLOW_PROBE_EVERY = 30_000;
/** So many members are watched closely in any case. */
export const FAST_FOR_ALL_UP_TO = 16;
/** How long a member counts as busy after packets went to it, in milliseconds. */
export const BUSY_FOR = 10_000;
/** Turns at once, and each second after that; of these, turns to which other nodes give rise. */
export const PROBED_MEMBERS = { burst: 64, rate: 16 };
export const PROMPTED_MEMBERS = { burst: 64, rate: 8 };

export class ProbeScheduler {
  readonly #clock: Clock;
  /** Who waits for longest comes first, in both. */
  readonly #fast = new Set<PeerPaths>();
  readonly #slow = new Set<PeerPaths>();
  readonly #limit: TokenBucket;
  readonly #promptedLimit: TokenBucket;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#limit = new TokenBucket(clock, PROBED_MEMBERS.burst, PROBED_MEMBERS.rate);
    this.#promptedLimit = new TokenBucket(clock, PROMPTED_MEMBERS.burst, PROMPTED_MEMBERS.rate);
  }

  add(peer: PeerPaths): void {
    const hadFew = this.#areFew;
    this.reschedule(peer);
    if (hadFew && !this.#areFew) for (const other of [...this.#fast]) this.reschedule(other);
  }

  delete(peer: PeerPaths): void {
    const hadFew = this.#areFew;
    this.#fast.delete(peer);
    this.#slow.delete(peer);
    if (!hadFew && this.#areFew) for (const other of [...this.#slow]) this.reschedule(other);
  }

  /** To be called when something about it has changed: it may belong to the others now. */
  reschedule(peer: PeerPaths): void {
    const isWatched = this.#interval(peer) !== undefined;
    (isWatched ? this.#slow : this.#fast).delete(peer);
    (isWatched ? this.#fast : this.#slow).add(peer);
  }

  /** The watched whose turn has come, each only when it is asked for; who had it meanwhile is not named again. */
  *due(): Generator<PeerPaths> {
    const now = this.#clock.elapsed();
    for (const peer of this.#fast) {
      const interval = this.#interval(peer);
      if (interval === undefined) this.reschedule(peer);
      else if (now - (peer.probedAt ?? -interval) >= interval) yield peer;
    }
  }

  /** The next of the rest. */
  get nextSlow(): PeerPaths | undefined {
    const [next] = this.#slow;
    return next;
  }

  get isIdle(): boolean {
    return this.#fast.size === 0;
  }

  /** False when there were too many of late. */
  spend({ isPrompted = false } = {}): boolean {
    return (!isPrompted || this.#promptedLimit.spend(1)) && this.#limit.spend(1);
  }

  /** It had its turn. */
  probed(peer: PeerPaths): void {
    peer.probedAt = this.#clock.elapsed();
    this.#fast.delete(peer);
    this.#slow.delete(peer);
    this.reschedule(peer);
  }

  get #areFew(): boolean {
    return this.#fast.size + this.#slow.size <= FAST_FOR_ALL_UP_TO;
  }

  /** How often; nothing when its turn comes among the rest. */
  #interval(peer: PeerPaths): number | undefined {
    const { busyAt = Number.NEGATIVE_INFINITY } = peer;
    const isBusy = this.#clock.elapsed() - busyAt <= BUSY_FOR;
    if (this.#areFew || isBusy || peer.isUndecided) return FAST_PROBE_EVERY;
    return peer.usesOwnEndpoint ? undefined : SLOW_PROBE_EVERY;
  }
}
