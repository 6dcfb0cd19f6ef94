/**
 * The state of members by sessions, records and the failure detector. It serves nodes that do not
 * probe paths.
 */
import type { Members } from "../gossip/members.js";
import { type NodeRecord, RENEW_EVERY } from "../gossip/record.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Clock } from "../time/clock.js";
import type { FailureDetector } from "./failure-detector.js";
import { isDown } from "./is-down.js";

/** A member without a session whose record is older than this is unreachable, in milliseconds. */
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
