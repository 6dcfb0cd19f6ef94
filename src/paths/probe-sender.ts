/** Sends this node's own probes, and remembers each until it is answered or has failed. */

import type { Contact } from "../failure-detector/contact.js";
import type { Members } from "../gossip/members.js";
import type { Identity } from "../identity/identity.js";
import type { Cluster } from "../lease/genesis.js";
import type { Clock } from "../time/clock.js";
import { ENCAP_BYTES } from "./datapath.js";
import type { PathState } from "./path-state.js";
import type { PeerPaths } from "./peer-paths.js";
import type { PendingProbes } from "./pending-probes.js";
import { newNonce, probeBytes, type Run, signProbe } from "./probe.js";
import type { ProbeScheduler } from "./probe-scheduler.js";
import type { ProbeSocket } from "./probe-socket.js";
import type { RoutingTable } from "./routing-table.js";

export interface SentProbe {
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

export interface ProbeSenderParts {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly own: Run;
  readonly cluster: Cluster;
  readonly members: Pick<Members, "has">;
  readonly contact: Pick<Contact, "isLost">;
  readonly table: RoutingTable;
  readonly scheduler: ProbeScheduler;
  readonly pending: PendingProbes<SentProbe>;
  readonly socket: ProbeSocket;
}

export class ProbeSender {
  readonly #parts: ProbeSenderParts;
  #count = 0;

  constructor(parts: ProbeSenderParts) {
    this.#parts = parts;
  }

  /** Whether this node has published its record, so that others may know it. */
  get isKnown(): boolean {
    return this.#parts.members.has(this.#parts.own.id);
  }

  /** Sends a probe along a path; false if the path leads nowhere now. */
  send(
    peer: PeerPaths,
    path: PathState,
    { isExtra = false, size }: { isExtra?: boolean; size?: number } = {},
  ): boolean {
    const { clock, identity, own, cluster, contact, table } = this.#parts;
    const { scheduler, pending, socket } = this.#parts;
    const to = table.endpointOf(path);
    const relays = table.relaysOf(path);
    if (!this.isKnown || to === undefined || relays === undefined) return false;
    this.#count = (this.#count + 1) % 2 ** 32;
    const probe = signProbe(identity, cluster, {
      kind: path.nextHop.kind === "via" ? "relayed" : "direct",
      hops: 0,
      size: size === undefined ? probeBytes(relays.length) : size + ENCAP_BYTES,
      isAlone: contact.isLost,
      residence: 0,
      count: this.#count,
      nonce: newNonce(),
      origin: own,
      target: peer.run,
      relays,
    });
    const { nextHop } = path;
    const sent = { peer, path, nextHop, to, isExtra, ...(size !== undefined && { size }) };
    pending.add(probe.nonce, sent, clock.elapsed());
    scheduler.wake();
    socket.send(probe, to);
    return true;
  }
}
