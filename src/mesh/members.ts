/**
 * The set of records a node holds, and the members it makes of them. Both are
 * a function of the records alone: order, repetition and batching do not matter.
 */
import { createHash } from "node:crypto";
import { type Family, parseEndpoint } from "../address.js";
import { WeftError } from "../error.js";
import type { Cluster } from "../lease/genesis.js";
import { subnetOf } from "../lease/grant.js";
import { order, type Ring, settle } from "../lease/ring.js";
import { disbelief, LEASE_TTL, type NodeRecord, ownerId } from "./record.js";

export const MAX_RECORDS = 8192;

/** What all members must have in common to reach each other. */
export interface Tunnel {
  readonly vni: number;
  /** Of the underlay. */
  readonly family: Family;
}

export interface View {
  /** The records that count, by node id: in service, and in nobody's way. */
  readonly members: ReadonlyMap<string, NodeRecord>;
  readonly ring: Ring;
  /** What was held back, and why, in words. */
  readonly problems: readonly string[];
}

export class Members {
  readonly #cluster: Cluster;
  readonly #records = new Map<string, NodeRecord>();
  #digest: string | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Answers with the record if it was news, with nothing if not, with an error if it is a lie. */
  merge(record: NodeRecord): NodeRecord | WeftError | undefined {
    const id = ownerId(record);
    const held = this.#records.get(id);
    if (held && !newer(record, held)) return undefined;
    const lie = disbelief(this.#cluster, record);
    if (lie) return lie;
    if (!held && this.#records.size >= MAX_RECORDS) return tooMany();
    this.#records.set(id, record);
    this.#digest = undefined;
    return record;
  }

  get(id: string): NodeRecord | undefined {
    return this.#records.get(id);
  }

  /** Every record with its owner's id, in the order of the ids. */
  sorted(): [string, NodeRecord][] {
    return [...this.#records].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** One hash over the whole set: equal sets, equal digests. */
  get digest(): string {
    this.#digest ??= createHash("sha256")
      .update(
        this.sorted()
          .map(([, { signature }]) => signature)
          .join("\n"),
      )
      .digest("hex");
    return this.#digest;
  }

  /** `now` decides what has expired; `own` is this node's tunnel, which a member's must fit. */
  view(now: number, own: Tunnel): View {
    const members = new Map<string, NodeRecord>();
    const problems: string[] = [];
    const ring = settle(this.#claims());
    for (const { subnet, kept, refused } of ring.overlaps) {
      problems.push(
        `${subnet} was granted twice: ${this.#who(kept)} keeps it, ${this.#who(refused)} must not use it`,
      );
    }
    const taken = new Map<string, NodeRecord>();
    for (const [id, record] of this.#byRank(now)) {
      if (record.withdrawn) continue;
      const { name, vtep, mac } = record;
      const inTheWay = [`name ${name}`, `VTEP ${vtep}`, `MAC ${mac}`].find((key) => taken.has(key));
      if (inTheWay) {
        const other = taken.get(inTheWay)!;
        problems.push(
          `two nodes claim the ${inTheWay}: ${ownerId(other)} keeps it, ${id} (${record.mesh}) is left out`,
        );
      } else if (record.vni !== own.vni) {
        problems.push(`${name} uses VNI ${record.vni}, this node ${own.vni}: ${name} is left out`);
      } else if (familyOf(vtep) !== own.family) {
        problems.push(
          `${name} has an IPv${familyOf(vtep)} underlay (${vtep}), this node an IPv${own.family} one: ${name} is left out`,
        );
      } else if (
        record.leases.every((proof) => ring.holders.get(subnetOf(proof)) === record.owner)
      ) {
        members.set(id, record);
        for (const key of [`name ${name}`, `VTEP ${vtep}`, `MAC ${mac}`]) taken.set(key, record);
      }
    }
    return { members, ring, problems };
  }

  *#claims() {
    for (const { owner, leases } of this.#records.values()) {
      for (const proof of leases) yield { holder: owner, proof };
    }
  }

  /** Who comes first keeps what two claim: the living before the expired, then the older lease. */
  #byRank(now: number): [string, NodeRecord][] {
    const expired = ({ renewed }: NodeRecord) => Number(renewed + LEASE_TTL < now);
    return [...this.#records].sort(
      ([, a], [, b]) =>
        expired(a) - expired(b) ||
        order(a.leases[0]!, b.leases[0]!) ||
        (a.owner < b.owner ? -1 : 1),
    );
  }

  #who(publicKey: string): string {
    const found = this.sorted().find(([, { owner }]) => owner === publicKey);
    return found ? `${found[1].name} (${found[0]})` : publicKey;
  }
}

const familyOf = (vtep: string): Family => parseEndpoint(vtep).address.family;

/** The higher signature decides between two records of one version, which only a liar makes. */
const newer = (a: NodeRecord, b: NodeRecord): boolean =>
  a.version > b.version || (a.version === b.version && a.signature > b.signature);

const tooMany = (): WeftError =>
  new WeftError(
    "MEMBERS_FULL",
    `this node holds ${MAX_RECORDS} records and takes no more`,
    "split the cluster",
  );
