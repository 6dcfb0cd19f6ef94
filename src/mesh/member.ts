/** A node's view of itself and of each other member. */

import { type DocumentInForce, documentsOf } from "../documents/in-force.js";
import { type Contact, timeOfDay } from "../failure-detector/contact.js";
import type { FailureDetector } from "../failure-detector/failure-detector.js";
import { isDown } from "../failure-detector/is-down.js";
import type { Reachability } from "../failure-detector/reachability.js";
import type { Members } from "../gossip/members.js";
import { LEASE_TTL, type NodeRecord } from "../gossip/record.js";
import { subnetOf } from "../lease/grant.js";
import type { PathStatus } from "../paths/path-status.js";
import type { Paths } from "../paths/paths.js";
import type { Answering } from "../paths/peer-paths.js";
import type { ConnectionManager } from "../session/connection-manager.js";
import type { Clock } from "../time/clock.js";
import type { MemberChanges } from "./member-changes.js";

export interface Self {
  readonly id: string;
  readonly name: string;
  readonly mac: string;
  /** Empty until a lease was given. */
  readonly leases: readonly string[];
  /** Empty until the cluster is known. */
  readonly network: readonly string[];
  /** When the leases expire, in milliseconds since the epoch. Missing until this node has published. */
  readonly expires?: number;
  /** The cluster documents in force here. */
  readonly documents: readonly DocumentInForce[];
}

export interface Member {
  readonly id: string;
  readonly name: string;
  /** MAC of the VTEP that packets for it are sent to. */
  readonly mac: string;
  /**
   * Destination of packets for it: its VTEP, or that of the relay. While none has answered, the
   * endpoint that is tried.
   */
  readonly endpoint: string;
  readonly meshEndpoint: string;
  /** `expires` in milliseconds since the epoch. */
  readonly leases: readonly { readonly subnet: string; readonly expires: number }[];
  readonly state: "established" | "no-mesh" | "connecting" | "unreachable" | "dead";
  /**
   * Since when, in milliseconds since the epoch by this node's clock: since it was heard last by UDP,
   * or says that it has no mesh session. Missing where it is established, or this run does not know.
   */
  readonly since?: number;
  readonly path: "direct" | `via ${string}`;
  readonly rttMs?: number;
  /** Share of the recent probes that were not answered: 0 to 1. */
  readonly loss?: number;
  /**
   * No path to it has answered yet: packets for it are dropped. Never set where there is no data
   * path to probe.
   */
  readonly noPath: boolean;
  /** The largest inner packet that its path takes, as far as probes have verified it. */
  readonly mtu?: number;
  /** The underlay endpoints that its packets come from, at most 4. */
  readonly senders: readonly string[];
  /** When it last answered a probe of its path, in milliseconds since the epoch. Missing: never, or not probed. */
  readonly answered?: number;
  /** The cluster documents that it has in force, as it says itself. */
  readonly documents: readonly DocumentInForce[];
}

/** A space, and the name of the node that it belongs to; its id where the name is not known. */
export interface SpaceOf {
  readonly prefix: string;
  readonly owner: string;
}

/**
 * A node that is known and no member any more, and whose leases stay reserved for it: it has stopped
 * (`left`), it is dead and another has its name (`dead`), or it does not fit or claims what another
 * member has (`left-out`).
 */
export interface Departed {
  readonly id: string;
  readonly name: string;
  readonly mac: string;
  /** The VTEP it had. */
  readonly endpoint: string;
  readonly leases: readonly string[];
  readonly state: "left" | "dead" | "left-out";
  /** Of `left`, when it stopped, by its own clock; else since when this node counts it no more. Missing: not known. */
  readonly since?: number;
}

/** A stop that is said to be so much later than now tells nothing but a wrong clock. Milliseconds. */
const CLOCK_TOLERANCE = 60_000;

/** When the leases in a record expire, in milliseconds since the epoch. */
export const expiry = ({ renewed }: NodeRecord): number => renewed + LEASE_TTL;

export interface MemberStatesParts {
  readonly clock: Clock;
  readonly own: string;
  readonly connections: ConnectionManager;
  readonly members: Members;
  readonly failureDetector: FailureDetector;
  readonly paths: Paths | undefined;
  readonly contact: Contact;
  readonly reachability: Reachability;
  readonly changes: Pick<MemberChanges, "leftAt">;
}

/** How this node and each of the others stand to each other. */
export class MemberStates {
  readonly #parts: MemberStatesParts;

  constructor(parts: MemberStatesParts) {
    this.#parts = parts;
  }

  /** Everyone but this node. */
  members(): Member[] {
    const { members, own } = this.#parts;
    const others = [...members.view.members.values()].filter(({ id }) => id !== own);
    return others.map((record) => this.#member(record));
  }

  /** Those of whom the record is known and who are no members. */
  departed(): Departed[] {
    const { members, own } = this.#parts;
    const { view } = members;
    return members.sorted().flatMap((record) => {
      const { id } = record;
      if (id === own || view.members.has(id)) return [];
      const reserved = record.leases.map(subnetOf);
      const leases = reserved.filter((subnet) => view.holder(subnet)?.id === id);
      return leases.length > 0 ? [this.#gone(record, leases)] : [];
    });
  }

  #gone(record: NodeRecord, leases: readonly string[]): Departed {
    const { clock, failureDetector, changes } = this.#parts;
    const { id, name, mac, vtep, renewed } = record;
    const known = { id, name, mac, endpoint: vtep, leases };
    if (record.withdrawn) {
      const isPast = renewed <= clock.now() + CLOCK_TOLERANCE;
      return { ...known, state: "left", ...(isPast && { since: renewed }) };
    }
    const at = changes.leftAt(id);
    return {
      ...known,
      state: failureDetector.isDead(id) ? "dead" : "left-out",
      ...(at !== undefined && { since: this.#timeOf(at) }),
    };
  }

  #timeOf(elapsed: number): number {
    const { clock } = this.#parts;
    return clock.now() - (clock.elapsed() - elapsed);
  }

  /** Sentences about those that cannot be reached. */
  problems(): string[] {
    const members = this.members();
    return members
      .flatMap((member) => this.#problem(member) ?? [])
      .concat(this.#parts.contact.isLost ? this.#lost(members) : []);
  }

  #problem(member: Member): string | undefined {
    if (isDown(member)) return this.#unreachable(member);
    return member.state === "no-mesh" ? this.#alone(member) : undefined;
  }

  /** This node is without a session. */
  #lost(members: readonly Member[]): string {
    const { connections, contact } = this.#parts;
    const [failure] = members.flatMap(
      ({ meshEndpoint }) => connections.failure(meshEndpoint) ?? [],
    );
    const why = failure
      ? `${failure.message}: ${failure.remedy}`
      : "let TCP through to their mesh ports, or start one; those that are gone for good: weft forget NAME";
    return `no mesh session with any member since ${contact.since}; policy and leases may be out of date: ${why}`;
  }

  #alone({ id, name, meshEndpoint }: Member): string {
    const { clock, paths } = this.#parts;
    const since = paths?.status(id)?.aloneSince;
    const when = since === undefined ? "" : `, since before ${timeOfDay(clock, since)}`;
    return `${name} says that it has no mesh session with any member${when}; its policy and leases may be out of date: let TCP through between ${meshEndpoint} and the others`;
  }

  #unreachable({ id, name, endpoint, meshEndpoint }: Member): string {
    const { connections, failureDetector, paths } = this.#parts;
    if (paths?.status(id)?.answering === "no" && !failureDetector.isDead(id)) {
      return `${name} does not answer at ${endpoint}, and no other node has a path to it: let UDP through between them`;
    }
    const failure = connections.failure(meshEndpoint);
    const why = failure
      ? `${failure.message}: ${failure.remedy}`
      : "no node has heard from it recently";
    return `${name} cannot be reached at ${meshEndpoint}: ${why}`;
  }

  #member(record: NodeRecord): Member {
    const { id } = record;
    const { connections, members, paths } = this.#parts;
    const rtt = connections.sessionWith(id)?.rttMs;
    const { answering, answeredAt, aloneSince, ...course }: Partial<PathStatus> =
      paths?.status(id) ?? {};
    const state = this.#stateOf(record, answering, course.noPath);
    const isAlone =
      state === "established" &&
      aloneSince !== undefined &&
      !connections.sessionWith(id)?.isResponsive;
    const since = isAlone ? aloneSince : state === "established" ? undefined : paths?.heardAt(id);
    const expires = expiry(record);
    return {
      id,
      name: record.name,
      mac: record.mac,
      endpoint: record.vtep,
      meshEndpoint: record.mesh,
      leases: record.leases.map((proof) => ({ subnet: subnetOf(proof), expires })),
      state: isAlone ? "no-mesh" : state,
      ...(since !== undefined && { since: this.#timeOf(since) }),
      path: "direct",
      noPath: false,
      senders: [record.vtep],
      documents: documentsOf(record, members),
      ...(answeredAt !== undefined && { answered: this.#timeOf(answeredAt) }),
      ...(rtt === undefined ? {} : { rttMs: rtt }),
      ...course,
    };
  }

  /** A recent answer counts more than reports of others, and those more than an older answer. */
  #stateOf(record: NodeRecord, answering?: Answering, noPath = false): Member["state"] {
    if (answering === "lately") return "established";
    if (this.#parts.failureDetector.isDead(record.id)) return "dead";
    if (answering) return STATES[answering];
    const presumed = this.#parts.reachability.stateOf(record);
    return noPath && presumed === "established" ? "connecting" : presumed;
  }
}

const STATES = { before: "established", "not yet": "connecting", no: "unreachable" } as const;
