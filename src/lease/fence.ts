/**
 * The fence closes when this node was cut off for so long that its granter may revoke its lease.
 * While it is closed the node uses no lease. docs/leases.md derives the times.
 */
import { EventEmitter } from "node:events";
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
  readonly disk: FenceDisk;
  /** The granters, which could revoke a lease of this node. */
  readonly ledger: { readonly granters: ReadonlySet<string> };
  readonly connections: { sessions(): readonly Hearer[] };
  /** The members; the granter learns only from them which records they received. */
  readonly members: { has(id: string): boolean };
}

/** The part of the disk that the fence uses. */
export interface FenceDisk {
  /** The time when this node was last heard, in milliseconds since the epoch. */
  readonly cluster: { readonly heard: number };
  saveCluster(change: { readonly heard: number }): void;
  /** Runs a timer's action, so that a full disk does not end the process. */
  safely(act: () => void): void;
}

export interface FenceEvents {
  closed: [];
}

export class Fence extends EventEmitter<FenceEvents> {
  readonly #parts: FenceParts;
  #closed = false;
  #cancels: (() => void)[] = [];
  #cancelDeadline = () => {};

  constructor(parts: FenceParts) {
    super();
    this.#parts = parts;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether another node ever received a record of this one. */
  get wasHeard(): boolean {
    return this.#heardAt > 0;
  }

  start(): void {
    const { clock } = this.#parts;
    if (this.#isNeeded && this.#heardAt > clock.now() + CLOCK_SET_BACK) this.#closed = true;
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
    const { clock, connections, members } = this.#parts;
    const at = clock.now();
    const to = connections.sessions();
    if (to.length === 0 || this.#closed) return;
    const cancel = clock.after(HEARD_IF_OPEN_AFTER, () => {
      this.#cancels = this.#cancels.filter((one) => one !== cancel);
      const isHeard = to.some(({ isOpen, peer }) => isOpen && members.has(peer.id));
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
    const { disk } = this.#parts;
    disk.safely(() => disk.saveCluster({ heard: at }));
    this.#arm();
  }

  /** Sets a timer beside the checks of the time of day, which can be set back. */
  #arm(): void {
    const { clock } = this.#parts;
    const left = Math.min(FENCE_AFTER, this.#heardAt + FENCE_AFTER - clock.now());
    this.#cancelDeadline();
    this.#cancelDeadline = clock.after(Math.max(0, left), () => this.#close());
  }

  #check(): void {
    if (this.#parts.clock.now() - this.#heardAt >= FENCE_AFTER) this.#close();
  }

  #close(): void {
    if (this.#closed || !this.#isNeeded) return;
    this.#closed = true;
    this.emit("closed");
  }

  get #heardAt(): number {
    return this.#parts.disk.cluster.heard;
  }

  get #isNeeded(): boolean {
    return this.#parts.ledger.granters.size > 0;
  }
}
