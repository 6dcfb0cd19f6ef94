/**
 * Selects the nodes to have sessions with: some of the members, suspects, and each join address until
 * a member answers there; without any session, also the addresses on disk.
 */
import type { Candidate, ConnectionManager } from "../session/connection-manager.js";
import { fanout, NeighbourRanking } from "./neighbour-ranking.js";
import type { NodeRecord } from "./record.js";

/** Addresses kept on disk. */
export const MAX_REMEMBERED = 64;
/** Members whose session broke and which are dialled to see whether they are there. */
export const MAX_BROKEN = 64;

export interface PeerSelectorParts {
  readonly connections: ConnectionManager;
  readonly own: string;
  /** Makes this node's choice its own. */
  readonly salt: number;
  /** Addresses like `192.0.2.1:6783`. */
  readonly joins: readonly string[];
  /** Sessions this node opens by itself, if not as many as the members suggest. */
  readonly sessions?: number | undefined;
}

export class PeerSelector {
  readonly #parts: PeerSelectorParts;
  readonly #ranking: NeighbourRanking;
  /** Members whose session broke: to be dialled, to see whether they are there. */
  readonly #broken = new Set<string>();
  /** Addresses that members left for others, and that are not worth remembering any more. */
  readonly #abandoned = new Set<string>();

  constructor(parts: PeerSelectorParts) {
    this.#parts = parts;
    this.#ranking = new NeighbourRanking(parts.own, parts.salt);
  }

  /** Sets the record of a node; undefined when it is no member any more. */
  set(id: string, record: NodeRecord | undefined): void {
    const before = this.#ranking.get(id)?.mesh;
    if (before && record && record.mesh !== before) this.#abandoned.add(before);
    this.#ranking.set(id, record);
  }

  sessionBroke(id: string): void {
    if (this.#broken.size < MAX_BROKEN) this.#broken.add(id);
  }

  isBroken(id: string): boolean {
    return this.#broken.has(id);
  }

  /** The node was heard: it outlived its session. */
  recovered(id: string): void {
    this.#broken.delete(id);
  }

  /** Sets the targets of the connection manager. `needed`: ids of nodes that must have a session. */
  keep(targets: {
    readonly needed: readonly string[];
    readonly remembered: readonly string[];
    readonly pruneIdle: boolean;
  }): void {
    const { connections, joins, sessions } = this.#parts;
    const neighbours = this.#ranking;
    const isAlone = connections.sessions().length === 0;
    connections.setTargets({
      addresses: isAlone
        ? [...joins, ...targets.remembered]
        : joins.filter((address) => !this.#isMember(address)),
      nodes: [...this.#broken, ...targets.needed]
        .flatMap((id) => neighbours.get(id) ?? [])
        .map(candidate),
      candidates: mapped(neighbours, candidate),
      isCandidate: (id) => neighbours.get(id) !== undefined,
      count: sessions ?? fanout(neighbours.size),
      pruneIdle: targets.pruneIdle,
    });
  }

  /** Whether this is the address of a member, as far as is known. */
  #isMember(address: string): boolean {
    const peer = this.#parts.connections.peerAt(address);
    if (peer !== undefined) return this.#ranking.get(peer) !== undefined;
    for (const { mesh } of this.#ranking.records()) if (mesh === address) return true;
    return false;
  }

  /** Addresses to keep on disk instead of `known`; undefined if those contain every node with a session. */
  addressesToSave(known: readonly string[]): string[] | undefined {
    const neighbours = this.#ranking;
    const open = this.#parts.connections
      .sessions()
      .flatMap(({ peer }) => neighbours.get(peer.id)?.mesh ?? []);
    const most = Math.min(MAX_REMEMBERED, neighbours.size);
    const kept = new Set(known.filter((address) => !this.#abandoned.has(address)));
    this.#abandoned.clear();
    const isWhole = kept.size === known.length && kept.size >= most;
    if (isWhole && open.every((address) => kept.has(address))) return undefined;
    const all = new Set([...open, ...kept, ...mapped(neighbours.records(), ({ mesh }) => mesh)]);
    return [...all].slice(0, MAX_REMEMBERED);
  }

  /** A sentence for each join address where no node answers. `isMember` tells whether an id is a member's. */
  problems(isMember: (id: string) => boolean, isInside: boolean): string[] {
    const { connections, joins } = this.#parts;
    return joins.flatMap((address) => {
      const failure = connections.failure(address);
      const peer = connections.peerAt(address);
      const isSettled = failure?.code === "SELF" ? isInside : peer !== undefined && isMember(peer);
      if (!failure || isSettled) return [];
      return [`join address ${address}: ${failure.message}: ${failure.remedy}`];
    });
  }
}

const candidate = ({ id, mesh }: NodeRecord): Candidate => ({ id, address: mesh });

/** Maps lazily. */
function* mapped<A, B>(all: Iterable<A>, to: (one: A) => B): Generator<B> {
  for (const one of all) yield to(one);
}
