/**
 * Schedules the probes of members. Members of the fast set are due at fixed intervals; the others
 * are probed one after the other at the rate of the sweep.
 */

import { EventEmitter } from "node:events";
import type { Clock } from "../time/clock.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { PeerPaths } from "./peer-paths.js";
import type { PendingProbes } from "./pending-probes.js";

/** Time between two checks for due members and timed-out probes, in milliseconds. */
export const TICK_EVERY = 250;
/** Time between two probes of a busy or undecided member, or of any in a small cluster, in milliseconds. */
export const FAST_PROBE_EVERY = 2_000;
/** Time between two probes of another member that is not reached at its own endpoint, in milliseconds. */
export const SLOW_PROBE_EVERY = 30_000;
/** Up to this many members, all are probed every FAST_PROBE_EVERY. */
export const FAST_FOR_ALL_UP_TO = 16;
/** How long a member counts as busy after packets were sent to it, in milliseconds. */
export const BUSY_FOR = 10_000;
/** Members probed, at once and per second. */
export const PROBED_MEMBERS = { burst: 64, rate: 16 };
/** Of these, members probed because of messages from other nodes. */
export const PROMPTED_MEMBERS = { burst: 64, rate: 8 };

export interface ProbeSchedulerEvents {
  /** Members may be due, and probes may have timed out. */
  tick: [];
}

export class ProbeScheduler extends EventEmitter<ProbeSchedulerEvents> {
  readonly #clock: Clock;
  readonly #pending: Pick<PendingProbes<unknown>, "isEmpty">;
  /** Members with an interval, and all others; in both the longest waiting first. */
  readonly #fast = new Set<PeerPaths>();
  readonly #slow = new Set<PeerPaths>();
  readonly #limit: TokenBucket;
  readonly #promptedLimit: TokenBucket;
  #cancelTick: (() => void) | undefined;

  constructor(clock: Clock, pending: Pick<PendingProbes<unknown>, "isEmpty">) {
    super();
    this.#clock = clock;
    this.#pending = pending;
    this.#limit = new TokenBucket(clock, PROBED_MEMBERS.burst, PROBED_MEMBERS.rate);
    this.#promptedLimit = new TokenBucket(clock, PROMPTED_MEMBERS.burst, PROMPTED_MEMBERS.rate);
  }

  stop(): void {
    this.#cancelTick?.();
  }

  /** Ticks from now on, until no member is in the fast set and no probe is pending. */
  wake(): void {
    if (this.#fast.size === 0 && this.#pending.isEmpty) return;
    this.#cancelTick ??= this.#clock.after(TICK_EVERY, () => {
      this.#cancelTick = undefined;
      this.emit("tick");
      this.wake();
    });
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

  /** Moves a member to the set it belongs to. To be called after each change of it. */
  reschedule(peer: PeerPaths): void {
    const isWatched = this.#interval(peer) !== undefined;
    (isWatched ? this.#slow : this.#fast).delete(peer);
    (isWatched ? this.#fast : this.#slow).add(peer);
  }

  /** The members of the fast set that are due, computed one by one: a member probed meanwhile is skipped. */
  *due(): Generator<PeerPaths> {
    const now = this.#clock.elapsed();
    for (const peer of this.#fast) {
      const interval = this.#interval(peer);
      if (interval === undefined) this.reschedule(peer);
      else if (now - (peer.probedAt ?? -interval) >= interval) yield peer;
    }
  }

  /** The next member of the slow set. */
  get nextSlow(): PeerPaths | undefined {
    const [next] = this.#slow;
    return next;
  }

  /** Takes a token for one member; false when there is none. */
  spend({ isPrompted = false } = {}): boolean {
    return (!isPrompted || this.#promptedLimit.spend(1)) && this.#limit.spend(1);
  }

  /** Records that the member was probed, and puts it last. */
  probed(peer: PeerPaths): void {
    peer.probedAt = this.#clock.elapsed();
    this.#fast.delete(peer);
    this.#slow.delete(peer);
    this.reschedule(peer);
  }

  get #areFew(): boolean {
    return this.#fast.size + this.#slow.size <= FAST_FOR_ALL_UP_TO;
  }

  /** Milliseconds between two probes of this member; undefined in the slow set. */
  #interval(peer: PeerPaths): number | undefined {
    const { busyAt = Number.NEGATIVE_INFINITY } = peer;
    const isBusy = this.#clock.elapsed() - busyAt <= BUSY_FOR;
    if (this.#areFew || isBusy || peer.isUndecided) return FAST_PROBE_EVERY;
    return peer.usesOwnEndpoint ? undefined : SLOW_PROBE_EVERY;
  }
}
