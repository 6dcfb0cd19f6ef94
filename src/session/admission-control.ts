/**
 * Admits connections to the mesh port before TLS: a handshake takes 0.2 ms of the main thread, a
 * reset a third of that. A host that connects again and again uses up its own share, not that of
 * others.
 *
 *   connection -> rate of its source -> place among the pending -> TLS, upgrade -> known
 */
import { parseAddress } from "../address.js";
import { evictOldest } from "../evict-oldest.js";
import type { Clock } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";

/** Longest time from a connection to an open WebSocket, in milliseconds. */
export const HANDSHAKE_TIMEOUT = 5_000;
/** Most pending connections, which have not shown the secret: of all sources together, and of one. */
export const MAX_PENDING = 256;
export const MAX_PENDING_PER_SOURCE = 32;
/** Handshakes that one source may begin, at once and per second. Successful ones are refunded. */
export const PER_SOURCE_RATE = { burst: 16, rate: 2 };
/** Handshakes of all sources together that have not shown the secret before. */
export const NEW_SOURCES_RATE = { burst: 512, rate: 256 };
/** Handshakes of all sources together beyond their own rate. */
export const HEAVY_SOURCES_RATE = { burst: 256, rate: 256 };
/** Most remembered sources that have shown the secret. Beyond that the oldest is forgotten. */
const MAX_KNOWN = 4096;

/** The part of `net.Socket` that admission uses. */
export interface Client {
  readonly remoteAddress?: string | undefined;
  once(event: "close", listener: () => void): unknown;
  resetAndDestroy(): unknown;
}

export interface Refusals {
  /** Connections over the rate, refused before TLS. */
  rate: number;
  /** Pending connections evicted for a newer one, because their source or all sources had too many. */
  crowded: number;
  /** Connections whose handshake took too long. */
  late: number;
}

export class AdmissionControl {
  readonly refused: Refusals = { rate: 0, crowded: 0, late: 0 };
  readonly #clock: Clock;
  /** Pending connections by source, oldest first. */
  readonly #pending = new Map<string, Set<Client>>();
  #pendingCount = 0;
  /** Sources that have shown the secret. */
  readonly #known = new Map<string, true>();
  readonly #perSource: KeyedRateLimiter;
  readonly #newSources: TokenBucket;
  readonly #heavySources: TokenBucket;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#perSource = new KeyedRateLimiter(clock, PER_SOURCE_RATE);
    this.#newSources = new TokenBucket(clock, NEW_SOURCES_RATE.burst, NEW_SOURCES_RATE.rate);
    this.#heavySources = new TokenBucket(clock, HEAVY_SOURCES_RATE.burst, HEAVY_SOURCES_RATE.rate);
  }

  /** Number of pending connections. */
  get pending(): number {
    return this.#pendingCount;
  }

  /**
   * Admits a connection to the handshake, or resets it.
   * @returns a function to call when it has shown the secret; undefined if it was refused
   */
  admit(client: Client): (() => void) | undefined {
    const source = sourceOf(client.remoteAddress);
    if (!this.#isWithinRate(source)) {
      this.refused.rate++;
      client.resetAndDestroy();
      return undefined;
    }
    this.#makeRoomFor(source);
    this.#add(source, client);
    const late = this.#clock.after(HANDSHAKE_TIMEOUT, () => this.#drop(source, client, "late"));
    const leave = () => {
      late();
      this.#remove(source, client);
    };
    client.once("close", leave);
    return () => {
      leave();
      this.#perSource.of(source).refund(1);
      this.authenticated(client.remoteAddress);
    };
  }

  /** Records that a node at this address has shown the secret. Known sources are admitted before others. */
  authenticated(address: string | undefined): void {
    const source = sourceOf(address);
    this.#known.delete(source);
    this.#known.set(source, true);
    evictOldest(this.#known, MAX_KNOWN);
  }

  #isWithinRate(source: string): boolean {
    if (!this.#perSource.of(source).spend(1)) return this.#heavySources.spend(1);
    return this.#known.has(source) || this.#newSources.spend(1);
  }

  /**
   * Evicts the oldest connection of a source that has its full share; when all places are taken,
   * the oldest of the source with most.
   */
  #makeRoomFor(source: string): void {
    const own = this.#pending.get(source)?.size ?? 0;
    const from =
      own >= MAX_PENDING_PER_SOURCE
        ? source
        : this.#pendingCount >= MAX_PENDING
          ? this.#heaviest()
          : undefined;
    if (from === undefined) return;
    const [oldest] = this.#pending.get(from)!;
    this.#drop(from, oldest!, "crowded");
  }

  /** The source with most pending connections; of equals the one pending longest. Known sources rank last. */
  #heaviest(): string {
    let [heaviest, most] = ["", 0];
    for (const [source, clients] of this.#pending) {
      const weight = this.#known.has(source) ? clients.size / MAX_PENDING : clients.size;
      if (weight > most) [heaviest, most] = [source, weight];
    }
    return heaviest;
  }

  #drop(source: string, client: Client, why: keyof Refusals): void {
    this.refused[why]++;
    this.#remove(source, client);
    client.resetAndDestroy();
  }

  #add(source: string, client: Client): void {
    const clients = this.#pending.get(source) ?? new Set();
    this.#pending.set(source, clients.add(client));
    this.#pendingCount++;
  }

  /** Does nothing when called again. */
  #remove(source: string, client: Client): void {
    const clients = this.#pending.get(source);
    if (!clients?.delete(client)) return;
    this.#pendingCount--;
    if (clients.size === 0) this.#pending.delete(source);
  }
}

/** Node.js writes the last 32 bits of some IPv6 addresses as IPv4: `::192.0.2.1`. */
const LAST_32_BITS = /\d+(\.\d+){3}$/;

/** The source of an address: the IPv4 address, or the IPv6 /64, all of which one host may own. */
export function sourceOf(address = ""): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*/, "");
  if (!plain.includes(":")) return plain;
  const { value } = parseAddress(plain.replace(LAST_32_BITS, "0:0"));
  return `${(value >> 64n).toString(16)}::/64`;
}
