/**
 * With whom this node wants sessions: some of the members, those in doubt, a
 * join address until a member answers there; without any session, also the
 * addresses on disk.
 */
import type { Candidate, Links } from "../session/links.js";
import { fanout, Neighbours } from "./neighbours.js";
import type { NodeRecord } from "./record.js";

/** Addresses kept on disk. */
export const MAX_REMEMBERED = 64;
/** Members whose session broke and which are dialled to see whether they are there. */
export const MAX_BROKEN = 64;

export interface NeighbourhoodParts {
  readonly links: Links;
  readonly own: string;
  /** Makes this node's choice its own. */
  readonly salt: number;
  /** Addresses like `192.0.2.1:6783`. */
  readonly joins: readonly string[];
  /** Sessions this node opens by itself, if not as many as the members suggest. */
  readonly sessions?: number | undefined;
}

export class Neighbourhood {
  readonly #parts: NeighbourhoodParts;
  readonly #neighbours: Neighbours;
  /** Members whose session broke: to be dialled, to see whether they are there. */
  readonly #broken = new Set<string>();
  /** Addresses that members left for others, and that are not worth remembering any more. */
  readonly #left = new Set<string>();

  constructor(parts: NeighbourhoodParts) {
    this.#parts = parts;
    this.#neighbours = new Neighbours(parts.own, parts.salt);
  }

  /** What is known of a node now. */
  set(id: string, record: NodeRecord | undefined): void {
    const before = this.#neighbours.get(id)?.mesh;
    if (before && record && record.mesh !== before) this.#left.add(before);
    this.#neighbours.set(id, record);
  }

  broke(id: string): void {
    if (this.#broken.size < MAX_BROKEN) this.#broken.add(id);
  }

  isBroken(id: string): boolean {
    return this.#broken.has(id);
  }

  /** It was heard: what broke its session did not break it. */
  isBack(id: string): void {
    this.#broken.delete(id);
  }

  /** `needed`: nodes with which there must be a session, if there can be one. */
  keep(wish: {
    readonly needed: readonly string[];
    readonly remembered: readonly string[];
    readonly thrifty: boolean;
  }): void {
    const { links, joins, sessions } = this.#parts;
    const neighbours = this.#neighbours;
    const isAlone = links.open().length === 0;
    links.keep({
      addresses: isAlone
        ? [...joins, ...wish.remembered]
        : joins.filter((address) => !this.#isMember(address)),
      nodes: [...this.#broken, ...wish.needed]
        .flatMap((id) => neighbours.get(id) ?? [])
        .map(candidate),
      choice: mapped(neighbours, candidate),
      isChoice: (id) => neighbours.get(id) !== undefined,
      count: sessions ?? fanout(neighbours.size),
      thrifty: wish.thrifty,
    });
  }

  /** Whether this is the address of a member, as far as is known. */
  #isMember(address: string): boolean {
    const peer = this.#parts.links.peerAt(address);
    if (peer !== undefined) return this.#neighbours.get(peer) !== undefined;
    for (const { mesh } of this.#neighbours.records()) if (mesh === address) return true;
    return false;
  }

  /** What to keep on disk instead of `known`, if one with whom there is a session is not among it. */
  toRemember(known: readonly string[]): string[] | undefined {
    const neighbours = this.#neighbours;
    const open = this.#parts.links
      .open()
      .flatMap(({ peer }) => neighbours.get(peer.id)?.mesh ?? []);
    const most = Math.min(MAX_REMEMBERED, neighbours.size);
    const kept = new Set(known.filter((address) => !this.#left.has(address)));
    this.#left.clear();
    const isWhole = kept.size === known.length && kept.size >= most;
    if (isWhole && open.every((address) => kept.has(address))) return undefined;
    const all = new Set([...open, ...kept, ...mapped(neighbours.records(), ({ mesh }) => mesh)]);
    return [...all].slice(0, MAX_REMEMBERED);
  }

  /** Sentences about join addresses where nobody answers. `isMember`: a node of that id is one. */
  problems(isMember: (id: string) => boolean, isInside: boolean): string[] {
    const { links, joins } = this.#parts;
    return joins.flatMap((address) => {
      const failure = links.failure(address);
      const peer = links.peerAt(address);
      const isSettled = failure?.code === "SELF" ? isInside : peer !== undefined && isMember(peer);
      if (!failure || isSettled) return [];
      return [`join address ${address}: ${failure.message}: ${failure.remedy}`];
    });
  }
}

const candidate = ({ id, mesh }: NodeRecord): Candidate => ({ id, address: mesh });

/** Each only when it is asked for. */
function* mapped<A, B>(all: Iterable<A>, to: (one: A) => B): Generator<B> {
  for (const one of all) yield to(one);
}
