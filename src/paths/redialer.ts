/** Dials a member soon that sends or answers probes again after a silence: its session may open again, too. */

import type { Members } from "../gossip/members.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Clock } from "../time/clock.js";
import { LATELY, type PeerPaths } from "./peer-paths.js";

export interface RedialerParts {
  readonly clock: Clock;
  readonly members: Pick<Members, "get">;
  readonly connections: Pick<ConnectionManager, "resetBackoff">;
}

export class Redialer {
  readonly #parts: RedialerParts;

  constructor(parts: RedialerParts) {
    this.#parts = parts;
  }

  /** The member is heard; its `heardAt` is still that of the last time. Only one without a working path counts. */
  heard({ id, used, heardAt = Number.NEGATIVE_INFINITY }: PeerPaths): void {
    const { clock, members, connections } = this.#parts;
    if (used || clock.elapsed() - heardAt < LATELY) return;
    connections.resetBackoff(members.get(id)?.mesh ?? "");
  }
}
