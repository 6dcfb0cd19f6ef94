/**
 * Selects the path in use to each member, whenever something about its paths changed. It tells the
 * neighbours that requested a path to the member, and the search for its path MTU.
 */

import { EventEmitter } from "node:events";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import type { PathMtus } from "./path-mtus.js";
import type { PeerPaths } from "./peer-paths.js";
import type { ProbeScheduler } from "./probe-scheduler.js";
import type { RouteDiscovery } from "./route-discovery.js";
import type { RoutingTable } from "./routing-table.js";

export interface PathSelectorParts {
  readonly failureDetector: Pick<FailureDetector, "isDead">;
  readonly table: RoutingTable;
  readonly scheduler: ProbeScheduler;
  readonly discovery: RouteDiscovery;
  readonly mtus: PathMtus;
}

export interface PathSelectorEvents {
  /** Packets to a member take another path now, or come from other endpoints. */
  changed: [id: string];
}

export class PathSelector extends EventEmitter<PathSelectorEvents> {
  readonly #parts: PathSelectorParts;

  constructor(parts: PathSelectorParts) {
    super();
    this.#parts = parts;
  }

  select(peer: PeerPaths): void {
    const { table, scheduler, discovery, mtus, failureDetector } = this.#parts;
    const { id } = peer;
    if (table.get(id) !== peer) return;
    const before = table.fingerprint(peer);
    peer.select(table.mayRelay);
    scheduler.reschedule(peer);
    scheduler.wake();
    discovery.setWanted(id, peer.needsRelay && !failureDetector.isDead(id));
    if (table.fingerprint(peer) === before) return;
    discovery.pathChanged(id);
    mtus.pathChanged(id);
    this.emit("changed", id);
    this.selectThrough(id);
    if (table.mayRelay(id)) discovery.neighbourAdded();
  }

  /** Selects again for members with a path through this neighbour. */
  selectThrough(neighbour: string): void {
    for (const peer of this.#parts.table.expiring) {
      if (peer.hasRouteVia(neighbour)) this.select(peer);
    }
  }

  /** Called after a proof of an endpoint; `isNews` if the endpoints have changed. */
  noteProof(peer: PeerPaths, isNews: boolean): void {
    if (peer.hasExpiring) this.#parts.table.expiring.add(peer);
    if (isNews) this.emit("changed", peer.id);
  }

  /** Drops endpoints and paths that were not confirmed in time. */
  expire(now: number): void {
    const { expiring } = this.#parts.table;
    for (const peer of expiring) {
      const hasLost = peer.allowedSources.expire(now, peer.record.vtep);
      if (peer.expire(now)) this.select(peer);
      if (hasLost) this.emit("changed", peer.id);
      if (!peer.hasExpiring) expiring.delete(peer);
    }
  }
}
