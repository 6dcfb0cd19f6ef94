/**
 * Manages the sessions of a node: dials its targets, accepts incoming connections, and keeps at most
 * one session with each peer.
 */
import { EventEmitter } from "node:events";
import { WeftError } from "../error.js";
import type { Log } from "../log.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { TokenBucket } from "../time/token-bucket.js";
import type { Message } from "./protocol.js";
import { SendQueues } from "./send-queues.js";
import { BURST, RATE, type Role, Session, type SessionParts } from "./session.js";
import type { Sessions } from "./sessions.js";
import type { Connection, ListenAddress, Transport } from "./transport.js";

/** Most sessions, dialled and accepted together. */
export const MAX_SESSIONS = 1024;
/** Wait before the next dial, in milliseconds: the first, its growth with each failure, the longest. */
export const BACKOFF = { first: 500, factor: 1.5, most: 30_000 };
/** Most unanswered candidates that are redialled at one time. Further ones rest, so that others are tried. */
export const MAX_FAILING = 32;
/** How long such an address rests, in milliseconds. */
export const FAILED_ADDRESS_COOLDOWN = 300_000;
/** A session is pruned no earlier than this after it opened, in milliseconds: the other end may learn from it. */
export const PRUNE_AFTER = 10_000;
/** Most addresses of which a peer or a rest is remembered. */
const MAX_KNOWN = 1024;
/** After a session that lasted this long, in milliseconds, the backoff begins anew. */
const STABLE_AFTER = 10_000;

export interface ConnectionManagerParts
  extends Omit<SessionParts, "messages" | "bytes" | "queues" | "isMember"> {
  readonly transport: Transport;
  readonly log: Log;
}

export interface ConnectionManagerEvents {
  opened: [session: Session];
  message: [session: Session, message: Message];
  /** The peer is quiet. Repeated while it is. */
  quiet: [session: Session];
  /** A node is dialled at its known address. */
  dialling: [id: string];
  /** The dial failed, or another node answered. `dialledAt` is a time of `clock.elapsed`. */
  unanswered: [id: string, dialledAt: number];
  closed: [session: Session, reason: WeftError];
  /** A dial to this address failed, or its session ended. */
  failed: [address: string, reason: WeftError];
}

/** A node to hold a session with, and where to dial it. */
export interface Candidate {
  readonly id: string;
  readonly address: string;
}

export interface Targets {
  /** Addresses to keep a session to, whichever node answers. */
  readonly addresses: readonly string[];
  /** Nodes to keep a session with, or to prove unreachable. */
  readonly nodes: readonly Candidate[];
  /** Nodes in order of preference: a session is kept with the first `count` that can be reached. */
  readonly candidates: Iterable<Candidate>;
  /** Whether a node is among `candidates`. */
  isCandidate(id: string): boolean;
  readonly count: number;
  /** Whether to close sessions that this node opened and no longer needs. */
  readonly pruneIdle: boolean;
}

/** One target address and the state of dialling it. */
interface Dial {
  readonly address: string;
  /** Failed attempts in a row. */
  failures: number;
  /** The node that is expected there: the target, or the one that answered last. */
  id?: string;
  failure?: WeftError | undefined;
  session?: Session | undefined;
  dialling?: boolean;
  /** When the last attempt began, by `clock.elapsed`. */
  dialledAt?: number;
  /** When its session opened, by `clock.elapsed`. */
  since?: number;
  cancel?: () => void;
}

export class ConnectionManager extends EventEmitter<ConnectionManagerEvents> implements Sessions {
  readonly #parts: ConnectionManagerParts;
  readonly #dials = new Map<string, Dial>();
  readonly #sessions = new Set<Session>();
  readonly #byPeer = new Map<string, Session>();
  /** The id of the node that last answered at an address. */
  readonly #peerByAddress = new Map<string, string>();
  /** Resting addresses: until when, by `clock.elapsed`, and the failure. */
  readonly #coolingDown = new Map<
    string,
    { readonly until: number; readonly failure: WeftError }
  >();
  readonly #warnings: TokenBucket;
  readonly #messages: KeyedRateLimiter;
  readonly #bytes: KeyedRateLimiter;
  readonly #queues = new SendQueues();
  /** `isCandidate` of the last targets. */
  #isMember: (id: string) => boolean = () => false;
  #stopped = false;

  constructor(parts: ConnectionManagerParts) {
    super();
    this.#parts = parts;
    const { clock } = parts;
    this.#warnings = new TokenBucket(clock, 10, 0.2);
    this.#messages = new KeyedRateLimiter(clock, { burst: BURST.messages, rate: RATE.messages });
    this.#bytes = new KeyedRateLimiter(clock, { burst: BURST.bytes, rate: RATE.bytes });
  }

  /**
   * Accepts connections at this address and at no other. Resolves with the port; rejects with a
   * WeftError, and then nothing has changed.
   */
  listen(at: ListenAddress): Promise<number> {
    return this.#parts.transport.listen(at, (connection) => this.#accept(connection));
  }

  /** Dials these targets and no others from now on. To be called again after any change of them. */
  setTargets(targets: Targets): void {
    if (this.#stopped) return;
    this.#isMember = targets.isCandidate;
    const wanted = this.#targetAddresses(targets);
    for (const dial of this.#dials.values()) {
      if (wanted.has(dial.address) || !this.#mayPrune(dial, targets)) continue;
      dial.cancel?.();
      this.#dials.delete(dial.address);
      dial.session?.close(NOT_NEEDED);
    }
    for (const [address, id] of wanted) {
      if (this.#dials.has(address)) continue;
      const dial: Dial = { address, failures: 0, ...(id && { id }) };
      this.#dials.set(address, dial);
      this.#dial(dial);
    }
  }

  /** The addresses to dial, each with the id of the expected node where it is known. */
  #targetAddresses({
    addresses,
    nodes,
    candidates,
    count,
  }: Targets): Map<string, string | undefined> {
    const wanted = new Map<string, string | undefined>();
    for (const address of addresses) wanted.set(address, undefined);
    for (const { address, id } of nodes) wanted.set(address, id);
    let held = 0;
    let failing = 0;
    for (const { id, address } of candidates) {
      if (held >= count || wanted.size >= MAX_SESSIONS) break;
      if (this.#isCoolingDown(address)) continue;
      const fails = !this.#byPeer.has(id) && this.#isFailing(id, this.#dials.get(address));
      if (fails && ++failing > MAX_FAILING) this.#coolDown(address);
      else wanted.set(address, id);
      if (!fails) held++;
    }
    return wanted;
  }

  /** Whether its dials fail, or another node answers at its address. */
  #isFailing(id: string, dial: Dial | undefined): boolean {
    if (!dial) return false;
    const other = dial.id !== undefined && dial.id !== id && this.#byPeer.has(dial.id);
    return dial.failures > 0 || other;
  }

  /** Whether this session is old enough to close, and enough other candidates have one. */
  #mayPrune({ session, since }: Dial, { pruneIdle, isCandidate, count }: Targets): boolean {
    if (!session) return true;
    if (!session.isOpen) return false;
    const isOld = since !== undefined && this.#parts.clock.elapsed() - since >= PRUNE_AFTER;
    if (!pruneIdle || !isOld) return false;
    const others = [...this.#byPeer.keys()].filter((id) => id !== session.peer.id);
    return others.filter(isCandidate).length >= count;
  }

  #isCoolingDown(address: string): boolean {
    const rest = this.#coolingDown.get(address);
    return rest !== undefined && rest.until > this.#parts.clock.elapsed();
  }

  #coolDown(address: string): void {
    const failure = this.#dials.get(address)?.failure;
    if (!failure) return;
    if (this.#coolingDown.size >= MAX_KNOWN) this.#coolingDown.clear();
    this.#coolingDown.set(address, {
      until: this.#parts.clock.elapsed() + FAILED_ADDRESS_COOLDOWN,
      failure,
    });
  }

  /** The open sessions, one for each peer. */
  sessions(): Session[] {
    return [...this.#byPeer.values()];
  }

  sessionWith(id: string): Session | undefined {
    return this.#byPeer.get(id);
  }

  /** Why there is no session to this address; undefined during the first attempt. */
  failure(address: string): WeftError | undefined {
    return this.#dials.get(address)?.failure ?? this.#coolingDown.get(address)?.failure;
  }

  /** Whether this address is dialled, now or after its backoff. */
  isDialling(address: string): boolean {
    return this.#dials.has(address);
  }

  /** The id of the node that last answered at this address. */
  peerAt(address: string): string | undefined {
    return this.#peerByAddress.get(address);
  }

  /** Closes all sessions, so that they reopen from another address of this node. */
  reconnectAll(): void {
    for (const session of this.#sessions) session.close(MOVED);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const dial of this.#dials.values()) dial.cancel?.();
    for (const session of this.#sessions) session.close(STOPPING);
    await this.#parts.transport.close();
  }

  #dial(dial: Dial): void {
    if (this.#stopped || dial.dialling || dial.session || !this.#isCurrent(dial)) return;
    if (dial.id && this.#byPeer.has(dial.id)) {
      dial.failure = undefined;
      return;
    }
    dial.dialling = true;
    dial.dialledAt = this.#parts.clock.elapsed();
    if (dial.id) this.emit("dialling", dial.id);
    this.#parts.transport.dial(dial.address, (result) => {
      dial.dialling = false;
      if (result instanceof WeftError) return this.#dialFailed(dial, result);
      if (!this.#isCurrent(dial)) return result.close();
      dial.session = this.#session(result, "dialer");
    });
  }

  #accept(connection: Connection) {
    if (this.#stopped || !this.#hasRoom()) return connection.close();
    this.#session(connection, "listener");
  }

  /**
   * Whether there is room for one more session. When there is none, closes an accepted session with
   * a peer that is no member: a host with the secret can make up any number of identities.
   */
  #hasRoom(): boolean {
    if (this.#sessions.size < MAX_SESSIONS) return true;
    for (const session of this.#sessions) {
      if (session.role === "dialer") continue;
      if (session.isMember) continue;
      session.close(CROWDED);
      return true;
    }
    return false;
  }

  #session(connection: Connection, role: Role): Session {
    const parts = {
      ...this.#parts,
      messages: this.#messages,
      bytes: this.#bytes,
      queues: this.#queues,
      isMember: (id: string) => this.#isMember(id),
    };
    const session = new Session(connection, role, parts, {
      opened: () => this.#opened(session),
      message: (_, message) => this.emit("message", session, message),
      quiet: () => this.emit("quiet", session),
      closed: (_, reason) => this.#closed(session, reason),
    });
    this.#sessions.add(session);
    session.start();
    if (this.#stopped) session.close(STOPPING);
    return session;
  }

  #opened(session: Session) {
    const { id } = session.peer;
    const dial = this.#dialOf(session);
    if (dial) {
      if (dial.id && dial.id !== id) this.emit("unanswered", dial.id, dial.dialledAt!);
      Object.assign(dial, { id, failure: undefined, since: this.#parts.clock.elapsed() });
      if (this.#peerByAddress.size >= MAX_KNOWN) this.#peerByAddress.clear();
      this.#peerByAddress.set(dial.address, id);
      this.#coolingDown.delete(dial.address);
      if (dial.failures > 1) this.#resetBackoffs();
    }
    const other = this.#byPeer.get(id);
    if (other && this.#prefers(other, session)) return session.close(DUPLICATE);
    this.#byPeer.set(id, session);
    for (const other of this.#dials.values()) {
      // The peer itself dialled: if that session ends, dial it without a backoff.
      if (other.id === id && other !== dial)
        Object.assign(other, { failures: 0, failure: undefined });
    }
    other?.close(DUPLICATE);
    this.emit("opened", session);
  }

  /**
   * Whether the old of two sessions with a peer stays. Both ends must decide alike: the session that
   * the lower id dialled stays; of two such, or with a new run of the peer, the newer.
   */
  #prefers(old: Session, young: Session): boolean {
    if (old.peer.instance !== young.peer.instance || old.role === young.role) return false;
    const weAreLower = this.#parts.identity.id < old.peer.id;
    return (old.role === "dialer") === weAreLower;
  }

  #closed(session: Session, reason: WeftError): void {
    this.#sessions.delete(session);
    const id = session.hasPeer ? session.peer.id : undefined;
    if (id && this.#byPeer.get(id) === session) {
      this.#byPeer.delete(id);
      this.emit("closed", session, reason);
      for (const dial of this.#dials.values()) if (dial.id === id) this.#scheduleDial(dial);
    }
    const dial = this.#dialOf(session);
    if (dial) {
      dial.session = undefined;
      if (reason.code !== DUPLICATE.code) this.#dialFailed(dial, reason);
    } else if (!EXPECTED_ENDS.has(reason.code) && this.#warnings.spend(1)) {
      this.#parts.log.warn(`session with ${session.remote} ended: ${reason.message}`, {
        remedy: reason.remedy,
      });
    }
  }

  #dialFailed(dial: Dial, reason: WeftError): void {
    if (!this.#isCurrent(dial) || this.#stopped) return;
    const wasOpen = dial.since !== undefined;
    const lasted = dial.since === undefined ? 0 : this.#parts.clock.elapsed() - dial.since;
    dial.failures = lasted > STABLE_AFTER ? 1 : dial.failures + 1;
    delete dial.since;
    if (dial.failure?.code !== reason.code && !EXPECTED_ENDS.has(reason.code)) {
      this.#parts.log.warn(`no session with ${dial.address}: ${reason.message}`, {
        remedy: reason.remedy,
      });
    }
    if (reason.code === "SELF" && dial.failure?.code !== "SELF") {
      this.#parts.log.info(`${dial.address} is an address of this node itself: not dialled again`);
    }
    dial.failure = reason.code === "LOST" ? undefined : reason;
    if (reason.code !== "SELF") this.#scheduleDial(dial);
    if (dial.id && !wasOpen) this.emit("unanswered", dial.id, dial.dialledAt!);
    this.emit("failed", dial.address, reason);
  }

  #scheduleDial(dial: Dial): void {
    const { first, factor, most } = BACKOFF;
    const wait = Math.min(most, first * factor ** dial.failures);
    dial.cancel?.();
    dial.cancel = this.#parts.clock.after(wait * (0.5 + this.#parts.clock.random() / 2), () =>
      this.#dial(dial),
    );
  }

  /** Dials this address soon, despite earlier failures: its node was just heard of. */
  resetBackoff(address: string): void {
    this.#coolingDown.delete(address);
    const dial = this.#dials.get(address);
    if (!dial || dial.failures === 0 || dial.session) return;
    Object.assign(dial, { failures: 0, failure: undefined });
    if (!dial.dialling) this.#scheduleDial(dial);
  }

  /** An unreachable node answers again, so others may too: dials them soon. */
  #resetBackoffs(): void {
    for (const dial of this.#dials.values()) {
      if (dial.failures <= 1 || dial.session || dial.dialling) continue;
      dial.failures = 1;
      this.#scheduleDial(dial);
    }
  }

  #isCurrent(dial: Dial): boolean {
    return this.#dials.get(dial.address) === dial;
  }

  #dialOf(session: Session): Dial | undefined {
    if (session.role === "listener") return undefined;
    return [...this.#dials.values()].find((dial) => dial.session === session);
  }
}

const CROWDED = new WeftError(
  "CROWDED",
  "there are too many sessions, and the other end is not a member",
  "try again; if it persists, give the cluster a new secret",
);
const DUPLICATE = new WeftError("DUPLICATE", "another session stays", "nothing is to be done");
const MOVED = new WeftError("MOVED", "the node moves to another address", "nothing is to be done");
const NOT_NEEDED = new WeftError(
  "NOT_NEEDED",
  "sessions with others are enough",
  "nothing is to be done",
);
const STOPPING = new WeftError("STOPPING", "the node stops", "nothing is to be done");
/** Codes of ends that are not logged. */
const EXPECTED_ENDS = new Set(["DUPLICATE", "MOVED", "NOT_NEEDED", "STOPPING", "SELF", "LOST"]);
