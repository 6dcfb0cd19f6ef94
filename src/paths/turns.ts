/** Whose turn it is to be probed. Some members are watched closely, all others share what is left. */
import { Budget } from "../time/budget.js";
import type { Clock } from "../time/clock.js";
import type { Reach } from "./reach.js";

/** Between two turns of a member that is watched closely, in milliseconds: of a few, one to which packets go, one about which something is open. */
export const WATCH_EVERY = 2_000;
/** Between two turns of any other that is not reached at its own endpoint. Milliseconds. */
export const LOOK_EVERY = 30_000;
/** So many members are watched closely in any case. */
export const FEW = 16;
/** How long a member counts as busy after packets went to it, in milliseconds. */
export const BUSY_FOR = 10_000;
/** Turns at once, and each second after that; of these, turns to which other nodes give rise. */
export const TURNS = { burst: 64, perSecond: 16 };
export const PROMPTED = { burst: 64, perSecond: 8 };

export class Turns {
  readonly #clock: Clock;
  /** Who waits for longest comes first, in both. */
  readonly #watched = new Set<Reach>();
  readonly #rest = new Set<Reach>();
  readonly #turns: Budget;
  readonly #prompted: Budget;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#turns = new Budget(clock, TURNS.burst, TURNS.perSecond);
    this.#prompted = new Budget(clock, PROMPTED.burst, PROMPTED.perSecond);
  }

  add(reach: Reach): void {
    const hadFew = this.#areFew;
    this.place(reach);
    if (hadFew && !this.#areFew) for (const other of [...this.#watched]) this.place(other);
  }

  delete(reach: Reach): void {
    const hadFew = this.#areFew;
    this.#watched.delete(reach);
    this.#rest.delete(reach);
    if (!hadFew && this.#areFew) for (const other of [...this.#rest]) this.place(other);
  }

  /** To be called when something about it has changed: it may belong to the others now. */
  place(reach: Reach): void {
    const isWatched = this.#pace(reach) !== undefined;
    (isWatched ? this.#rest : this.#watched).delete(reach);
    (isWatched ? this.#watched : this.#rest).add(reach);
  }

  /** The watched whose turn has come, each only when it is asked for; who had it meanwhile is not named again. */
  *due(): Generator<Reach> {
    const now = this.#clock.elapsed();
    for (const reach of this.#watched) {
      const pace = this.#pace(reach);
      if (pace === undefined) this.place(reach);
      else if (now - (reach.probedAt ?? -pace) >= pace) yield reach;
    }
  }

  /** The next of the rest. */
  get next(): Reach | undefined {
    const [next] = this.#rest;
    return next;
  }

  get isIdle(): boolean {
    return this.#watched.size === 0;
  }

  /** False when there were too many of late. */
  spend({ isPrompted = false } = {}): boolean {
    return (!isPrompted || this.#prompted.spend(1)) && this.#turns.spend(1);
  }

  /** It had its turn. */
  done(reach: Reach): void {
    reach.probedAt = this.#clock.elapsed();
    this.#watched.delete(reach);
    this.#rest.delete(reach);
    this.place(reach);
  }

  get #areFew(): boolean {
    return this.#watched.size + this.#rest.size <= FEW;
  }

  /** How often; nothing when its turn comes among the rest. */
  #pace(reach: Reach): number | undefined {
    const { busyAt = Number.NEGATIVE_INFINITY } = reach;
    const isBusy = this.#clock.elapsed() - busyAt <= BUSY_FOR;
    if (this.#areFew || isBusy || reach.isOpen) return WATCH_EVERY;
    return reach.isOwn ? undefined : LOOK_EVERY;
  }
}
