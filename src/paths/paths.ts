/**
 * Finds the paths that packets take. Probes over UDP test the path to every member; where the direct
 * path does not answer, this node requests one through relays. docs/paths.md gives the rules.
 *
 * The parts, from the bottom up. Each is handed some of the parts before it, and calls them; what it
 * tells others is an event, and all events are subscribed here.
 *
 *   part        is handed                                          tells
 *   table
 *   socket                                                         arrived
 *   pending
 *   scheduler   pending                                            tick
 *   sender      table, socket, pending, scheduler
 *   bursts                                                         due
 *   discovery   table                                              requested, updated
 *   mtus        table, sender                                      changed
 *   selector    table, scheduler, discovery, mtus                  changed
 *   redialer
 *   limits
 *   prober      table, pending, scheduler, sender, bursts, mtus,
 *               selector, redialer, limits
 *   forwarder   table, socket
 *   responder   table, socket, selector, redialer, limits,
 *               prober, forwarder
 */

import { EventEmitter } from "node:events";
import type { Contact } from "../failure-detector/contact.js";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import type { Members } from "../gossip/members.js";
import type { NodeRecord } from "../gossip/record.js";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../session/sessions.js";
import { type Clock, every } from "../time/clock.js";
import { BurstProber } from "./burst-prober.js";
import type { DataPath } from "./datapath.js";
import { type PathMessage, pathSpec } from "./messages.js";
import { PathMtus } from "./path-mtus.js";
import { PathSelector } from "./path-selector.js";
import { type PathStatus, pathStatus } from "./path-status.js";
import { PeerPaths } from "./peer-paths.js";
import { PendingProbes } from "./pending-probes.js";
import { ProbeForwarder } from "./probe-forwarder.js";
import { ProbeLimits } from "./probe-limits.js";
import { ProbeResponder } from "./probe-responder.js";
import { FAST_PROBE_EVERY, ProbeScheduler } from "./probe-scheduler.js";
import { ProbeSender, type SentProbe } from "./probe-sender.js";
import { type Arrival, ProbeSocket } from "./probe-socket.js";
import { Prober } from "./prober.js";
import { Redialer } from "./redialer.js";
import { RouteDiscovery } from "./route-discovery.js";
import { type PathVector, RoutingTable } from "./routing-table.js";

/** Time between two checks for busy and expired members; each also probes one of the slow set. In milliseconds. */
export const SWEEP_EVERY = 1_000;

/** Neighbours to keep sessions with while paths are requested, if there are as many. */
export const ENOUGH_NEIGHBOURS = 8;

export interface PathsParts {
  readonly clock: Clock;
  readonly datapath: DataPath;
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Epoch of this node's run. */
  readonly epoch: string;
  readonly members: Pick<Members, "get" | "has">;
  readonly failureDetector: Pick<FailureDetector, "isDead">;
  readonly contact: Pick<Contact, "isLost">;
  readonly connections: Sessions<PathMessage> & Pick<ConnectionManager, "resetBackoff">;
}

export interface PathsEvents {
  /** Packets to a member take another path now, or come from other endpoints. */
  changed: [id: string];
}

/** Makes the parts. */
function wired(given: PathsParts) {
  const { clock, identity, epoch } = given;
  const table = new RoutingTable();
  const base = { ...given, own: { id: identity.id, epoch }, table };

  const socket = new ProbeSocket(base);
  const pending = new PendingProbes<SentProbe>();
  const scheduler = new ProbeScheduler(clock, pending);
  const sender = new ProbeSender({ ...base, socket, pending, scheduler });
  const bursts = new BurstProber(clock);

  const discovery = new RouteDiscovery(base);
  const mtus = new PathMtus({ ...base, sender });
  const selector = new PathSelector({ ...base, scheduler, discovery, mtus });

  const redialer = new Redialer(base);
  const limits = new ProbeLimits(clock);
  const probing = { ...base, pending, scheduler, sender, bursts, mtus, selector };
  const prober = new Prober({ ...probing, redialer, limits });
  const forwarder = new ProbeForwarder({ ...base, socket });
  const answering = { ...base, socket, selector, prober, forwarder };
  const responder = new ProbeResponder({ ...answering, redialer, limits });
  return {
    table,
    socket,
    scheduler,
    bursts,
    discovery,
    mtus,
    selector,
    prober,
    forwarder,
    responder,
  };
}

export class Paths extends EventEmitter<PathsEvents> implements Protocol<PathMessage> {
  readonly spec = pathSpec;
  readonly #given: PathsParts;
  readonly #parts: ReturnType<typeof wired>;
  #cancelSweep: (() => void) | undefined;

  constructor(given: PathsParts) {
    super();
    this.#given = given;
    this.#parts = wired(given);
    this.#subscribe();
  }

  #subscribe(): void {
    const { socket, scheduler, bursts, discovery, mtus, selector, prober } = this.#parts;
    const changed = (id: string) => void this.emit("changed", id);
    socket.on("arrived", (arrival) => this.#onArrival(arrival));
    scheduler.on("tick", () => prober.tick());
    bursts.on("due", (id) => prober.probeBurst(id));
    discovery.on("requested", (to) => this.#onRouteRequest(to));
    discovery.on("updated", (to, neighbour, path) => this.#onRouteUpdate(to, neighbour, path));
    mtus.on("changed", changed);
    selector.on("changed", changed);
  }

  start(): void {
    const { socket, mtus, discovery } = this.#parts;
    socket.start();
    mtus.start();
    discovery.start();
    this.#cancelSweep = every(this.#given.clock, SWEEP_EVERY, () => this.#sweep());
  }

  stop(): void {
    const { socket, scheduler, bursts, discovery, mtus } = this.#parts;
    for (const part of [discovery, bursts, mtus, scheduler, socket]) part.stop();
    this.#cancelSweep?.();
  }

  // ---- members

  /** To be called when another member came, changed, or went (no record). */
  update(id: string, record: NodeRecord | undefined): void {
    const peer = this.#parts.table.get(id);
    if (!record) this.#remove(peer);
    else if (!peer) this.#add(record);
    else this.#update(peer, record);
  }

  #add(record: NodeRecord): void {
    const { table, scheduler, prober } = this.#parts;
    const peer = new PeerPaths(record, this.#given.clock);
    table.add(peer);
    scheduler.add(peer);
    prober.probe(peer);
  }

  #update(peer: PeerPaths, record: NodeRecord): void {
    const { table, selector, prober } = this.#parts;
    const isElsewhere = table.update(peer, record);
    if (!isElsewhere) return;
    table.expiring.add(peer);
    selector.select(peer);
    prober.probeMoved(peer);
  }

  #remove(peer: PeerPaths | undefined): void {
    if (!peer) return;
    const { table, scheduler, bursts, discovery, mtus, selector } = this.#parts;
    table.delete(peer);
    bursts.cancel(peer.id);
    mtus.remove(peer.id);
    scheduler.delete(peer);
    discovery.setWanted(peer.id, false);
    discovery.pathChanged(peer.id);
    selector.selectThrough(peer.id);
  }

  /** The member was declared dead, or is alive again. */
  stateChanged(id: string): void {
    const { table, bursts, selector, prober } = this.#parts;
    const peer = table.get(id);
    if (!peer) return;
    const lives = !this.#given.failureDetector.isDead(id);
    if (lives) peer.revived();
    else bursts.cancel(id);
    selector.select(peer);
    if (lives) prober.probe(peer);
  }

  /** Probes a member at once and in a burst, because it is quiet in its session. */
  probeNow(id: string): void {
    const { table, bursts, prober } = this.#parts;
    const peer = table.get(id);
    if (!peer || this.#given.failureDetector.isDead(id)) return;
    prober.probePrompted(peer);
    bursts.begin(id);
  }

  // ---- traffic and time

  #sweep(): void {
    const { selector, prober } = this.#parts;
    const now = this.#now;
    for (const name of this.#given.datapath.takeActive()) this.#onTraffic(name, now);
    selector.expire(now);
    prober.probeNextSlow();
  }

  #onTraffic(name: string, now: number): void {
    const { table, scheduler, mtus } = this.#parts;
    const peer = table.byName(name);
    if (!peer) return;
    peer.busyAt = now;
    scheduler.reschedule(peer);
    if (peer.used) mtus.onTraffic(peer.id);
  }

  // ---- probes and replies

  #onArrival(arrival: Arrival): void {
    const { prober, forwarder, responder } = this.#parts;
    const { kind, target } = arrival.probe;
    if (kind !== "reply") responder.onProbe(arrival);
    else if (target.id === this.#given.identity.id) prober.onReply(arrival);
    else forwarder.onReply(arrival);
  }

  // ---- routes

  received(session: Session<PathMessage>, message: PathMessage): void {
    this.#parts.discovery.received(session, message);
  }

  opened(): void {
    this.#parts.discovery.neighbourAdded();
  }

  closed(session: Session<PathMessage>): void {
    this.#parts.discovery.closed(session);
  }

  /** A neighbour requests a path to this member: probes whether this node still has one. */
  #onRouteRequest(to: string): void {
    const { table, prober } = this.#parts;
    const peer = table.get(to);
    if (!peer || peer.isHealthy) return;
    const isDue = peer.probedAt === undefined || this.#now - peer.probedAt >= FAST_PROBE_EVERY;
    if (isDue) prober.probePrompted(peer);
  }

  #onRouteUpdate(to: string, neighbour: string, path: PathVector | undefined): void {
    const { table, selector, prober } = this.#parts;
    const peer = table.get(to);
    if (!peer || !table.get(neighbour)) return;
    table.expiring.add(peer);
    if (!peer.updateRoute(neighbour, path, this.#now)) return;
    selector.select(peer);
    if (path && !peer.isHealthy) prober.probePrompted(peer);
  }

  /** Ids of members to keep sessions with: relays in use, and possible ones while paths are requested. */
  needed(): Set<string> {
    const { table, discovery } = this.#parts;
    const needed = table.relaysInUse();
    if (!discovery.isRequesting) return needed;
    for (const { peer } of discovery.neighbours()) needed.add(peer.id);
    for (const { id } of table.peers()) {
      if (needed.size >= ENOUGH_NEIGHBOURS) break;
      if (table.mayRelay(id)) needed.add(id);
    }
    return needed;
  }

  // ---- what is known

  /** Whether any member answered a probe within LATELY. */
  get hasRecentAnswer(): boolean {
    const peers = [...this.#parts.table.peers()];
    return peers.some((peer) => peer.answering(this.#now) === "lately");
  }

  heardAt(id: string): number | undefined {
    return this.#parts.table.get(id)?.heardAt;
  }

  /** The path of packets to this member now. */
  status(id: string): PathStatus | undefined {
    const { table, mtus } = this.#parts;
    const peer = table.get(id);
    return peer && pathStatus(peer, table, mtus.of(id), this.#now);
  }

  /** Id of the next hop of packets to this member: the member itself or its relay. */
  nextHopTo(id: string): string {
    return this.#parts.table.nextHopTo(id);
  }

  /** Ids of the members that are reached through one of these neighbours. */
  through(neighbours: ReadonlySet<string>): string[] {
    return this.#parts.table.through(neighbours);
  }

  get #now(): number {
    return this.#given.clock.elapsed();
  }
}
