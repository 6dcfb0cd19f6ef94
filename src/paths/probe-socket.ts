/** Sends and receives probes as control datagrams. */

import { EventEmitter } from "node:events";
import type { Clock } from "../time/clock.js";
import type { DataPath } from "./datapath.js";
import { addResidence, decodeProbe, encodeProbe, type Probe } from "./probe.js";

/** A probe or a reply that came in. */
export interface Arrival {
  readonly probe: Probe;
  /** The endpoint that it came from. */
  readonly from: string;
  /** When it came in on this host, by `clock.elapsed`. */
  readonly at: number;
}

export interface ProbeSocketParts {
  readonly clock: Clock;
  readonly datapath: DataPath;
}

export class ProbeSocket extends EventEmitter<{ arrived: [Arrival] }> {
  readonly #parts: ProbeSocketParts;

  constructor(parts: ProbeSocketParts) {
    super();
    this.#parts = parts;
  }

  start(): void {
    const { clock, datapath } = this.#parts;
    datapath.receive((from, bytes, length, waited) => {
      const probe = decodeProbe(bytes, length);
      if (probe) this.emit("arrived", { probe, from, at: clock.elapsed() - waited });
    });
  }

  stop(): void {
    this.#parts.datapath.receive(() => {});
  }

  send(probe: Probe, to: string): void {
    this.#parts.datapath.send(to, encodeProbe(probe));
  }

  /** Sends on what arrived, or the reply to it, with the time that this node has held it added. */
  sendOn(probe: Probe, to: string, { at }: Arrival): void {
    this.send(addResidence(this.#parts.clock.elapsed() - at, probe), to);
  }
}
