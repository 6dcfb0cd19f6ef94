/**
 * Finds paths through relays. A node requests paths to members from its neighbours; a neighbour that
 * has one advertises it, and again whenever it changes. An update names every relay on the path (a
 * path vector, as in BGP), so that no node takes a path through itself.
 */

import { EventEmitter } from "node:events";
import type { MessageOf } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, every } from "../time/clock.js";
import { KeyedRateLimiter } from "../time/keyed-rate-limiter.js";
import { MAX_PATHS, MAX_REQUEST_IDS, type PathMessage } from "./messages.js";
import { MAX_RELAYS, type Run } from "./probe.js";
import type { PathVector, RoutingTable } from "./routing-table.js";

/** Time between two requests for the same path, in milliseconds. */
export const REQUEST_EVERY = 30_000;
/** How long a neighbour's request is remembered, in milliseconds. */
export const REQUEST_TTL = 75_000;
/** Most members that a node requests at one time, and that one session may request. */
export const MAX_REQUESTED = 1024;
/** Ids that a peer may request, at once and per second. */
export const ROUTE_REQUESTS = { burst: 2 * MAX_REQUESTED, rate: 64 };
/** Paths that a peer may advertise, at once and per second. */
export const ROUTE_UPDATES = { burst: 4 * MAX_REQUESTED, rate: 64 };
/** How long changes wait to be sent together, in milliseconds. */
const FLUSH_DELAY = 50;

type PathSession = Session<PathMessage>;

export interface RouteDiscoveryParts {
  readonly clock: Clock;
  readonly own: Run;
  readonly connections: Sessions<PathMessage>;
  readonly table: RoutingTable;
}

export interface RouteDiscoveryEvents {
  /** A neighbour requests a path to this member. */
  requested: [to: string];
  /** A neighbour advertised this path to a member, or withdrew it. */
  updated: [to: string, neighbour: string, path: PathVector | undefined];
}

/** The state of one session. */
interface Exchange {
  /** By id, when the peer's request for a member expires. */
  readonly requests: Map<string, number>;
  /** By id, the path last advertised to the peer, as text. */
  readonly advertised: Map<string, string>;
  /** Ids requested from the peer. */
  readonly requested: Set<string>;
}

export class RouteDiscovery extends EventEmitter<RouteDiscoveryEvents> {
  readonly #parts: RouteDiscoveryParts;
  readonly #wanted = new Set<string>();
  readonly #exchanges = new Map<PathSession, Exchange>();
  readonly #changed = new Set<string>();
  readonly #requests: KeyedRateLimiter;
  readonly #updates: KeyedRateLimiter;
  #cancelRefresh: (() => void) | undefined;
  #cancelFlush: (() => void) | undefined;

  constructor(parts: RouteDiscoveryParts) {
    super();
    this.#parts = parts;
    this.#requests = new KeyedRateLimiter(parts.clock, ROUTE_REQUESTS);
    this.#updates = new KeyedRateLimiter(parts.clock, ROUTE_UPDATES);
  }

  start(): void {
    this.#cancelRefresh = every(this.#parts.clock, REQUEST_EVERY, () => this.#refresh());
  }

  stop(): void {
    this.#cancelRefresh?.();
    this.#cancelFlush?.();
  }

  /** Starts or stops requesting paths to this member. */
  setWanted(id: string, isWanted: boolean): void {
    if (!isWanted) {
      if (this.#wanted.delete(id))
        for (const exchange of this.#exchanges.values()) exchange.requested.delete(id);
    } else if (!this.#wanted.has(id) && this.#wanted.size < MAX_REQUESTED) {
      this.#wanted.add(id);
      this.#scheduleFlush();
    }
  }

  get isRequesting(): boolean {
    return this.#wanted.size > 0;
  }

  /** The sessions with members that can relay packets. */
  neighbours(): PathSession[] {
    const { connections, table } = this.#parts;
    return connections.sessions().filter(({ peer }) => table.mayRelay(peer.id));
  }

  /** The path to this member has changed. */
  pathChanged(id: string): void {
    this.#changed.add(id);
    this.#scheduleFlush();
  }

  /** There may be a new neighbour. */
  neighbourAdded(): void {
    if (this.isRequesting) this.#scheduleFlush();
  }

  closed(session: PathSession): void {
    this.#exchanges.delete(session);
  }

  received(session: PathSession, message: PathMessage): void {
    if (message.type === "route-request")
      this.#onRequest(session, this.#exchangeWith(session), message.ids);
    else this.#onUpdate(session, message.paths);
  }

  #onRequest(session: PathSession, exchange: Exchange, ids: readonly string[]): void {
    if (!this.#requests.of(session.peer.id).spend(ids.length)) return;
    const until = this.#parts.clock.elapsed() + REQUEST_TTL;
    for (const id of ids) {
      if (exchange.requests.size >= MAX_REQUESTED && !exchange.requests.has(id)) continue;
      exchange.requests.set(id, until);
      exchange.advertised.delete(id);
      this.emit("requested", id);
    }
    this.#sendUpdate(session, exchange, ids);
  }

  #onUpdate(session: PathSession, paths: MessageOf<PathMessage, "route-update">["paths"]): void {
    if (!this.#updates.of(session.peer.id).spend(paths.length)) return;
    const { id } = session.peer;
    for (const { to, path } of paths) {
      const isGood = path && !hasLoop(path, [this.#parts.own.id, id, to]);
      this.emit("updated", to, id, isGood ? path : undefined);
    }
  }

  #refresh(): void {
    const now = this.#parts.clock.elapsed();
    for (const exchange of this.#exchanges.values()) {
      exchange.requested.clear();
      for (const [id, until] of exchange.requests) if (until < now) forget(exchange, id);
    }
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    this.#cancelFlush ??= this.#parts.clock.after(FLUSH_DELAY, () => {
      this.#cancelFlush = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    for (const [session, exchange] of this.#exchanges) {
      this.#sendUpdate(
        session,
        exchange,
        [...this.#changed].filter((id) => exchange.requests.has(id)),
      );
    }
    this.#changed.clear();
    if (!this.isRequesting) return;
    for (const session of this.neighbours()) {
      const { requested } = this.#exchangeWith(session);
      const ids = [...this.#wanted].filter((id) => !requested.has(id) && id !== session.peer.id);
      for (const id of ids) requested.add(id);
      for (const some of chunks(ids, MAX_REQUEST_IDS))
        session.send({ type: "route-request", ids: some });
    }
  }

  /** Sends the paths to these members that differ from those last advertised. */
  #sendUpdate(session: PathSession, { advertised }: Exchange, ids: readonly string[]): void {
    const news = ids.flatMap((to) => {
      const path = this.#pathFor(session.peer.id, to);
      const text = path ? path.join(",") : NO_PATH;
      if ((advertised.get(to) ?? NO_PATH) === text) return [];
      advertised.set(to, text);
      return [path ? { to, path: [...path] } : { to }];
    });
    for (const paths of chunks(news, MAX_PATHS)) session.send({ type: "route-update", paths });
  }

  /** The path to advertise; undefined if it leads through the asking peer or is too long. */
  #pathFor(asker: string, to: string): PathVector | undefined {
    const path = this.#parts.table.pathTo(to);
    return path && path.length < MAX_RELAYS && !path.includes(asker) ? path : undefined;
  }

  #exchangeWith(session: PathSession): Exchange {
    const known = this.#exchanges.get(session);
    if (known) return known;
    const exchange: Exchange = { requests: new Map(), advertised: new Map(), requested: new Set() };
    this.#exchanges.set(session, exchange);
    return exchange;
  }
}

/** Stands in `advertised` for no path. */
const NO_PATH = "none";

function forget({ requests, advertised }: Exchange, id: string): void {
  requests.delete(id);
  advertised.delete(id);
}

/** Whether a path contains one of these ids, or one id twice. */
const hasLoop = (path: PathVector, met: readonly string[]): boolean =>
  new Set([...path, ...met]).size < path.length + met.length;

function* chunks<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}
