/**
 * Probes the paths to members: on schedule, when another node's message prompts it, and in bursts.
 * Answers and failures become the state of the paths.
 */

import type { Cluster } from "../lease/genesis.js";
import type { Clock } from "../time/clock.js";
import type { BurstProber } from "./burst-prober.js";
import type { PathMtus } from "./path-mtus.js";
import type { PathSelector } from "./path-selector.js";
import type { PathState, RoundTrip } from "./path-state.js";
import type { PeerPaths } from "./peer-paths.js";
import type { PendingProbes } from "./pending-probes.js";
import { isGenuine } from "./probe.js";
import { MAX_REPLIES, type ProbeLimits } from "./probe-limits.js";
import type { ProbeScheduler } from "./probe-scheduler.js";
import type { ProbeSender, SentProbe } from "./probe-sender.js";
import type { Arrival } from "./probe-socket.js";
import type { Redialer } from "./redialer.js";
import type { RoutingTable } from "./routing-table.js";

export interface ProberParts {
  readonly clock: Clock;
  readonly cluster: Cluster;
  readonly table: RoutingTable;
  readonly scheduler: ProbeScheduler;
  readonly limits: ProbeLimits;
  readonly pending: PendingProbes<SentProbe>;
  readonly sender: ProbeSender;
  readonly bursts: BurstProber;
  readonly mtus: PathMtus;
  readonly selector: PathSelector;
  readonly redialer: Redialer;
}

export class Prober {
  readonly #parts: ProberParts;

  constructor(parts: ProberParts) {
    this.#parts = parts;
  }

  // ---- which members, and when

  /** Takes the failures, and probes the members that are due. */
  tick(): void {
    const { clock, pending, scheduler, selector } = this.#parts;
    for (const { what, at } of pending.takeTimedOut(clock.elapsed())) {
      const { peer, path, nextHop, isExtra, size } = what;
      if (isExtra || size !== undefined || path.nextHop !== nextHop) continue;
      path.lost(at);
      selector.select(peer);
    }
    for (const peer of scheduler.due()) if (!this.probe(peer)) break;
  }

  /** Probes the next member of the slow set. */
  probeNextSlow(): void {
    const { nextSlow } = this.#parts.scheduler;
    if (nextSlow) this.#probeMember(nextSlow);
    this.#parts.scheduler.wake();
  }

  /** Probes a member if the limit allows it; false if not. */
  probe(peer: PeerPaths): boolean {
    return this.#probeWithin(peer, () => this.#parts.scheduler.spend());
  }

  /** Probes a member because of another node's message, within the limit for that. */
  probePrompted(peer: PeerPaths): void {
    this.#probeWithin(peer, () => this.#parts.scheduler.spend({ isPrompted: true }));
  }

  /** Probes a member because its endpoint or its run is new, within its own limit, too. */
  probeMoved(peer: PeerPaths): void {
    this.#probeWithin(peer, () => peer.promptedProbes.spend(1) && this.#parts.scheduler.spend());
  }

  /** `spend` takes the tokens. */
  #probeWithin(peer: PeerPaths, spend: () => boolean): boolean {
    const mayBe = this.#parts.sender.isKnown && spend();
    if (mayBe) this.#probeMember(peer);
    return mayBe;
  }

  // ---- which paths

  #probeMember(peer: PeerPaths): void {
    const { clock, table, sender, scheduler } = this.#parts;
    const now = clock.elapsed();
    for (const path of peer.pathsToProbe(now, table.mayRelay)) {
      if (sender.send(peer, path)) peer.probed(path, now);
    }
    scheduler.probed(peer);
    scheduler.wake();
  }

  /** Sends one round of a burst. */
  probeBurst(id: string): void {
    const peer = this.#parts.table.get(id);
    if (!peer) return;
    for (const path of peer.burstPaths()) this.#parts.sender.send(peer, path, { isExtra: true });
  }

  /**
   * Sends a probe that shows whether the member is at the end of this path. It does not wait for the
   * answer to an earlier probe, which may have arrived before the member knew this node.
   */
  challenge(peer: PeerPaths, path: PathState): void {
    if (!this.#parts.limits.mayChallenge(peer)) return;
    this.#parts.sender.send(peer, path, { isExtra: true });
  }

  // ---- answers

  /** Takes the reply to a probe of this node, if it comes from where the probe was sent. */
  onReply(arrival: Arrival): void {
    const { probe, from } = arrival;
    const { clock, cluster, pending, bursts, mtus, selector, redialer } = this.#parts;
    const now = clock.elapsed();
    const sent = pending.get(probe.nonce);
    if (!sent || sent.what.peer.id !== probe.origin.id) return;
    const { peer, path, nextHop, to, size } = sent.what;
    if (from !== to || ++sent.replies > MAX_REPLIES) return;
    if (!isGenuine(cluster, peer.record.owner, probe)) return;
    pending.delete(probe.nonce);
    peer.setAlone(probe.isAlone, now);
    if (size !== undefined) {
      if (path === peer.used && path.nextHop === nextHop) mtus.answered(peer.id, size);
      return;
    }
    bursts.cancel(peer.id);
    redialer.heard(peer);
    if (nextHop.kind !== "via") selector.noteProof(peer, peer.allowedSources.answered(to, now));
    if (path.nextHop === nextHop) peer.answered(path, now, roundTripSince(sent.at, now, arrival));
    selector.select(peer);
  }
}

/** At least 0, whatever residence the other nodes claim: they can only make the round trip look shorter. */
const roundTripSince = (sentAt: number, now: number, { probe, at }: Arrival): RoundTrip => ({
  responseMs: now - sentAt,
  rttMs: Math.max(0, at - sentAt - probe.residence / 1_000),
});
