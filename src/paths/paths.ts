/**
 * The ways that packets take. Every member's way is tried out by probes over
 * UDP; where the straight one does not answer, one through others is sought.
 * docs/paths.md tells the rules.
 */

import type { NodeRecord } from "../gossip/record.js";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { Protocol } from "../session/protocol.js";
import type { Session } from "../session/session.js";
import { type Clock, every } from "../time/clock.js";
import { Awaited } from "./awaited.js";
import { Checks, MAX_REPLIES } from "./checks.js";
import { type DataPath, ENCAP_BYTES } from "./datapath.js";
import { Knocks } from "./knocks.js";
import { type PathMessage, pathSpec } from "./messages.js";
import { PathMtus } from "./path-mtus.js";
import {
  carrierOf,
  decodeProbe,
  encodeProbe,
  heldFor,
  holderOf,
  isGenuine,
  newNonce,
  type Probe,
  probeBytes,
  type Run,
  replyTo,
  signProbe,
} from "./probe.js";
import { type Answering, LATELY, Reach } from "./reach.js";
import { Relays } from "./relays.js";
import { ReplayWindows } from "./replay-window.js";
import { type Path, Seeking } from "./seeking.js";
import { Turns, WATCH_EVERY } from "./turns.js";
import type { Took, Way } from "./way.js";

/** How often a node looks whose turn it is, while there is somebody to wait for. Milliseconds. */
export const TICK = 250;
/** How often it looks where packets go, and one of those that nobody watches has its turn. Milliseconds. */
export const LOOK_AROUND_EVERY = 1_000;

/** Neighbours that are asked for paths, where there are so many. */
export const ENOUGH_NEIGHBOURS = 8;

export interface PathsParts {
  readonly clock: Clock;
  readonly datapath: DataPath;
  readonly identity: Identity;
  readonly cluster: Cluster;
  /** Epoch of this node's run. */
  readonly epoch: string;
  /** Whether others may know this node: it has said who it is. */
  readonly isKnown: () => boolean;
  readonly isDead: (id: string) => boolean;
  /** Whether this node has no mesh session with any member. */
  readonly isAlone: () => boolean;
  readonly sessions: () => Session<PathMessage>[];
  /** Packets for a member go another way now, or come another one. */
  readonly changed: (id: string) => void;
  /** A member was heard that was silent before. */
  readonly isBack: (id: string) => void;
}

/** How packets for a member go, and what is known of the way. */
export interface Course {
  readonly endpoint: string;
  /** No path has answered yet: nothing is sent to it. */
  readonly noPath: boolean;
  readonly mac: string;
  /** Whether the next node carries congestion marks on outer headers into the packets. */
  readonly ecn: boolean;
  readonly path: "direct" | `via ${string}`;
  readonly answering: Answering;
  /** When it last answered a probe; nothing if it never did. By `clock.elapsed`. */
  readonly answeredAt?: number;
  /** Since when it says that it has no mesh session with any member. By `clock.elapsed`. */
  readonly aloneSince?: number;
  readonly rttMs?: number;
  readonly loss?: number;
  /** Endpoints that its packets come from. */
  readonly senders: readonly string[];
  /** The largest inner packet that its path takes, as far as known. */
  readonly mtu: number;
}

interface Arrival {
  readonly probe: Probe;
  /** Endpoint that it came from. */
  readonly from: string;
  /** When it came in on this host, by `clock.elapsed`. */
  readonly at: number;
}

interface Sent {
  readonly reach: Reach;
  readonly way: Way;
  /** The course of the way when it was sent, and the endpoint that it was sent to. */
  readonly course: Way["course"];
  readonly to: string;
  /** Then it counts when it is answered, and when not, nothing has failed. */
  readonly isKnock: boolean;
  /**
   * Size of the inner packet that it was padded for, in bytes: its answer, or the lack of one,
   * counts for that size only.
   */
  readonly size?: number;
}

export class Paths implements Protocol<PathMessage> {
  readonly spec = pathSpec;
  readonly #parts: PathsParts;
  readonly #reaches = new Map<string, Reach>();
  readonly #byName = new Map<string, Reach>();
  /** Those of whom something is known that passes with time: among them all to whom there is a path through others. */
  readonly #passing = new Set<Reach>();
  readonly #turns: Turns;
  readonly #checks: Checks;
  readonly #knocks: Knocks;
  readonly #awaited = new Awaited<Sent>();
  readonly #relays = new Relays();
  readonly #windows = new ReplayWindows();
  readonly #seeking: Seeking;
  readonly #mtus: PathMtus;
  #count = 0;
  #cancelLook: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;

  constructor(parts: PathsParts) {
    this.#parts = parts;
    const { clock, identity, datapath } = parts;
    this.#turns = new Turns(clock);
    this.#checks = new Checks(clock);
    this.#knocks = new Knocks(clock, (id) => this.#knock(id));
    this.#mtus = new PathMtus({
      clock,
      datapath,
      probe: (id, size) => this.#probeSize(id, size),
      relay: (id) => this.#pathTo(id)?.[0],
      path: (id) => this.#quality(id),
      nameOf: (id) => this.#reaches.get(id)?.name,
      changed: (id) => parts.changed(id),
    });
    this.#seeking = new Seeking({
      clock,
      own: identity.id,
      neighbours: () => this.#neighbours(),
      path: (to) => this.#pathTo(to),
      sought: (to) => this.#sought(to),
      offered: (to, neighbour, path) => this.#offered(to, neighbour, path),
    });
  }

  start(): void {
    const { clock, datapath } = this.#parts;
    datapath.receive((from, bytes, length, waited) => {
      const probe = decodeProbe(bytes, length);
      if (probe) this.#arrived({ probe, from, at: this.#now - waited });
    });
    datapath.hinted((name) => this.#hinted(name));
    datapath.resized(() => this.#resized());
    this.#seeking.start();
    this.#cancelLook = every(clock, LOOK_AROUND_EVERY, () => this.#lookAround());
  }

  stop(): void {
    this.#seeking.stop();
    this.#knocks.stop();
    this.#mtus.stop();
    this.#cancelLook?.();
    this.#cancelTick?.();
    this.#parts.datapath.receive(() => {});
    this.#parts.datapath.hinted(() => {});
    this.#parts.datapath.resized(() => {});
  }

  /** To be told of every other member that came, changed, or went (no record). */
  follow(id: string, record: NodeRecord | undefined): void {
    const reach = this.#reaches.get(id);
    if (!record) this.#gone(reach);
    else if (!reach) this.#came(record);
    else this.#followed(reach, record);
  }

  /** It is another question now whether this member is dead. */
  judged(id: string): void {
    const reach = this.#reaches.get(id);
    if (!reach) return;
    const lives = !this.#parts.isDead(id);
    if (lives) reach.lives();
    else this.#knocks.end(id);
    this.#judge(reach);
    if (lives) this.#atOnce(reach);
  }

  /** It is quiet elsewhere: whether it answers probes will tell. */
  look(id: string): void {
    const reach = this.#reaches.get(id);
    if (!reach || this.#parts.isDead(id)) return;
    this.#prompted(reach);
    this.#knocks.at(id);
  }

  /** Whether any member answered a probe of late. */
  get isAnswered(): boolean {
    return [...this.#reaches.values()].some((reach) => reach.answering(this.#now) === "lately");
  }

  heardAt(id: string): number | undefined {
    return this.#reaches.get(id)?.heardAt;
  }

  /** How packets for this member go now. */
  of(id: string): Course | undefined {
    const reach = this.#reaches.get(id);
    if (!reach) return undefined;
    const { used } = reach;
    const carrier = used?.course.kind === "via" && this.#reaches.get(used.course.neighbour);
    const endpoint = this.#endpoint(reach);
    const { mac, ecn = false } = (carrier || reach).record;
    return {
      endpoint: endpoint ?? reach.record.vtep,
      noPath: endpoint === undefined,
      mac,
      ecn,
      path: carrier ? `via ${carrier.name}` : "direct",
      answering: reach.answering(this.#now),
      ...(reach.answeredAt !== undefined && { answeredAt: reach.answeredAt }),
      ...(reach.aloneSince !== undefined && { aloneSince: reach.aloneSince }),
      ...(used?.rttMs !== undefined && { rttMs: Math.round(used.rttMs * 100) / 100 }),
      ...(used && { loss: Math.round(used.loss * 1000) / 1000 }),
      senders: reach.senders.endpoints,
      mtu: this.#mtus.of(id),
    };
  }

  /** Whom packets for this member are handed to: itself, or the one that carries them. */
  nextTo(id: string): string {
    const course = this.#reaches.get(id)?.used?.course;
    return course?.kind === "via" ? course.neighbour : id;
  }

  /** Ids of the members that are reached through one of these. */
  through(neighbours: ReadonlySet<string>): string[] {
    return [...this.#reaches.values()]
      .filter(({ used }) => used?.course.kind === "via" && neighbours.has(used.course.neighbour))
      .map(({ id }) => id);
  }

  /** Ids of members to hold sessions with: those that carry, and others that could, while paths are sought. */
  needed(): Set<string> {
    const needed = new Set<string>();
    for (const { used } of this.#passing) {
      if (used?.course.kind === "via") needed.add(used.course.neighbour);
    }
    if (!this.#seeking.isSeeking) return needed;
    for (const { peer } of this.#neighbours()) needed.add(peer.id);
    for (const id of this.#reaches.keys()) {
      if (needed.size >= ENOUGH_NEIGHBOURS) break;
      if (this.#mayCarry(id)) needed.add(id);
    }
    return needed;
  }

  received(session: Session<PathMessage>, message: PathMessage): void {
    this.#seeking.received(session, message);
  }

  opened(): void {
    this.#seeking.met();
  }

  closed(session: Session<PathMessage>): void {
    this.#seeking.closed(session);
  }

  // ---- who there is

  #came(record: NodeRecord): void {
    const reach = new Reach(record, this.#parts.clock);
    this.#reaches.set(record.id, reach);
    this.#byName.set(record.name, reach);
    this.#turns.add(reach);
    this.#atOnce(reach);
  }

  #followed(reach: Reach, record: NodeRecord): void {
    if (this.#byName.get(reach.name) === reach) this.#byName.delete(reach.name);
    const isElsewhere = reach.follow(record);
    this.#byName.set(record.name, reach);
    if (!isElsewhere) return;
    this.#passing.add(reach);
    this.#judge(reach);
    this.#atOnce(reach, () => reach.prompts.spend(1) && this.#turns.spend());
  }

  #gone(reach: Reach | undefined): void {
    if (!reach) return;
    this.#reaches.delete(reach.id);
    this.#knocks.end(reach.id);
    this.#mtus.gone(reach.id);
    if (this.#byName.get(reach.name) === reach) this.#byName.delete(reach.name);
    this.#passing.delete(reach);
    this.#turns.delete(reach);
    this.#seeking.seek(reach.id, false);
    this.#seeking.changed(reach.id);
    this.#judgeOthers(reach.id);
  }

  // ---- probing

  #tick(): void {
    for (const { what, at } of this.#awaited.failed(this.#now)) {
      const { reach, way, course, isKnock, size } = what;
      if (isKnock || size !== undefined || way.course !== course) continue;
      way.missed(at);
      this.#judge(reach);
    }
    for (const reach of this.#turns.due()) if (!this.#atOnce(reach)) break;
    this.#wake();
  }

  #wake(): void {
    if (this.#turns.isIdle && this.#awaited.isEmpty) return;
    this.#cancelTick ??= this.#parts.clock.after(TICK, () => {
      this.#cancelTick = undefined;
      this.#tick();
    });
  }

  #lookAround(): void {
    const now = this.#now;
    for (const name of this.#parts.datapath.active()) {
      const reach = this.#byName.get(name);
      if (!reach) continue;
      reach.busyAt = now;
      this.#turns.place(reach);
      if (reach.used) this.#mtus.used(reach.id);
    }
    for (const reach of this.#passing) this.#expire(reach, now);
    const { next } = this.#turns;
    if (next) this.#turn(next);
    this.#wake();
  }

  /** False when it cannot be now. */
  #atOnce(reach: Reach, spend = () => this.#turns.spend()): boolean {
    const mayBe = this.#parts.isKnown() && spend();
    if (mayBe) this.#turn(reach);
    return mayBe;
  }

  /** What another node said is a reason to look. */
  #prompted(reach: Reach): void {
    this.#atOnce(reach, () => this.#turns.spend({ isPrompted: true }));
  }

  #turn(reach: Reach): void {
    const now = this.#now;
    for (const way of reach.toTry(now, this.#carries)) {
      if (this.#probe(reach, way)) reach.probed(way, now);
    }
    this.#turns.done(reach);
    this.#wake();
  }

  /**
   * Sends a probe that shows whether the member is at the end of this way. It does not wait for an
   * earlier probe, which may have arrived before the member knew this node.
   */
  #challenge(reach: Reach, way: Way): void {
    if (!this.#checks.mayChallenge(reach)) return;
    this.#probe(reach, way, { isKnock: true });
    this.#wake();
  }

  #knock(id: string): void {
    const reach = this.#reaches.get(id);
    if (!reach) return;
    for (const way of reach.toKnock()) this.#probe(reach, way, { isKnock: true });
    this.#wake();
  }

  /** Probes whether a packet of this size passes along the way in use. */
  #probeSize(id: string, size: number): void {
    const reach = this.#reaches.get(id);
    if (reach?.used) this.#probe(reach, reach.used, { size });
    this.#wake();
  }

  #quality(id: string): { responseMs: number; loss: number } | undefined {
    const { responseMs, loss = 0 } = this.#reaches.get(id)?.used ?? {};
    return responseMs === undefined ? undefined : { responseMs, loss };
  }

  /** There is a hint that packets to this peer are too large. */
  #hinted(name: string): void {
    const reach = this.#byName.get(name);
    if (reach) this.#mtus.hinted(reach.id);
  }

  /** The largest packet that is sent has another size now. */
  #resized(): void {
    this.#mtus.resized();
    for (const id of this.#reaches.keys()) this.#parts.changed(id);
  }

  /** False when there is no such way now. */
  #probe(
    reach: Reach,
    way: Way,
    { isKnock = false, size }: { isKnock?: boolean; size?: number } = {},
  ): boolean {
    const { datapath, identity, cluster, isKnown } = this.#parts;
    const to = this.#endpointOf(way);
    const relays = this.#relaysOf(way);
    if (!isKnown() || to === undefined || relays === undefined) return false;
    this.#count = (this.#count + 1) % 2 ** 32;
    const probe = signProbe(identity, cluster, {
      kind: way.course.kind === "via" ? "relayed" : "direct",
      carried: 0,
      size: size === undefined ? probeBytes(relays.length) : size + ENCAP_BYTES,
      isAlone: this.#parts.isAlone(),
      residence: 0,
      count: this.#count,
      nonce: newNonce(),
      origin: this.#run,
      target: runOf(reach),
      relays,
    });
    const { course } = way;
    const sent = { reach, way, course, to, isKnock, ...(size !== undefined && { size }) };
    this.#awaited.add(probe.nonce, sent, this.#now);
    datapath.send(to, encodeProbe(probe));
    return true;
  }

  // ---- what comes in

  #arrived(arrival: Arrival): void {
    if (arrival.probe.kind === "reply") this.#replied(arrival);
    else this.#probed(arrival);
  }

  #replied(arrival: Arrival): void {
    const { probe, from } = arrival;
    const now = this.#now;
    if (probe.target.id !== this.#parts.identity.id) {
      const back = this.#relays.back(probe.nonce, from, now);
      if (back !== undefined) this.#handOn(probe, back, arrival);
      return;
    }
    const sent = this.#awaited.get(probe.nonce);
    if (!sent || sent.what.reach.id !== probe.origin.id) return;
    const { reach, way, course, to, size } = sent.what;
    if (from !== to || ++sent.replies > MAX_REPLIES) return;
    if (!isGenuine(this.#parts.cluster, reach.record.owner, probe)) return;
    this.#awaited.delete(probe.nonce);
    reach.saidAlone(probe.isAlone, now);
    if (size !== undefined) {
      if (way === reach.used && way.course === course) this.#mtus.answered(reach.id, size);
      return;
    }
    this.#knocks.end(reach.id);
    this.#heard(reach);
    if (course.kind !== "via") this.#proved(reach, reach.senders.answered(to, now));
    if (way.course === course) reach.answered(way, now, tookSince(sent.at, now, arrival));
    this.#judge(reach);
  }

  /** Takes a probe only if this node, in this run, is its holder on the path that the origin signed. */
  #probed(arrival: Arrival): void {
    const { probe, from } = arrival;
    const origin = this.#reaches.get(probe.origin.id);
    if (!origin || !isSame(probe.origin, runOf(origin))) return;
    if (!isSame(holderOf(probe), this.#run) || !this.#isHandedOver(probe, from)) return;
    if (!this.#checks.mayProbe(origin, from)) return;
    if (!isGenuine(this.#parts.cluster, origin.record.owner, probe)) return;
    if (this.#windows.accept(probe.origin, probe.count)) this.#accepted(arrival, origin);
    else this.#repeat(arrival, origin);
  }

  #accepted(arrival: Arrival, origin: Reach): void {
    const { probe, from } = arrival;
    this.#heard(origin);
    origin.heardAt = this.#now;
    origin.saidAlone(probe.isAlone, this.#now);
    if (probe.carried === 0) this.#cameStraight(origin, from);
    else this.#proved(origin, origin.senders.carried(from, this.#now));
    const isProved = origin.senders.has(from);
    if (probe.carried < probe.relays.length) {
      if (isProved) this.#carryOn(arrival);
    } else if (isProved || probe.kind === "direct") this.#reply(arrival);
  }

  /** Answers a repeated probe from its origin, since a copy from an attacker may have come first. */
  #repeat(arrival: Arrival, origin: Reach): void {
    const { probe, from } = arrival;
    const isOrigin = probe.kind === "direct" && origin.senders.hasAnswered(from);
    if (isOrigin) this.#reply(arrival);
  }

  /** Whether the relay before this node has answered at the endpoint that the probe came from. */
  #isHandedOver(probe: Probe, from: string): boolean {
    if (probe.carried === 0) return true;
    const carrier = carrierOf(probe);
    const relay = this.#reaches.get(carrier.id);
    return relay !== undefined && isSame(carrier, runOf(relay)) && relay.senders.hasAnswered(from);
  }

  /** The probe may be a recorded one: only an answer shows that the member is there. */
  #cameStraight(origin: Reach, from: string): void {
    const way = origin.heardFrom(from, this.#now);
    if (from !== origin.record.vtep) this.#passing.add(origin);
    if (way) this.#challenge(origin, way);
  }

  /** Called after proofs of its endpoints; `isNews` if they have changed. */
  #proved(reach: Reach, isNews: boolean): void {
    if (reach.passes) this.#passing.add(reach);
    if (isNews) this.#parts.changed(reach.id);
  }

  /** Where a way works it was not silent: it may only not have had its turn. */
  #heard({ id, used, heardAt = Number.NEGATIVE_INFINITY }: Reach): void {
    if (!used && this.#now - heardAt >= LATELY) this.#parts.isBack(id);
  }

  #reply(arrival: Arrival): void {
    const { identity, cluster, isAlone } = this.#parts;
    const reply = replyTo(arrival.probe, identity, cluster, { isAlone: isAlone() });
    this.#handOn(reply, arrival.from, arrival);
  }

  /** Sends what came of a probe or reply, with the time that this node has held it. */
  #handOn(probe: Probe, to: string, { at }: Arrival): void {
    this.#parts.datapath.send(to, encodeProbe(heldFor(this.#now - at, probe)));
  }

  /**
   * Forwards a probe as the dataplane does packets: along this node's own path, if the origin
   * signed that one.
   */
  #carryOn(arrival: Arrival): void {
    const { probe, from } = arrival;
    const target = this.#reaches.get(probe.target.id);
    const path = this.#pathTo(probe.target.id);
    const rest = probe.relays.slice(probe.carried + 1).map(({ id }) => id);
    if (!target || path?.join() !== rest.join()) return;
    const to = this.#endpoint(target)!;
    this.#relays.carried(probe.nonce, from, to, this.#now);
    this.#handOn({ ...probe, carried: probe.carried + 1 }, to, arrival);
  }

  // ---- which way is used

  #judge(reach: Reach): void {
    if (this.#reaches.get(reach.id) !== reach) return;
    const before = this.#text(reach);
    reach.choose(this.#carries);
    this.#turns.place(reach);
    this.#wake();
    this.#seeking.seek(reach.id, reach.needsOffers && !this.#parts.isDead(reach.id));
    if (this.#text(reach) === before) return;
    this.#seeking.changed(reach.id);
    this.#mtus.moved(reach.id);
    this.#parts.changed(reach.id);
    this.#judgeOthers(reach.id);
    if (this.#mayCarry(reach.id)) this.#seeking.met();
  }

  /** Those that are reached through this member, or could be. */
  #judgeOthers(neighbour: string): void {
    for (const reach of this.#passing) if (reach.offers(neighbour)) this.#judge(reach);
  }

  #offered(to: string, neighbour: string, path: Path | undefined): void {
    const reach = this.#reaches.get(to);
    if (!reach || !this.#reaches.has(neighbour)) return;
    this.#passing.add(reach);
    if (!reach.offered(neighbour, path, this.#now)) return;
    this.#judge(reach);
    if (path && !reach.isSound) this.#prompted(reach);
  }

  /** Somebody wants to send through here: look whether the way is still there. */
  #sought(to: string): void {
    const reach = this.#reaches.get(to);
    if (!reach || reach.isSound) return;
    const isDue = reach.probedAt === undefined || this.#now - reach.probedAt >= WATCH_EVERY;
    if (isDue) this.#prompted(reach);
  }

  #expire(reach: Reach, now: number): void {
    const hasLost = reach.senders.expire(now, reach.record.vtep);
    if (reach.expire(now)) this.#judge(reach);
    if (hasLost) this.#parts.changed(reach.id);
    if (!reach.passes) this.#passing.delete(reach);
  }

  /** The members between this node and that one, on the way that is used. */
  #pathTo(to: string): Path | undefined {
    const course = this.#reaches.get(to)?.used?.course;
    if (!course) return undefined;
    return course.kind === "via" ? [course.neighbour, ...course.path] : [];
  }

  /** Whether packets for others can be given to this member: it is reached straight. */
  #mayCarry(id: string): boolean {
    const course = this.#reaches.get(id)?.used?.course;
    return course !== undefined && course.kind !== "via";
  }

  /** The sessions with those to whom packets can be given. */
  #neighbours(): Session[] {
    return this.#parts.sessions().filter(({ peer }) => this.#mayCarry(peer.id));
  }

  readonly #carries = (neighbour: string): boolean => this.#mayCarry(neighbour);

  /**
   * Destination of packets for a member; where no way works any more, the endpoint where it
   * answered last.
   */
  #endpoint({ used, record, senders }: Reach): string | undefined {
    const to = used && this.#endpointOf(used);
    return to ?? (senders.hasAnswered(record.vtep) ? record.vtep : senders.answeredLast);
  }

  #endpointOf({ course }: Way): string | undefined {
    if (course.kind !== "via") return course.endpoint;
    const straight = this.#reaches.get(course.neighbour)?.used?.course;
    return straight && straight.kind !== "via" ? straight.endpoint : undefined;
  }

  /** The relays on it in their current runs; nothing while one of them is unknown here. */
  #relaysOf({ course }: Way): readonly Run[] | undefined {
    if (course.kind !== "via") return [];
    const relays = [course.neighbour, ...course.path].map((id) => this.#reaches.get(id));
    return relays.every((relay) => relay !== undefined) ? relays.map(runOf) : undefined;
  }

  get #run(): Run {
    return { id: this.#parts.identity.id, epoch: this.#parts.epoch };
  }

  /** What of a member concerns others. */
  #text(reach: Reach): string {
    const { used } = reach;
    return used ? `${this.#endpoint(reach)} ${this.#pathTo(reach.id)?.join()}` : "";
  }

  get #now(): number {
    return this.#parts.clock.elapsed();
  }
}

const runOf = ({ record }: Reach): Run => ({ id: record.id, epoch: record.epoch });

/** Not below 0, whatever residence the other nodes claim: they can only make the round trip look short. */
const tookSince = (sentAt: number, now: number, { probe, at }: Arrival): Took => ({
  responseMs: now - sentAt,
  rttMs: Math.max(0, at - sentAt - probe.residence / 1_000),
});

const isSame = (a: Run, b: Run): boolean => a.id === b.id && a.epoch === b.epoch;
