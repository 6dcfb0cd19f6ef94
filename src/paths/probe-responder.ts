/**
 * Answers the probes of other members, and lets those be forwarded that this node is a relay of. What
 * a probe proves about its origin becomes allowed sources and paths.
 */

import type { Contact } from "../failure-detector/contact.js";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { Clock } from "../time/clock.js";
import type { PathSelector } from "./path-selector.js";
import type { PeerPaths } from "./peer-paths.js";
import {
  currentHop,
  isGenuine,
  isSameRun,
  type Probe,
  previousHop,
  type Run,
  replyTo,
} from "./probe.js";
import type { ProbeForwarder } from "./probe-forwarder.js";
import type { ProbeLimits } from "./probe-limits.js";
import type { Arrival, ProbeSocket } from "./probe-socket.js";
import type { Prober } from "./prober.js";
import type { Redialer } from "./redialer.js";
import { ReplayWindows } from "./replay-window.js";
import type { RoutingTable } from "./routing-table.js";

export interface ProbeResponderParts {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly own: Run;
  readonly cluster: Cluster;
  readonly contact: Pick<Contact, "isLost">;
  readonly table: RoutingTable;
  readonly limits: ProbeLimits;
  readonly socket: ProbeSocket;
  readonly selector: PathSelector;
  readonly redialer: Redialer;
  readonly prober: Prober;
  readonly forwarder: ProbeForwarder;
}

export class ProbeResponder {
  readonly #parts: ProbeResponderParts;
  readonly #replayWindows = new ReplayWindows();

  constructor(parts: ProbeResponderParts) {
    this.#parts = parts;
  }

  /** Accepts a probe only if this node, in this run, is its current hop on the path that the origin signed. */
  onProbe(arrival: Arrival): void {
    const { probe, from } = arrival;
    const { own, cluster, table, limits } = this.#parts;
    const origin = table.get(probe.origin.id);
    if (!origin || !isSameRun(probe.origin, origin.run)) return;
    if (!isSameRun(currentHop(probe), own) || !this.#isFromPreviousHop(probe, from)) return;
    if (!limits.mayVerify(origin, from)) return;
    if (!isGenuine(cluster, origin.record.owner, probe)) return;
    if (this.#replayWindows.accept(probe.origin, probe.count)) this.#accepted(arrival, origin);
    else this.#repeat(arrival, origin);
  }

  /** Whether the hop before this node has answered at the endpoint that the probe came from. */
  #isFromPreviousHop(probe: Probe, from: string): boolean {
    if (probe.hops === 0) return true;
    const hop = previousHop(probe);
    const relay = this.#parts.table.get(hop.id);
    return (
      relay !== undefined && isSameRun(hop, relay.run) && relay.allowedSources.hasAnswered(from)
    );
  }

  #accepted(arrival: Arrival, origin: PeerPaths): void {
    const { probe, from } = arrival;
    const { clock, selector, redialer, forwarder } = this.#parts;
    const now = clock.elapsed();
    redialer.heard(origin);
    origin.heardAt = now;
    origin.setAlone(probe.isAlone, now);
    if (probe.hops === 0) this.#cameDirect(origin, from);
    else selector.noteProof(origin, origin.allowedSources.carried(from, now));
    const isProved = origin.allowedSources.has(from);
    if (probe.hops < probe.relays.length) {
      if (isProved) forwarder.forward(arrival);
    } else if (isProved || probe.kind === "direct") this.#reply(arrival);
  }

  /** Challenges the endpoint if needed: a replayed probe can come from anywhere, an answer cannot. */
  #cameDirect(origin: PeerPaths, from: string): void {
    const { clock, table, prober } = this.#parts;
    const path = origin.heardFrom(from, clock.elapsed());
    if (from !== origin.record.vtep) table.expiring.add(origin);
    if (path) prober.challenge(origin, path);
  }

  /** Answers a repeated probe that comes from its origin: an attacker's copy may have come first. */
  #repeat(arrival: Arrival, origin: PeerPaths): void {
    const { probe, from } = arrival;
    const isOrigin = probe.kind === "direct" && origin.allowedSources.hasAnswered(from);
    if (isOrigin) this.#reply(arrival);
  }

  #reply(arrival: Arrival): void {
    const { identity, cluster, contact, socket } = this.#parts;
    const reply = replyTo(arrival.probe, identity, cluster, { isAlone: contact.isLost });
    socket.sendOn(reply, arrival.from, arrival);
  }
}
