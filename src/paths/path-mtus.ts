/**
 * The path MTUs of all members. A hint about a member, or traffic to it, is a reason to confirm its
 * size in use; members queue for that, each at most once.
 */

import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { DataPath } from "./datapath.js";
import { PathMtu, type PathMtuParts } from "./path-mtu.js";

/** Confirmations at once, and each second after that, of all members together. */
export const CONFIRMATIONS = { burst: 64, rate: 32 };
/**
 * Probes at once, and each second after that, through one relay, which verifies no more of one
 * member (PROBES in reach.ts) and drops the rest.
 */
export const RELAYED = { burst: 192, rate: 40 };
/** Time between two confirmations of the size in use while packets go to a member. Milliseconds. */
const CONFIRM_BUSY_EVERY = 5_000;
/** Interval at which the queue is checked, in milliseconds. */
const QUEUE_CHECK_EVERY = 100;

export interface PathMtusParts {
  readonly clock: Clock;
  readonly datapath: DataPath;
  /** Sends a probe as large as an inner packet of this size makes it. */
  readonly probe: (id: string, size: number) => void;
  /** The path to this member as measured; nothing where none works. */
  readonly path: (id: string) => ReturnType<PathMtuParts["path"]> | undefined;
  /** The first relay of the path to this member; nothing where the path is direct. */
  readonly relay: (id: string) => string | undefined;
  readonly nameOf: (id: string) => string | undefined;
  /** Called when the path MTU of this member has changed. */
  readonly changed: (id: string) => void;
}

export class PathMtus {
  readonly #parts: PathMtusParts;
  /** By id, of members to which packets went, or about which there was a hint. */
  readonly #probers = new Map<string, PathMtu>();
  /** Ids in the queue, longest waiting first. */
  readonly #waiting = new Set<string>();
  readonly #confirmations: TokenBucket;
  readonly #relayed: KeyedRateLimiter;
  #cancelCheck: (() => void) | undefined;

  constructor(parts: PathMtusParts) {
    this.#parts = parts;
    const { burst, rate } = CONFIRMATIONS;
    this.#confirmations = new TokenBucket(parts.clock, burst, rate);
    this.#relayed = new KeyedRateLimiter(parts.clock, RELAYED);
  }

  stop(): void {
    this.#cancelCheck?.();
    for (const prober of this.#probers.values()) prober.stop();
  }

  /** The largest packet that the path to this member takes, as far as known. */
  of(id: string): number {
    return this.#probers.get(id)?.size ?? this.#parts.datapath.mtu.most;
  }

  /** There is a hint that the path to this member takes less; the hinted size is read at its turn. */
  onHint(id: string): void {
    this.#waiting.add(id);
    this.#confirmDue();
  }

  /** Packets go to this member. */
  onTraffic(id: string): void {
    if (this.#prober(id).confirmedFor >= CONFIRM_BUSY_EVERY) this.onHint(id);
  }

  /** Called when packets to this member take another path. */
  pathChanged(id: string): void {
    const prober = this.#probers.get(id);
    if (!prober) return;
    prober.pathChanged();
    this.onHint(id);
  }

  /** Called when the largest packet that is sent has another size. */
  onResize(): void {
    const { datapath } = this.#parts;
    for (const [id, prober] of this.#probers) {
      prober.resize(datapath.mtu);
      this.onHint(id);
    }
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
   * Confirms the members that are due; the others stay queued. One without a path leaves: `moved`
   * brings it back.
   */
  #confirmDue(): void {
    for (const id of this.#waiting) {
      const prober = this.#prober(id);
      const hasPath = this.#parts.path(id) !== undefined;
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
    const name = this.#parts.nameOf(id);
    return name === undefined ? undefined : this.#parts.datapath.takeMtuHint(name);
  }

  #prober(id: string): PathMtu {
    const known = this.#probers.get(id);
    if (known) return known;
    const { clock, datapath, probe, relay, path, changed } = this.#parts;
    const prober = new PathMtu(
      {
        clock,
        probe: (size) => probe(id, size),
        mayProbe: (count) => {
          const carrier = relay(id);
          return carrier === undefined || this.#relayed.of(carrier).spend(count);
        },
        path: () => path(id) ?? UNKNOWN,
        changed: () => changed(id),
      },
      datapath.mtu,
    );
    this.#probers.set(id, prober);
    return prober;
  }
}

/** Assumed of a path on which no probe was answered yet. */
const UNKNOWN = { responseMs: 100, loss: 0 };
