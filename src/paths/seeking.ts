/**
 * Finding paths through others. A node tells its neighbours which members it
 * seeks; who has a path to one of them offers it, and again whenever that path
 * changes. An offer names every member on the path, so that nobody takes one
 * that leads through itself (a path vector, as BGP has).
 */

import type { MessageOf } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { Budgets } from "../time/budgets.js";
import { type Clock, every } from "../time/clock.js";
import { MAX_PATHS, MAX_SOUGHT_AT_ONCE, type PathMessage } from "./messages.js";
import { MAX_RELAYS } from "./probe.js";

/** What is sought is said again so often; what another seeks is remembered for so long. Milliseconds. */
export const SEEK_EVERY = 30_000;
export const SEEK_LASTS = 75_000;
/** Members that one node seeks at a time, and that are sought through one session. */
export const MAX_SOUGHT = 1024;
/** Ids that a peer may seek and paths that it may offer at once, and each second after that. */
export const SEEKS = { burst: 2 * MAX_SOUGHT, rate: 64 };
export const OFFERS = { burst: 4 * MAX_SOUGHT, rate: 64 };
/** What changes within so many milliseconds is said together. */
const GATHER = 50;

export type Path = readonly string[];

type PathSession = Session<PathMessage>;

export interface SeekingParts {
  readonly clock: Clock;
  /** The sessions with those to whom packets can be given. */
  readonly neighbours: () => PathSession[];
  readonly own: string;
  /** The path this node uses: the members between, in turn. */
  readonly path: (to: string) => Path | undefined;
  /** Somebody seeks this member. */
  readonly sought: (to: string) => void;
  readonly offered: (to: string, neighbour: string, path: Path | undefined) => void;
}

/** What is known of a session. */
interface Talk {
  /** Until when the other end seeks a member. */
  readonly seeks: Map<string, number>;
  /** What was offered to it last. */
  readonly told: Map<string, string>;
  /** What it has been told that this node seeks. */
  readonly asked: Set<string>;
}

export class Seeking {
  readonly #parts: SeekingParts;
  readonly #wanted = new Set<string>();
  readonly #talks = new Map<PathSession, Talk>();
  readonly #changed = new Set<string>();
  readonly #seeks: Budgets;
  readonly #offers: Budgets;
  #cancelRepeat: (() => void) | undefined;
  #cancelSoon: (() => void) | undefined;

  constructor(parts: SeekingParts) {
    this.#parts = parts;
    this.#seeks = new Budgets(parts.clock, SEEKS);
    this.#offers = new Budgets(parts.clock, OFFERS);
  }

  start(): void {
    this.#cancelRepeat = every(this.#parts.clock, SEEK_EVERY, () => this.#repeat());
  }

  stop(): void {
    this.#cancelRepeat?.();
    this.#cancelSoon?.();
  }

  /** Asks for paths to this member, or no longer. */
  seek(id: string, isWanted: boolean): void {
    if (!isWanted) {
      if (this.#wanted.delete(id)) for (const talk of this.#talks.values()) talk.asked.delete(id);
    } else if (!this.#wanted.has(id) && this.#wanted.size < MAX_SOUGHT) {
      this.#wanted.add(id);
      this.#soon();
    }
  }

  get isSeeking(): boolean {
    return this.#wanted.size > 0;
  }

  /** The path to this member is another now. */
  changed(id: string): void {
    this.#changed.add(id);
    this.#soon();
  }

  /** There may be a neighbour that was none before. */
  met(): void {
    if (this.isSeeking) this.#soon();
  }

  closed(session: PathSession): void {
    this.#talks.delete(session);
  }

  received(session: PathSession, message: PathMessage): void {
    if (message.type === "seek") this.#sought(session, this.#talk(session), message.ids);
    else this.#offered(session, message.paths);
  }

  #sought(session: PathSession, talk: Talk, ids: readonly string[]): void {
    if (!this.#seeks.of(session.peer.id).spend(ids.length)) return;
    const until = this.#parts.clock.elapsed() + SEEK_LASTS;
    for (const id of ids) {
      if (talk.seeks.size >= MAX_SOUGHT && !talk.seeks.has(id)) continue;
      talk.seeks.set(id, until);
      talk.told.delete(id);
      this.#parts.sought(id);
    }
    this.#offer(session, talk, ids);
  }

  #offered(session: PathSession, paths: MessageOf<PathMessage, "offer">["paths"]): void {
    if (!this.#offers.of(session.peer.id).spend(paths.length)) return;
    const { id } = session.peer;
    for (const { to, path } of paths) {
      const isGood = path && !leadsBack(path, [this.#parts.own, id, to]);
      this.#parts.offered(to, id, isGood ? path : undefined);
    }
  }

  #repeat(): void {
    const now = this.#parts.clock.elapsed();
    for (const talk of this.#talks.values()) {
      talk.asked.clear();
      for (const [id, until] of talk.seeks) if (until < now) forget(talk, id);
    }
    this.#soon();
  }

  #soon(): void {
    this.#cancelSoon ??= this.#parts.clock.after(GATHER, () => {
      this.#cancelSoon = undefined;
      this.#say();
    });
  }

  #say(): void {
    for (const [session, talk] of this.#talks) {
      this.#offer(
        session,
        talk,
        [...this.#changed].filter((id) => talk.seeks.has(id)),
      );
    }
    this.#changed.clear();
    if (!this.isSeeking) return;
    for (const session of this.#parts.neighbours()) {
      const { asked } = this.#talk(session);
      const ids = [...this.#wanted].filter((id) => !asked.has(id) && id !== session.peer.id);
      for (const id of ids) asked.add(id);
      for (const some of pages(ids, MAX_SOUGHT_AT_ONCE)) session.send({ type: "seek", ids: some });
    }
  }

  /** Tells the other end of a session what it does not know yet of the paths to these. */
  #offer(session: PathSession, { told }: Talk, ids: readonly string[]): void {
    const news = ids.flatMap((to) => {
      const path = this.#pathFor(session.peer.id, to);
      const text = path ? path.join(",") : NONE;
      if ((told.get(to) ?? NONE) === text) return [];
      told.set(to, text);
      return [path ? { to, path: [...path] } : { to }];
    });
    for (const paths of pages(news, MAX_PATHS)) session.send({ type: "offer", paths });
  }

  /** Nothing that would lead back to who asks, or through too many. */
  #pathFor(asker: string, to: string): Path | undefined {
    const path = this.#parts.path(to);
    return path && path.length < MAX_RELAYS && !path.includes(asker) ? path : undefined;
  }

  #talk(session: PathSession): Talk {
    const known = this.#talks.get(session);
    if (known) return known;
    const talk: Talk = { seeks: new Map(), told: new Map(), asked: new Set() };
    this.#talks.set(session, talk);
    return talk;
  }
}

/** What was told when there is no path, or nothing was. */
const NONE = "none";

function forget({ seeks, told }: Talk, id: string): void {
  seeks.delete(id);
  told.delete(id);
}

/** Whether a path meets one of these, or one member twice. */
const leadsBack = (path: Path, met: readonly string[]): boolean =>
  new Set([...path, ...met]).size < path.length + met.length;

function* pages<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}
