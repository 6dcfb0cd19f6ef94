/** How members stand, by sessions, records and the failure detector: where their paths are not probed. */
import type { Members } from "../gossip/members.js";
import { type NodeRecord, RENEW_EVERY } from "../gossip/record.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Clock } from "../time/clock.js";
import type { FailureDetector } from "./failure-detector.js";
import { isDown } from "./is-down.js";

/** A member without a session, of which nothing was heard for this long, counts as unreachable. Milliseconds. */
export const RECORD_STALE_AFTER = 3 * RENEW_EVERY;

export interface ReachabilityParts {
  readonly clock: Clock;
  readonly connections: Pick<ConnectionManager, "failure" | "isDialling" | "sessionWith">;
  readonly members: Members;
  readonly failureDetector: Pick<FailureDetector, "isDead">;
}

export class Reachability {
  readonly #parts: ReachabilityParts;

  constructor(parts: ReachabilityParts) {
    this.#parts = parts;
  }

  isDown(record: NodeRecord): boolean {
    return isDown({ state: this.stateOf(record) });
  }

  stateOf({ id, mesh }: NodeRecord): "established" | "connecting" | "unreachable" | "dead" {
    const { clock, connections, members, failureDetector } = this.#parts;
    if (failureDetector.isDead(id)) return "dead";
    if (connections.sessionWith(id)) return "established";
    if (connections.failure(mesh)) return "unreachable";
    if (connections.isDialling(mesh)) return "connecting";
    const isStale = members.age(id, clock.elapsed()) > RECORD_STALE_AFTER;
    return isStale ? "unreachable" : "established";
  }
}
