/**
 * The fence closes when this node was cut off for so long that its granter may revoke its lease.
 * While it is closed the node uses no lease. docs/leases.md derives the times.
 */
import { type Clock, every } from "../time/clock.js";

/** Milliseconds from `renewed` until the leases of a record expire. */
export const LEASE_TTL = 24 * 3600_000;
/** Milliseconds since this node was last heard, by its own clock, until its fence closes; allows clocks 1 % off. */
export const FENCE_AFTER = 0.97 * LEASE_TTL;
/** Milliseconds since a node was last heard, by the granter's clock, until the granter may revoke its lease. */
export const REVOKE_AFTER = 1.03 * LEASE_TTL;
/**
 * Milliseconds after a publication at which a session that is still open proves that it was alive
 * then; longer than a dead session takes to be noticed.
 */
export const HEARD_IF_OPEN_AFTER = 30_000;
/** Milliseconds between checks of the time of day, since timers stop while a machine is suspended. */
export const FENCE_CHECK_EVERY = 60_000;
/**
 * Milliseconds by which the time on disk may be ahead of the clock at a start. Beyond that the
 * clock was set back, so the time since the last write is unknown and the fence closes.
 */
const CLOCK_SET_BACK = 60_000;

interface Hearer {
  readonly isOpen: boolean;
  readonly peer: { readonly id: string };
}

export interface FenceParts {
  readonly clock: Clock;
  /** The time on disk when this node was last heard, in milliseconds since the epoch. */
  heard(): number;
  save(heard: number): void;
  /** Whether another node could revoke a lease of this one. */
  isNeeded(): boolean;
  sessions(): readonly Hearer[];
  /** Whether a node is a member by now: the granter learns only from members what they heard. */
  isMember(id: string): boolean;
  /** Called once when the fence has closed. */
  closed(): void;
}

export class Fence {
  readonly #parts: FenceParts;
  #closed = false;
  #cancels: (() => void)[] = [];
  #cancelDeadline = () => {};

  constructor(parts: FenceParts) {
    this.#parts = parts;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether another node ever received a record of this one. */
  get wasHeard(): boolean {
    return this.#parts.heard() > 0;
  }

  start(): void {
    const { clock, heard, isNeeded } = this.#parts;
    if (isNeeded() && heard() > clock.now() + CLOCK_SET_BACK) this.#closed = true;
    this.#arm();
    this.#check();
    this.#cancels.push(every(clock, FENCE_CHECK_EVERY, () => this.#check()));
  }

  stop(): void {
    this.#cancelDeadline();
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  /** This node has just renewed its record. It was heard if a session with a member is still open later. */
  published(): void {
    const { clock, sessions, isMember } = this.#parts;
    const at = clock.now();
    const to = sessions();
    if (to.length === 0 || this.#closed) return;
    const cancel = clock.after(HEARD_IF_OPEN_AFTER, () => {
      this.#cancels = this.#cancels.filter((one) => one !== cancel);
      const isHeard = to.some(({ isOpen, peer }) => isOpen && isMember(peer.id));
      if (!this.#closed && isHeard) this.#heard(at);
    });
    this.#cancels.push(cancel);
  }

  /** Every granter has just attested the leases of this node. */
  open(): void {
    this.#heard(this.#parts.clock.now());
    this.#closed = false;
  }

  #heard(at: number): void {
    this.#parts.save(at);
    this.#arm();
  }

  /** Sets a timer beside the checks of the time of day, which can be set back. */
  #arm(): void {
    const { clock, heard } = this.#parts;
    const left = Math.min(FENCE_AFTER, heard() + FENCE_AFTER - clock.now());
    this.#cancelDeadline();
    this.#cancelDeadline = clock.after(Math.max(0, left), () => this.#close());
  }

  #check(): void {
    const { clock, heard } = this.#parts;
    if (clock.now() - heard() >= FENCE_AFTER) this.#close();
  }

  #close(): void {
    if (this.#closed || !this.#parts.isNeeded()) return;
    this.#closed = true;
    this.#parts.closed();
  }
}
