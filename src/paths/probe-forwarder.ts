/** Forwards probes as a relay, and returns their replies. */

import type { Clock } from "../time/clock.js";
import { ForwardedProbes } from "./forwarded-probes.js";
import type { Arrival, ProbeSocket } from "./probe-socket.js";
import type { RoutingTable } from "./routing-table.js";

export interface ProbeForwarderParts {
  readonly clock: Clock;
  readonly table: RoutingTable;
  readonly socket: ProbeSocket;
}

export class ProbeForwarder {
  readonly #parts: ProbeForwarderParts;
  readonly #forwarded = new ForwardedProbes();

  constructor(parts: ProbeForwarderParts) {
    this.#parts = parts;
  }

  /**
   * Forwards a probe as the dataplane forwards packets, along this node's own path, and only if that
   * is the path the origin signed.
   */
  forward(arrival: Arrival): void {
    const { probe, from } = arrival;
    const { clock, table, socket } = this.#parts;
    const target = table.get(probe.target.id);
    const path = table.pathTo(probe.target.id);
    const rest = probe.relays.slice(probe.hops + 1).map(({ id }) => id);
    if (!target || path?.join() !== rest.join()) return;
    const to = table.destination(target)!;
    this.#forwarded.add(probe.nonce, from, to, clock.elapsed());
    socket.sendOn({ ...probe, hops: probe.hops + 1 }, to, arrival);
  }

  /** Takes the reply to a probe of another node. */
  onReply(arrival: Arrival): void {
    const { probe, from } = arrival;
    const { clock, socket } = this.#parts;
    const back = this.#forwarded.takeReturn(probe.nonce, from, clock.elapsed());
    if (back !== undefined) socket.sendOn(probe, back, arrival);
  }
}
