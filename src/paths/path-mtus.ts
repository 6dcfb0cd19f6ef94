/**
 * The path MTUs of all members. A hint about a member's path, or traffic to the member, queues the
 * member, once, for a confirmation of its path MTU.
 */

import { EventEmitter } from "node:events";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { DataPath } from "./datapath.js";
import { PathMtu, type PathMtuParts } from "./path-mtu.js";
import type { ProbeSender } from "./probe-sender.js";
import type { RoutingTable } from "./routing-table.js";

/** Confirmations of all members together, at once and per second. */
export const CONFIRMATIONS = { burst: 64, rate: 32 };
/**
 * Probes through one relay, at once and per second: below what the relay verifies of one member
 * (KNOWN_SOURCE_PROBES), because it drops the rest.
 */
export const RELAYED = { burst: 192, rate: 40 };
/** Least time between two confirmations while packets go to a member, in milliseconds. */
const CONFIRM_BUSY_EVERY = 5_000;
/** Time between two checks of the queue, in milliseconds. */
const QUEUE_CHECK_EVERY = 100;

export interface PathMtusParts {
  readonly clock: Clock;
  readonly datapath: DataPath;
  readonly table: RoutingTable;
  readonly sender: ProbeSender;
}

export interface PathMtusEvents {
  /** The path MTU of this member has changed. */
  changed: [id: string];
}

export class PathMtus extends EventEmitter<PathMtusEvents> {
  readonly #parts: PathMtusParts;
  /** By id, for members with traffic or a hint. */
  readonly #probers = new Map<string, PathMtu>();
  /** Queued ids, longest waiting first. */
  readonly #waiting = new Set<string>();
  readonly #confirmations: TokenBucket;
  readonly #relayed: KeyedRateLimiter;
  #cancelCheck: (() => void) | undefined;

  constructor(parts: PathMtusParts) {
    super();
    this.#parts = parts;
    const { burst, rate } = CONFIRMATIONS;
    this.#confirmations = new TokenBucket(parts.clock, burst, rate);
    this.#relayed = new KeyedRateLimiter(parts.clock, RELAYED);
  }

  start(): void {
    const { datapath, table } = this.#parts;
    datapath.onMtuHint((name) => {
      const peer = table.byName(name);
      if (peer) this.#onHint(peer.id);
    });
    datapath.onMtuChange(() => this.#onResize());
  }

  stop(): void {
    this.#cancelCheck?.();
    for (const prober of this.#probers.values()) prober.stop();
    this.#parts.datapath.onMtuHint(() => {});
    this.#parts.datapath.onMtuChange(() => {});
  }

  /** The path MTU of this member, in bytes; the largest that is sent until it is known. */
  of(id: string): number {
    return this.#probers.get(id)?.size ?? this.#parts.datapath.mtu.most;
  }

  /** A hint says that the path to this member takes less. Its size is read when the member's turn comes. */
  #onHint(id: string): void {
    this.#waiting.add(id);
    this.#confirmDue();
  }

  /** Packets go to this member. */
  onTraffic(id: string): void {
    if (this.#prober(id).confirmedFor >= CONFIRM_BUSY_EVERY) this.#onHint(id);
  }

  /** Packets to this member take another path. */
  pathChanged(id: string): void {
    const prober = this.#probers.get(id);
    if (!prober) return;
    prober.pathChanged();
    this.#onHint(id);
  }

  /** The largest size that is sent has changed. */
  #onResize(): void {
    const { datapath, table } = this.#parts;
    for (const [id, prober] of this.#probers) {
      prober.resize(datapath.mtu);
      this.#onHint(id);
    }
    for (const { id } of table.peers()) this.emit("changed", id);
  }

  remove(id: string): void {
    this.#probers.get(id)?.stop();
    this.#probers.delete(id);
    this.#waiting.delete(id);
  }

  answered(id: string, size: number): void {
    this.#probers.get(id)?.answered(size);
  }

  /**
   * Confirms the queued members that are due, as far as the rate allows. A member without a path
   * leaves the queue until `pathChanged`.
   */
  #confirmDue(): void {
    for (const id of this.#waiting) {
      const prober = this.#prober(id);
      const hasPath = this.#pathTo(id) !== undefined;
      if (hasPath && !prober.mayConfirm) continue;
      if (hasPath && !this.#confirmations.spend(1)) break;
      this.#waiting.delete(id);
      if (hasPath) prober.confirm(this.#takeHint(id));
    }
    if (this.#waiting.size === 0) return;
    this.#cancelCheck ??= this.#parts.clock.after(QUEUE_CHECK_EVERY, () => {
      this.#cancelCheck = undefined;
      this.#confirmDue();
    });
  }

  #takeHint(id: string): number | undefined {
    const { table, datapath } = this.#parts;
    const peer = table.get(id);
    return peer && datapath.takeMtuHint(peer.name);
  }

  /** The measured path to this member; undefined if none works. */
  #pathTo(id: string): ReturnType<PathMtuParts["path"]> | undefined {
    const { responseMs, loss = 0 } = this.#parts.table.get(id)?.used ?? {};
    return responseMs === undefined ? undefined : { responseMs, loss };
  }

  /** Sends a probe as large as the datagram of an inner packet of this size, on the path in use. */
  #probe(id: string, size: number): void {
    const { table, sender } = this.#parts;
    const peer = table.get(id);
    if (peer?.used) sender.send(peer, peer.used, { size });
  }

  /** Takes tokens for probes through the relay of this member, if it has one. */
  #mayProbe(id: string, count: number): boolean {
    const relay = this.#parts.table.pathTo(id)?.[0];
    return relay === undefined || this.#relayed.of(relay).spend(count);
  }

  #prober(id: string): PathMtu {
    const known = this.#probers.get(id);
    if (known) return known;
    const { clock, datapath } = this.#parts;
    const prober = new PathMtu(
      {
        clock,
        probe: (size) => this.#probe(id, size),
        mayProbe: (count) => this.#mayProbe(id, count),
        path: () => this.#pathTo(id) ?? UNKNOWN,
        changed: () => this.emit("changed", id),
      },
      datapath.mtu,
    );
    this.#probers.set(id, prober);
    return prober;
  }
}

/** Assumed of a path before its first answer. */
const UNKNOWN = { responseMs: 100, loss: 0 };
