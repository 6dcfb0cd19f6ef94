/** The other members, and the paths by which packets reach them now. */

import type { NodeRecord } from "../gossip/record.js";
import type { PathState } from "./path-state.js";
import type { PeerPaths } from "./peer-paths.js";
import type { Run } from "./probe.js";

/** Ids of the relays on a path, in order; none on a direct path. */
export type PathVector = readonly string[];

export class RoutingTable {
  readonly #peers = new Map<string, PeerPaths>();
  readonly #byName = new Map<string, PeerPaths>();
  readonly #expiring = new Set<PeerPaths>();

  add(peer: PeerPaths): void {
    this.#peers.set(peer.id, peer);
    this.#byName.set(peer.name, peer);
  }

  /** Takes a newer record of a member. True when it names another endpoint or another run. */
  update(peer: PeerPaths, record: NodeRecord): boolean {
    this.#forgetName(peer);
    const isElsewhere = peer.update(record);
    this.#byName.set(record.name, peer);
    return isElsewhere;
  }

  delete(peer: PeerPaths): void {
    this.#peers.delete(peer.id);
    this.#forgetName(peer);
    this.#expiring.delete(peer);
  }

  /** Another member may have its name by now. */
  #forgetName(peer: PeerPaths): void {
    if (this.#byName.get(peer.name) === peer) this.#byName.delete(peer.name);
  }

  get(id: string): PeerPaths | undefined {
    return this.#peers.get(id);
  }

  byName(name: string): PeerPaths | undefined {
    return this.#byName.get(name);
  }

  peers(): IterableIterator<PeerPaths> {
    return this.#peers.values();
  }

  /** Members of which something can expire; they include all with relayed paths. */
  get expiring(): Set<PeerPaths> {
    return this.#expiring;
  }

  /** Ids of the relays on the path in use, in order; undefined if none works. */
  pathTo(id: string): PathVector | undefined {
    const nextHop = this.#peers.get(id)?.used?.nextHop;
    if (!nextHop) return undefined;
    return nextHop.kind === "via" ? [nextHop.neighbour, ...nextHop.path] : [];
  }

  /** Whether packets for others can go through this member: a direct path to it works. */
  readonly mayRelay = (id: string): boolean => {
    const nextHop = this.#peers.get(id)?.used?.nextHop;
    return nextHop !== undefined && nextHop.kind !== "via";
  };

  /** Destination of packets to a member; if no path works, the endpoint where it last answered. */
  destination({ used, record, allowedSources }: PeerPaths): string | undefined {
    const to = used && this.endpointOf(used);
    return (
      to ?? (allowedSources.hasAnswered(record.vtep) ? record.vtep : allowedSources.answeredLast)
    );
  }

  /** Destination of packets that take this path; undefined while its neighbour has no direct one. */
  endpointOf({ nextHop }: PathState): string | undefined {
    if (nextHop.kind !== "via") return nextHop.endpoint;
    const direct = this.#peers.get(nextHop.neighbour)?.used?.nextHop;
    return direct && direct.kind !== "via" ? direct.endpoint : undefined;
  }

  /** The relays on a path, each in its current run; undefined while one of them is unknown here. */
  relaysOf({ nextHop }: PathState): readonly Run[] | undefined {
    if (nextHop.kind !== "via") return [];
    const relays = [nextHop.neighbour, ...nextHop.path].map((id) => this.#peers.get(id));
    return relays.every((relay) => relay !== undefined) ? relays.map(({ run }) => run) : undefined;
  }

  /** A text that changes with each change of the path in use that others must hear of. */
  fingerprint(peer: PeerPaths): string {
    if (!peer.used) return "";
    return `${this.destination(peer)} ${this.pathTo(peer.id)?.join()}`;
  }

  /** Id of the next hop of packets to this member: the member itself or its relay. */
  nextHopTo(id: string): string {
    const nextHop = this.#peers.get(id)?.used?.nextHop;
    return nextHop?.kind === "via" ? nextHop.neighbour : id;
  }

  /** Ids of the members that are reached through one of these neighbours. */
  through(neighbours: ReadonlySet<string>): string[] {
    return [...this.#peers.values()]
      .filter(({ used }) => used?.nextHop.kind === "via" && neighbours.has(used.nextHop.neighbour))
      .map(({ id }) => id);
  }

  /** Ids of the neighbours through which other members are reached. */
  relaysInUse(): Set<string> {
    const relays = new Set<string>();
    for (const { used } of this.#expiring) {
      if (used?.nextHop.kind === "via") relays.add(used.nextHop.neighbour);
    }
    return relays;
  }
}
