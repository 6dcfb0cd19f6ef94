/**
 * Finds the paths that packets take. Probes over UDP test the path to every member; where the direct
 * path does not answer, this node requests one through relays. docs/paths.md gives the rules.
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
import { type DataPath, ENCAP_BYTES } from "./datapath.js";
import { ForwardedProbes } from "./forwarded-probes.js";
import { type PathMessage, pathSpec } from "./messages.js";
import { PathMtus } from "./path-mtus.js";
import type { PathState, RoundTrip } from "./path-state.js";
import { type Answering, LATELY, PeerPaths } from "./peer-paths.js";
import { PendingProbes } from "./pending-probes.js";
import {
  addResidence,
  currentHop,
  decodeProbe,
  encodeProbe,
  isGenuine,
  newNonce,
  type Probe,
  previousHop,
  probeBytes,
  type Run,
  replyTo,
  signProbe,
} from "./probe.js";
import { MAX_REPLIES, ProbeLimits } from "./probe-limits.js";
import { FAST_PROBE_EVERY, ProbeScheduler } from "./probe-scheduler.js";
import { ReplayWindows } from "./replay-window.js";
import { type PathVector, RouteDiscovery } from "./route-discovery.js";

/** Time between two checks for due members and timed-out probes, in milliseconds. */
export const TICK_EVERY = 250;
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

/** The path of packets to a member, and its measurements. */
export interface PathStatus {
  readonly endpoint: string;
  /** No path has answered yet, so no packets are sent. */
  readonly noPath: boolean;
  readonly mac: string;
  /** Whether the next hop copies congestion marks from outer headers to packets (RFC 6040). */
  readonly ecn: boolean;
  readonly path: "direct" | `via ${string}`;
  readonly answering: Answering;
  /** When it last answered a probe, by `clock.elapsed`; missing if it never did. */
  readonly answeredAt?: number;
  /** Since when it says that it has no mesh session with any member, by `clock.elapsed`. */
  readonly aloneSince?: number;
  readonly rttMs?: number;
  readonly loss?: number;
  /** Endpoints from which its packets are accepted. */
  readonly senders: readonly string[];
  /** Its path MTU: the largest inner packet known to pass, in bytes. */
  readonly mtu: number;
}

interface Arrival {
  readonly probe: Probe;
  /** The endpoint that it came from. */
  readonly from: string;
  /** When it came in on this host, by `clock.elapsed`. */
  readonly at: number;
}

interface SentProbe {
  readonly peer: PeerPaths;
  readonly path: PathState;
  /** The path's next hop when the probe was sent, and the endpoint it was sent to. */
  readonly nextHop: PathState["nextHop"];
  readonly to: string;
  /** A probe of a burst or a challenge: its answer counts, the lack of one does not. */
  readonly isExtra: boolean;
  /** The size of the inner packet that it tests, in bytes: it counts for the path MTU only. */
  readonly size?: number;
}

export class Paths extends EventEmitter<PathsEvents> implements Protocol<PathMessage> {
  readonly spec = pathSpec;
  readonly #parts: PathsParts;
  readonly #peers = new Map<string, PeerPaths>();
  readonly #byName = new Map<string, PeerPaths>();
  /** Members of which something can expire; they include all with relayed paths. */
  readonly #expiring = new Set<PeerPaths>();
  readonly #scheduler: ProbeScheduler;
  readonly #limits: ProbeLimits;
  readonly #burstProber: BurstProber;
  readonly #pending = new PendingProbes<SentProbe>();
  readonly #forwarded = new ForwardedProbes();
  readonly #replayWindows = new ReplayWindows();
  readonly #discovery: RouteDiscovery;
  readonly #mtus: PathMtus;
  #count = 0;
  #cancelSweep: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;

  constructor(parts: PathsParts) {
    super();
    this.#parts = parts;
    const { clock, identity, datapath } = parts;
    this.#scheduler = new ProbeScheduler(clock);
    this.#limits = new ProbeLimits(clock);
    this.#burstProber = new BurstProber(clock, (id) => this.#probeBurst(id));
    this.#mtus = new PathMtus({
      clock,
      datapath,
      probe: (id, size) => this.#probeSize(id, size),
      relay: (id) => this.#pathTo(id)?.[0],
      path: (id) => this.#quality(id),
      nameOf: (id) => this.#peers.get(id)?.name,
      changed: (id) => this.emit("changed", id),
    });
    this.#discovery = new RouteDiscovery({
      clock,
      own: identity.id,
      neighbours: () => this.#neighbours(),
      path: (to) => this.#pathTo(to),
      requested: (to) => this.#onRouteRequest(to),
      updated: (to, neighbour, path) => this.#onRouteUpdate(to, neighbour, path),
    });
  }

  start(): void {
    const { clock, datapath } = this.#parts;
    datapath.receive((from, bytes, length, waited) => {
      const probe = decodeProbe(bytes, length);
      if (probe) this.#onDatagram({ probe, from, at: this.#now - waited });
    });
    datapath.onMtuHint((name) => this.#onMtuHint(name));
    datapath.onMtuChange(() => this.#onMtuChange());
    this.#discovery.start();
    this.#cancelSweep = every(clock, SWEEP_EVERY, () => this.#sweep());
  }

  stop(): void {
    this.#discovery.stop();
    this.#burstProber.stop();
    this.#mtus.stop();
    this.#cancelSweep?.();
    this.#cancelTick?.();
    this.#parts.datapath.receive(() => {});
    this.#parts.datapath.onMtuHint(() => {});
    this.#parts.datapath.onMtuChange(() => {});
  }

  /** To be called when another member came, changed, or went (no record). */
  update(id: string, record: NodeRecord | undefined): void {
    const peer = this.#peers.get(id);
    if (!record) this.#remove(peer);
    else if (!peer) this.#add(record);
    else this.#update(peer, record);
  }

  /** The member was declared dead, or is alive again. */
  stateChanged(id: string): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    const lives = !this.#parts.failureDetector.isDead(id);
    if (lives) peer.revived();
    else this.#burstProber.cancel(id);
    this.#select(peer);
    if (lives) this.#tryProbe(peer);
  }

  /** Probes a member at once and in a burst, because it is quiet in its session. */
  probeNow(id: string): void {
    const peer = this.#peers.get(id);
    if (!peer || this.#parts.failureDetector.isDead(id)) return;
    this.#probePrompted(peer);
    this.#burstProber.begin(id);
  }

  /** Whether any member answered a probe within LATELY. */
  get hasRecentAnswer(): boolean {
    return [...this.#peers.values()].some((peer) => peer.answering(this.#now) === "lately");
  }

  heardAt(id: string): number | undefined {
    return this.#peers.get(id)?.heardAt;
  }

  /** The path of packets to this member now. */
  status(id: string): PathStatus | undefined {
    const peer = this.#peers.get(id);
    if (!peer) return undefined;
    const { used } = peer;
    const carrier = used?.nextHop.kind === "via" && this.#peers.get(used.nextHop.neighbour);
    const endpoint = this.#endpoint(peer);
    const { mac, ecn = false } = (carrier || peer).record;
    return {
      endpoint: endpoint ?? peer.record.vtep,
      noPath: endpoint === undefined,
      mac,
      ecn,
      path: carrier ? `via ${carrier.name}` : "direct",
      answering: peer.answering(this.#now),
      ...(peer.answeredAt !== undefined && { answeredAt: peer.answeredAt }),
      ...(peer.aloneSince !== undefined && { aloneSince: peer.aloneSince }),
      ...(used?.rttMs !== undefined && { rttMs: Math.round(used.rttMs * 100) / 100 }),
      ...(used && { loss: Math.round(used.loss * 1000) / 1000 }),
      senders: peer.allowedSources.endpoints,
      mtu: this.#mtus.of(id),
    };
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

  /** Ids of members to keep sessions with: relays in use, and possible ones while paths are requested. */
  needed(): Set<string> {
    const needed = new Set<string>();
    for (const { used } of this.#expiring) {
      if (used?.nextHop.kind === "via") needed.add(used.nextHop.neighbour);
    }
    if (!this.#discovery.isRequesting) return needed;
    for (const { peer } of this.#neighbours()) needed.add(peer.id);
    for (const id of this.#peers.keys()) {
      if (needed.size >= ENOUGH_NEIGHBOURS) break;
      if (this.#mayRelay(id)) needed.add(id);
    }
    return needed;
  }

  received(session: Session<PathMessage>, message: PathMessage): void {
    this.#discovery.received(session, message);
  }

  opened(): void {
    this.#discovery.neighbourAdded();
  }

  closed(session: Session<PathMessage>): void {
    this.#discovery.closed(session);
  }

  // ---- members

  #add(record: NodeRecord): void {
    const peer = new PeerPaths(record, this.#parts.clock);
    this.#peers.set(record.id, peer);
    this.#byName.set(record.name, peer);
    this.#scheduler.add(peer);
    this.#tryProbe(peer);
  }

  #update(peer: PeerPaths, record: NodeRecord): void {
    if (this.#byName.get(peer.name) === peer) this.#byName.delete(peer.name);
    const isElsewhere = peer.update(record);
    this.#byName.set(record.name, peer);
    if (!isElsewhere) return;
    this.#expiring.add(peer);
    this.#select(peer);
    this.#tryProbe(peer, () => peer.promptedProbes.spend(1) && this.#scheduler.spend());
  }

  #remove(peer: PeerPaths | undefined): void {
    if (!peer) return;
    this.#peers.delete(peer.id);
    this.#burstProber.cancel(peer.id);
    this.#mtus.remove(peer.id);
    if (this.#byName.get(peer.name) === peer) this.#byName.delete(peer.name);
    this.#expiring.delete(peer);
    this.#scheduler.delete(peer);
    this.#discovery.setWanted(peer.id, false);
    this.#discovery.pathChanged(peer.id);
    this.#selectOthers(peer.id);
  }

  // ---- probing

  #tick(): void {
    for (const { what, at } of this.#pending.takeTimedOut(this.#now)) {
      const { peer, path, nextHop, isExtra, size } = what;
      if (isExtra || size !== undefined || path.nextHop !== nextHop) continue;
      path.lost(at);
      this.#select(peer);
    }
    for (const peer of this.#scheduler.due()) if (!this.#tryProbe(peer)) break;
    this.#wake();
  }

  #wake(): void {
    if (this.#scheduler.isIdle && this.#pending.isEmpty) return;
    this.#cancelTick ??= this.#parts.clock.after(TICK_EVERY, () => {
      this.#cancelTick = undefined;
      this.#tick();
    });
  }

  #sweep(): void {
    const now = this.#now;
    for (const name of this.#parts.datapath.takeActive()) {
      const peer = this.#byName.get(name);
      if (!peer) continue;
      peer.busyAt = now;
      this.#scheduler.reschedule(peer);
      if (peer.used) this.#mtus.onTraffic(peer.id);
    }
    for (const peer of this.#expiring) this.#expire(peer, now);
    const { nextSlow } = this.#scheduler;
    if (nextSlow) this.#probeMember(nextSlow);
    this.#wake();
  }

  /** Probes a member if the limits allow it; false if not. */
  #tryProbe(peer: PeerPaths, spend = () => this.#scheduler.spend()): boolean {
    const mayBe = this.#isKnown && spend();
    if (mayBe) this.#probeMember(peer);
    return mayBe;
  }

  /** Probes a member because of another node's message, within the limit for that. */
  #probePrompted(peer: PeerPaths): void {
    this.#tryProbe(peer, () => this.#scheduler.spend({ isPrompted: true }));
  }

  #probeMember(peer: PeerPaths): void {
    const now = this.#now;
    for (const path of peer.pathsToProbe(now, this.#isRelay)) {
      if (this.#probe(peer, path)) peer.probed(path, now);
    }
    this.#scheduler.probed(peer);
    this.#wake();
  }

  /**
   * Sends a probe that shows whether the member is at the end of this path. It does not wait for the
   * answer to an earlier probe, which may have arrived before the member knew this node.
   */
  #challenge(peer: PeerPaths, path: PathState): void {
    if (!this.#limits.mayChallenge(peer)) return;
    this.#probe(peer, path, { isExtra: true });
    this.#wake();
  }

  #probeBurst(id: string): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    for (const path of peer.burstPaths()) this.#probe(peer, path, { isExtra: true });
    this.#wake();
  }

  /** Probes whether a packet of this size passes on the path in use. */
  #probeSize(id: string, size: number): void {
    const peer = this.#peers.get(id);
    if (peer?.used) this.#probe(peer, peer.used, { size });
    this.#wake();
  }

  #quality(id: string): { responseMs: number; loss: number } | undefined {
    const { responseMs, loss = 0 } = this.#peers.get(id)?.used ?? {};
    return responseMs === undefined ? undefined : { responseMs, loss };
  }

  /** A hint says that packets to this peer are too large. */
  #onMtuHint(name: string): void {
    const peer = this.#byName.get(name);
    if (peer) this.#mtus.onHint(peer.id);
  }

  /** The largest size that is sent has changed. */
  #onMtuChange(): void {
    this.#mtus.onResize();
    for (const id of this.#peers.keys()) this.emit("changed", id);
  }

  /** Sends a probe along a path; false if the path leads nowhere now. */
  #probe(
    peer: PeerPaths,
    path: PathState,
    { isExtra = false, size }: { isExtra?: boolean; size?: number } = {},
  ): boolean {
    const { datapath, identity, cluster, contact } = this.#parts;
    const to = this.#endpointOf(path);
    const relays = this.#relaysOf(path);
    if (!this.#isKnown || to === undefined || relays === undefined) return false;
    this.#count = (this.#count + 1) % 2 ** 32;
    const probe = signProbe(identity, cluster, {
      kind: path.nextHop.kind === "via" ? "relayed" : "direct",
      hops: 0,
      size: size === undefined ? probeBytes(relays.length) : size + ENCAP_BYTES,
      isAlone: contact.isLost,
      residence: 0,
      count: this.#count,
      nonce: newNonce(),
      origin: this.#run,
      target: runOf(peer),
      relays,
    });
    const { nextHop } = path;
    const sent = { peer, path, nextHop, to, isExtra, ...(size !== undefined && { size }) };
    this.#pending.add(probe.nonce, sent, this.#now);
    datapath.send(to, encodeProbe(probe));
    return true;
  }

  // ---- incoming probes and replies

  #onDatagram(arrival: Arrival): void {
    if (arrival.probe.kind === "reply") this.#onReply(arrival);
    else this.#onProbe(arrival);
  }

  #onReply(arrival: Arrival): void {
    const { probe, from } = arrival;
    const now = this.#now;
    if (probe.target.id !== this.#parts.identity.id) {
      const back = this.#forwarded.takeReturn(probe.nonce, from, now);
      if (back !== undefined) this.#send(probe, back, arrival);
      return;
    }
    const sent = this.#pending.get(probe.nonce);
    if (!sent || sent.what.peer.id !== probe.origin.id) return;
    const { peer, path, nextHop, to, size } = sent.what;
    if (from !== to || ++sent.replies > MAX_REPLIES) return;
    if (!isGenuine(this.#parts.cluster, peer.record.owner, probe)) return;
    this.#pending.delete(probe.nonce);
    peer.setAlone(probe.isAlone, now);
    if (size !== undefined) {
      if (path === peer.used && path.nextHop === nextHop) this.#mtus.answered(peer.id, size);
      return;
    }
    this.#burstProber.cancel(peer.id);
    this.#noteHeard(peer);
    if (nextHop.kind !== "via") this.#noteProof(peer, peer.allowedSources.answered(to, now));
    if (path.nextHop === nextHop) peer.answered(path, now, roundTripSince(sent.at, now, arrival));
    this.#select(peer);
  }

  /** Accepts a probe only if this node, in this run, is its current hop on the path that the origin signed. */
  #onProbe(arrival: Arrival): void {
    const { probe, from } = arrival;
    const origin = this.#peers.get(probe.origin.id);
    if (!origin || !isSame(probe.origin, runOf(origin))) return;
    if (!isSame(currentHop(probe), this.#run) || !this.#isFromPreviousHop(probe, from)) return;
    if (!this.#limits.mayVerify(origin, from)) return;
    if (!isGenuine(this.#parts.cluster, origin.record.owner, probe)) return;
    if (this.#replayWindows.accept(probe.origin, probe.count)) this.#accepted(arrival, origin);
    else this.#repeat(arrival, origin);
  }

  #accepted(arrival: Arrival, origin: PeerPaths): void {
    const { probe, from } = arrival;
    this.#noteHeard(origin);
    origin.heardAt = this.#now;
    origin.setAlone(probe.isAlone, this.#now);
    if (probe.hops === 0) this.#cameDirect(origin, from);
    else this.#noteProof(origin, origin.allowedSources.carried(from, this.#now));
    const isProved = origin.allowedSources.has(from);
    if (probe.hops < probe.relays.length) {
      if (isProved) this.#forward(arrival);
    } else if (isProved || probe.kind === "direct") this.#reply(arrival);
  }

  /** Answers a repeated probe that comes from its origin: an attacker's copy may have come first. */
  #repeat(arrival: Arrival, origin: PeerPaths): void {
    const { probe, from } = arrival;
    const isOrigin = probe.kind === "direct" && origin.allowedSources.hasAnswered(from);
    if (isOrigin) this.#reply(arrival);
  }

  /** Whether the hop before this node has answered at the endpoint that the probe came from. */
  #isFromPreviousHop(probe: Probe, from: string): boolean {
    if (probe.hops === 0) return true;
    const carrier = previousHop(probe);
    const relay = this.#peers.get(carrier.id);
    return (
      relay !== undefined && isSame(carrier, runOf(relay)) && relay.allowedSources.hasAnswered(from)
    );
  }

  /** Challenges the endpoint if needed: a replayed probe can come from anywhere, an answer cannot. */
  #cameDirect(origin: PeerPaths, from: string): void {
    const path = origin.heardFrom(from, this.#now);
    if (from !== origin.record.vtep) this.#expiring.add(origin);
    if (path) this.#challenge(origin, path);
  }

  /** Called after a proof of an endpoint; `isNews` if the endpoints have changed. */
  #noteProof(peer: PeerPaths, isNews: boolean): void {
    if (peer.hasExpiring) this.#expiring.add(peer);
    if (isNews) this.emit("changed", peer.id);
  }

  /** Dials a member soon that is heard again after a silence and has no working path yet. */
  #noteHeard({ id, used, heardAt = Number.NEGATIVE_INFINITY }: PeerPaths): void {
    if (used || this.#now - heardAt < LATELY) return;
    const { connections, members } = this.#parts;
    connections.resetBackoff(members.get(id)?.mesh ?? "");
  }

  #reply(arrival: Arrival): void {
    const { identity, cluster, contact } = this.#parts;
    const reply = replyTo(arrival.probe, identity, cluster, { isAlone: contact.isLost });
    this.#send(reply, arrival.from, arrival);
  }

  /** Sends a forwarded probe or a reply, with the time that this node has held it added. */
  #send(probe: Probe, to: string, { at }: Arrival): void {
    this.#parts.datapath.send(to, encodeProbe(addResidence(this.#now - at, probe)));
  }

  /**
   * Forwards a probe as the dataplane forwards packets, along this node's own path, and only if that
   * is the path the origin signed.
   */
  #forward(arrival: Arrival): void {
    const { probe, from } = arrival;
    const target = this.#peers.get(probe.target.id);
    const path = this.#pathTo(probe.target.id);
    const rest = probe.relays.slice(probe.hops + 1).map(({ id }) => id);
    if (!target || path?.join() !== rest.join()) return;
    const to = this.#endpoint(target)!;
    this.#forwarded.add(probe.nonce, from, to, this.#now);
    this.#send({ ...probe, hops: probe.hops + 1 }, to, arrival);
  }

  // ---- path selection

  #select(peer: PeerPaths): void {
    if (this.#peers.get(peer.id) !== peer) return;
    const before = this.#fingerprint(peer);
    peer.select(this.#isRelay);
    this.#scheduler.reschedule(peer);
    this.#wake();
    this.#discovery.setWanted(
      peer.id,
      peer.needsRelay && !this.#parts.failureDetector.isDead(peer.id),
    );
    if (this.#fingerprint(peer) === before) return;
    this.#discovery.pathChanged(peer.id);
    this.#mtus.pathChanged(peer.id);
    this.emit("changed", peer.id);
    this.#selectOthers(peer.id);
    if (this.#mayRelay(peer.id)) this.#discovery.neighbourAdded();
  }

  /** Selects again for members with a path through this neighbour. */
  #selectOthers(neighbour: string): void {
    for (const peer of this.#expiring) if (peer.hasRouteVia(neighbour)) this.#select(peer);
  }

  #onRouteUpdate(to: string, neighbour: string, path: PathVector | undefined): void {
    const peer = this.#peers.get(to);
    if (!peer || !this.#peers.has(neighbour)) return;
    this.#expiring.add(peer);
    if (!peer.updateRoute(neighbour, path, this.#now)) return;
    this.#select(peer);
    if (path && !peer.isHealthy) this.#probePrompted(peer);
  }

  /** A neighbour requests a path to this member: probes whether this node still has one. */
  #onRouteRequest(to: string): void {
    const peer = this.#peers.get(to);
    if (!peer || peer.isHealthy) return;
    const isDue = peer.probedAt === undefined || this.#now - peer.probedAt >= FAST_PROBE_EVERY;
    if (isDue) this.#probePrompted(peer);
  }

  #expire(peer: PeerPaths, now: number): void {
    const hasLost = peer.allowedSources.expire(now, peer.record.vtep);
    if (peer.expire(now)) this.#select(peer);
    if (hasLost) this.emit("changed", peer.id);
    if (!peer.hasExpiring) this.#expiring.delete(peer);
  }

  /** Ids of the relays on the path in use, in order; undefined if none works. */
  #pathTo(to: string): PathVector | undefined {
    const nextHop = this.#peers.get(to)?.used?.nextHop;
    if (!nextHop) return undefined;
    return nextHop.kind === "via" ? [nextHop.neighbour, ...nextHop.path] : [];
  }

  /** Whether packets for others can go through this member: a direct path to it works. */
  #mayRelay(id: string): boolean {
    const nextHop = this.#peers.get(id)?.used?.nextHop;
    return nextHop !== undefined && nextHop.kind !== "via";
  }

  /** The sessions with members that can relay. */
  #neighbours(): Session<PathMessage>[] {
    return this.#parts.connections.sessions().filter(({ peer }) => this.#mayRelay(peer.id));
  }

  readonly #isRelay = (neighbour: string): boolean => this.#mayRelay(neighbour);

  /** Destination of packets to a member; if no path works, the endpoint where it last answered. */
  #endpoint({ used, record, allowedSources }: PeerPaths): string | undefined {
    const to = used && this.#endpointOf(used);
    return (
      to ?? (allowedSources.hasAnswered(record.vtep) ? record.vtep : allowedSources.answeredLast)
    );
  }

  #endpointOf({ nextHop }: PathState): string | undefined {
    if (nextHop.kind !== "via") return nextHop.endpoint;
    const straight = this.#peers.get(nextHop.neighbour)?.used?.nextHop;
    return straight && straight.kind !== "via" ? straight.endpoint : undefined;
  }

  /** The relays on a path, each in its current run; undefined while one of them is unknown here. */
  #relaysOf({ nextHop }: PathState): readonly Run[] | undefined {
    if (nextHop.kind !== "via") return [];
    const relays = [nextHop.neighbour, ...nextHop.path].map((id) => this.#peers.get(id));
    return relays.every((relay) => relay !== undefined) ? relays.map(runOf) : undefined;
  }

  get #run(): Run {
    return { id: this.#parts.identity.id, epoch: this.#parts.epoch };
  }

  /** A text that changes with each change of the path in use that others must hear of. */
  #fingerprint(peer: PeerPaths): string {
    const { used } = peer;
    return used ? `${this.#endpoint(peer)} ${this.#pathTo(peer.id)?.join()}` : "";
  }

  /** Whether this node has published its record, so that others may know it. */
  get #isKnown(): boolean {
    return this.#parts.members.has(this.#parts.identity.id);
  }

  get #now(): number {
    return this.#parts.clock.elapsed();
  }
}

const runOf = ({ record }: PeerPaths): Run => ({ id: record.id, epoch: record.epoch });

/** At least 0, whatever residence the other nodes claim: they can only make the round trip look shorter. */
const roundTripSince = (sentAt: number, now: number, { probe, at }: Arrival): RoundTrip => ({
  responseMs: now - sentAt,
  rttMs: Math.max(0, at - sentAt - probe.residence / 1_000),
});

const isSame = (a: Run, b: Run): boolean => a.id === b.id && a.epoch === b.epoch;
