/**
 * The sessions of a node: dials the addresses it is told to keep, takes the
 * connections that come in, and holds at most one session with each peer.
 */
import { WeftError } from "../error.js";
import { Budget } from "./budget.js";
import type { Log } from "./log.js";
import type { Message } from "./message.js";
import { type Role, Session, type SessionParts } from "./session.js";
import type { Connection, ListenAddress, Transport } from "./transport.js";

export const MAX_SESSIONS = 1024;
/** First wait in milliseconds, its growth with each failure, and where the growth ends. */
export const BACKOFF = { first: 500, factor: 1.5, most: 30_000 };
/** A session that lasted this long, in milliseconds, was worth dialling: the next wait is short again. */
const WORTHWHILE = 10_000;

export interface LinksParts extends SessionParts {
  readonly transport: Transport;
  readonly log: Log;
}

export interface LinksEvents {
  opened(session: Session): void;
  message(session: Session, message: Message): void;
  closed(session: Session): void;
  /** An address was dialled in vain, or its session ended. */
  failed(address: string, reason: WeftError): void;
}

/** One address that is kept, and how dialling it goes. */
interface Dial {
  readonly address: string;
  failures: number;
  /** Who answered there last. */
  id?: string;
  failure?: WeftError | undefined;
  session?: Session | undefined;
  dialling?: boolean;
  since?: number;
  cancel?: () => void;
}

export class Links {
  readonly #parts: LinksParts;
  readonly #events: LinksEvents;
  readonly #dials = new Map<string, Dial>();
  readonly #sessions = new Set<Session>();
  readonly #byPeer = new Map<string, Session>();
  readonly #complaints: Budget;
  #stopped = false;

  constructor(parts: LinksParts, events: LinksEvents) {
    this.#parts = parts;
    this.#events = events;
    this.#complaints = new Budget(parts.clock, 10, 0.2);
  }

  /** Takes connections from now on. Answers with the port; rejects with a WeftError. */
  listen(at: ListenAddress): Promise<number> {
    return this.#parts.transport.listen(at, (connection) => this.#accept(connection));
  }

  /** From now on keeps a session to each of these addresses, and dials no others. */
  keep(addresses: Iterable<string>): void {
    if (this.#stopped) return;
    const wanted = new Set(whom(addresses));
    for (const dial of this.#dials.values()) {
      if (wanted.has(dial.address)) continue;
      dial.cancel?.();
      this.#dials.delete(dial.address);
    }
    for (const address of wanted) {
      if (this.#dials.has(address)) continue;
      const dial: Dial = { address, failures: 0 };
      this.#dials.set(address, dial);
      this.#dial(dial);
    }
  }

  /** The open sessions, one for each peer. */
  open(): Session[] {
    return [...this.#byPeer.values()];
  }

  to(id: string): Session | undefined {
    return this.#byPeer.get(id);
  }

  /** Why there is no session through this address; nothing while the first attempt goes on. */
  failure(address: string): WeftError | undefined {
    return this.#dials.get(address)?.failure;
  }

  /** Who answered at this address. */
  peerAt(address: string): string | undefined {
    return this.#dials.get(address)?.id;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const dial of this.#dials.values()) dial.cancel?.();
    for (const session of this.#sessions) session.close(STOPPING);
    await this.#parts.transport.close();
  }

  #dial(dial: Dial): void {
    if (this.#stopped || dial.dialling || dial.session || !this.#kept(dial)) return;
    if (dial.id && this.#byPeer.has(dial.id)) {
      dial.failure = undefined;
      return;
    }
    dial.dialling = true;
    this.#parts.transport.dial(dial.address, (result) => {
      dial.dialling = false;
      if (result instanceof WeftError) return this.#missed(dial, result);
      dial.session = this.#session(result, "dialer");
    });
  }

  #accept(connection: Connection) {
    if (this.#stopped || this.#sessions.size >= MAX_SESSIONS) return connection.close();
    this.#session(connection, "listener");
  }

  #session(connection: Connection, role: Role): Session {
    const session = new Session(connection, role, this.#parts, {
      opened: () => this.#opened(session),
      message: (_, message) => this.#events.message(session, message),
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
    if (dial) Object.assign(dial, { id, failure: undefined, since: this.#parts.clock.now() });
    const other = this.#byPeer.get(id);
    if (other && this.#prefers(other, session)) return session.close(DUPLICATE);
    this.#byPeer.set(id, session);
    other?.close(DUPLICATE);
    this.#events.opened(session);
  }

  /** Both ends must choose alike: the connection dialled by the lower id; of two such, the newer. */
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
      this.#events.closed(session);
      for (const dial of this.#dials.values()) if (dial.id === id) this.#again(dial);
    }
    const dial = this.#dialOf(session);
    if (dial) {
      dial.session = undefined;
      if (reason.code !== DUPLICATE.code) this.#missed(dial, reason);
    } else if (!QUIET.has(reason.code) && this.#complaints.spend(1)) {
      this.#parts.log.warn(`session with ${session.remote} ended: ${reason.message}`);
    }
  }

  #missed(dial: Dial, reason: WeftError): void {
    if (!this.#kept(dial) || this.#stopped) return;
    const lasted = dial.since === undefined ? 0 : this.#parts.clock.now() - dial.since;
    dial.failures = lasted > WORTHWHILE ? 1 : dial.failures + 1;
    delete dial.since;
    if (dial.failure?.code !== reason.code && !QUIET.has(reason.code)) {
      this.#parts.log.warn(`no session with ${dial.address}: ${reason.message}`, {
        remedy: reason.remedy,
      });
    }
    dial.failure = reason.code === "LOST" ? undefined : reason;
    if (reason.code !== "SELF") this.#again(dial);
    this.#events.failed(dial.address, reason);
  }

  #again(dial: Dial): void {
    const { first, factor, most } = BACKOFF;
    const wait = Math.min(most, first * factor ** dial.failures);
    dial.cancel?.();
    dial.cancel = this.#parts.clock.after(wait * (0.5 + this.#parts.clock.random() / 2), () =>
      this.#dial(dial),
    );
  }

  #kept(dial: Dial): boolean {
    return this.#dials.get(dial.address) === dial;
  }

  #dialOf(session: Session): Dial | undefined {
    if (session.role === "listener") return undefined;
    return [...this.#dials.values()].find((dial) => dial.session === session);
  }
}

/** Which of the known addresses to keep a session to: all of them, up to what a node can hold. */
const whom = (addresses: Iterable<string>): string[] => [...addresses].slice(0, MAX_SESSIONS);

const DUPLICATE = new WeftError("DUPLICATE", "another session stays", "nothing is to be done");
const STOPPING = new WeftError("STOPPING", "the node stops", "nothing is to be done");
/** Ends of a session that need no word in the log. */
const QUIET = new Set(["DUPLICATE", "STOPPING", "SELF", "LOST"]);
