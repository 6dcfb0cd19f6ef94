/** What a node sees of itself and of another one. */
import { subnetOf } from "../lease/grant.js";
import type { Clock } from "./clock.js";
import type { Links } from "./links.js";
import type { Liveness } from "./liveness.js";
import type { Members } from "./members.js";
import type { Course, Paths } from "./paths.js";
import type { Answering } from "./reach.js";
import { LEASE_TTL, type NodeRecord, RENEW_EVERY } from "./record.js";

/** A member without a session, of whom nothing was heard for this long, counts as unreachable. Milliseconds. */
export const HEARD_WITHIN = 3 * RENEW_EVERY;

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
}

export interface Member {
  readonly id: string;
  readonly name: string;
  /** That of the VTEP its packets are sent to. */
  readonly mac: string;
  /**
   * Destination of packets for it: its VTEP, or that of the relay. While none has answered, the
   * endpoint that is tried.
   */
  readonly endpoint: string;
  readonly meshEndpoint: string;
  /** `expires` in milliseconds since the epoch. */
  readonly leases: readonly { readonly subnet: string; readonly expires: number }[];
  readonly state: "established" | "connecting" | "unreachable";
  readonly path: "direct" | `via ${string}`;
  readonly rttMs?: number;
  /** Of the probes sent of late, the share that was not answered: 0 to 1. */
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
}

/** When the leases in a record expire, in milliseconds since the epoch. */
export const expiry = ({ renewed }: NodeRecord): number => renewed + LEASE_TTL;

export interface StandingParts {
  readonly clock: Clock;
  readonly own: string;
  readonly links: Links;
  readonly members: Members;
  readonly liveness: Liveness;
  readonly paths: Paths | undefined;
}

/** How this node and each of the others stand to each other. */
export class Standing {
  readonly #parts: StandingParts;

  constructor(parts: StandingParts) {
    this.#parts = parts;
  }

  /** Everyone but this node. */
  members(): Member[] {
    const { members, own } = this.#parts;
    const others = [...members.view.members.values()].filter(({ id }) => id !== own);
    return others.map((record) => this.#member(record));
  }

  /** Milliseconds since a node's record was last new here. */
  age(id: string): number {
    return this.#parts.members.age(id, this.#parts.clock.elapsed());
  }

  /** Sentences about those that cannot be reached. */
  problems(): string[] {
    const members = this.members();
    const away = members.filter(({ state }) => state === "unreachable");
    const others = members.filter(({ state }) => state !== "unreachable");
    return [...away.map((member) => this.#unreachable(member)), ...this.#alone(others)];
  }

  /** Without a session packets may go on, but nothing new is learned. */
  #alone(others: readonly Member[]): string[] {
    const { links } = this.#parts;
    if (links.open().length > 0) return [];
    const refused = others.find(({ meshEndpoint }) => links.failure(meshEndpoint));
    if (!refused) return [];
    const { message, remedy } = links.failure(refused.meshEndpoint)!;
    const all = others.length > 1 ? ", nor has any other" : "";
    return [`${refused.name} has no session with this node${all}: ${message}: ${remedy}`];
  }

  #unreachable({ id, name, endpoint, meshEndpoint }: Member): string {
    const { links, liveness, paths } = this.#parts;
    if (paths?.of(id)?.answering === "no" && !liveness.isDead(id)) {
      return `${name} does not answer at ${endpoint}, and no other node has a way to it: let UDP through between them`;
    }
    const failure = links.failure(meshEndpoint);
    const why = failure ? `${failure.message}: ${failure.remedy}` : "no node has heard it of late";
    return `${name} cannot be reached at ${meshEndpoint}: ${why}`;
  }

  #member(record: NodeRecord): Member {
    const { id } = record;
    const { links, paths } = this.#parts;
    const rtt = links.to(id)?.rttMs;
    const { answering, ...course }: Partial<Course> = paths?.of(id) ?? {};
    const expires = expiry(record);
    return {
      id,
      name: record.name,
      mac: record.mac,
      endpoint: record.vtep,
      meshEndpoint: record.mesh,
      leases: record.leases.map((proof) => ({ subnet: subnetOf(proof), expires })),
      state: this.stateOf(record, answering, course.noPath),
      path: "direct",
      noPath: false,
      senders: [record.vtep],
      ...(rtt === undefined ? {} : { rttMs: rtt }),
      ...course,
    };
  }

  /** An answer of late is more than what others say; what others say is more than an older one. */
  stateOf(record: NodeRecord, answering?: Answering, noPath = false): Member["state"] {
    if (answering === "lately") return "established";
    if (this.#parts.liveness.isDead(record.id)) return "unreachable";
    if (answering) return STATES[answering];
    const presumed = this.#presumed(record);
    return noPath && presumed === "established" ? "connecting" : presumed;
  }

  /** Of a member that was not probed yet. */
  #presumed({ id, mesh }: NodeRecord): Member["state"] {
    const { links } = this.#parts;
    if (links.to(id)) return "established";
    if (links.failure(mesh)) return "unreachable";
    if (links.tries(mesh)) return "connecting";
    return this.age(id) > HEARD_WITHIN ? "unreachable" : "established";
  }
}

const STATES = { before: "established", "not yet": "connecting", no: "unreachable" } as const;
