/**
 * Closes when this node was cut off for so long that the giver of its lease
 * may take it back. While it is closed the node uses no lease. docs/leases.md
 * says why the times are what they are.
 */
import { type Clock, every } from "../time/clock.js";

/** Milliseconds from `renewed` until the leases of a record expire. */
export const LEASE_TTL = 24 * 3600_000;
/** Who was not heard for so long stops, by its own clock; the margin is for clocks that run 1 % off. */
export const FENCE_AFTER = 0.97 * LEASE_TTL;
/** Who did not hear a node for so long may take its lease back, by its own clock. */
export const REVOKE_AFTER = 1.03 * LEASE_TTL;
/** A session that outlasts this, in milliseconds, was alive when something was sent: longer than its silence. */
export const HEARD_IF_OPEN_AFTER = 30_000;
/** How often the time is looked at, since a sleeping machine's timers sleep too. In milliseconds. */
export const FENCE_CHECK_EVERY = 60_000;
/** A start with a state written this much later than now, in milliseconds, tells nothing of the time between. */
const CLOCK_SET_BACK = 60_000;

interface Hearer {
  readonly isOpen: boolean;
  readonly peer: { readonly id: string };
}

export interface FenceParts {
  readonly clock: Clock;
  /** When this node was last heard, in milliseconds since the epoch, by the disk. */
  heard(): number;
  save(heard: number): void;
  /** Whether another node could take a lease of this one back. */
  isNeeded(): boolean;
  sessions(): readonly Hearer[];
  /** Whether a node is a member by now: others that hear this one are not known to its giver. */
  isMember(id: string): boolean;
  /** The fence has closed. */
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

  /** Whether another node ever heard this one. */
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

  /** This node has just said that it lives. It was heard if a session with a member turns out to be alive. */
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

  /** The giver has just said that the leases are this node's. */
  open(): void {
    this.#heard(this.#parts.clock.now());
    this.#closed = false;
  }

  #heard(at: number): void {
    this.#parts.save(at);
    this.#arm();
  }

  /** A timer beside the time of day, since that can be set back. */
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
