/**
 * The set of records a node holds, and the members it makes of them. Both are
 * a function of the records alone: order, repetition and batching do not matter.
 */
import { type Family, parseEndpoint } from "../address.js";
import { WeftError } from "../error.js";
import { subnetOf } from "../lease/grant.js";
import { order, type Ring, settle } from "../lease/ring.js";
import { nodeId } from "./identity.js";
import type { Notary } from "./notary.js";
import { type Envelope, LEASE_TTL, type NodeRecord } from "./record.js";
import { type Range, Summary } from "./summary.js";

export const MAX_RECORDS = 8192;
/** A record that was not renewed for this long, in milliseconds, is dropped: of a stopped node, or a lost one. */
export const KEEP = 7 * LEASE_TTL;

/** What all members must have in common to reach each other. */
export interface Tunnel {
  readonly vni: number;
  /** Of the underlay. */
  readonly family: Family;
}

export interface View {
  /** The records that count, by node id: in service, and in nobody's way. */
  readonly members: Map<string, NodeRecord>;
  readonly ring: Ring;
  /** What was held back, and why, in words. */
  readonly problems: readonly string[];
}

export class Members {
  readonly #notary: Notary;
  readonly #records = new Map<string, NodeRecord>();
  readonly #summary = new Summary();
  /** Since when a version is known here, by this node's clock: another's may be years off. */
  readonly #since = new Map<string, { readonly version: number; readonly at: number }>();
  /** What was dropped last, so that a node that still has it does not bring it back. */
  readonly #dropped = new Map<string, { readonly record: NodeRecord; readonly at: number }>();

  constructor(notary: Notary) {
    this.#notary = notary;
  }

  /**
   * Answers with the record if it was news, with nothing if not, with an error if it is a lie. What
   * is not newer than what is held is not opened.
   */
  merge(envelope: Envelope): NodeRecord | WeftError | undefined {
    const id = nodeId(envelope.owner);
    const held = this.#records.get(id);
    if (held && !newer(envelope, held.envelope)) return undefined;
    if (envelope.version <= (this.dropped(id)?.version ?? 0)) return undefined;
    const record = this.#notary.open(envelope);
    if (record instanceof WeftError) return record;
    if (!held && this.#records.size >= MAX_RECORDS) return tooMany();
    this.#records.set(id, record);
    this.#summary.set(id, record);
    this.#dropped.delete(id);
    return record;
  }

  /**
   * Drops what was not renewed for too long, all but `own`, and answers with the ids. To be called
   * now and then. What is dropped may come back with a higher version only, for as long again.
   */
  expire(now: number, own: string): string[] {
    const late: string[] = [];
    for (const [id, { version }] of this.#records) {
      const since = this.#since.get(id);
      if (since?.version !== version) this.#since.set(id, { version, at: now });
      else if (id !== own && now - since.at > KEEP) late.push(id);
    }
    for (const [id, { at }] of this.#dropped) if (now - at > KEEP) this.#dropped.delete(id);
    for (const id of late) this.drop(id, now);
    for (const id of this.#dropped.keys()) {
      if (this.#dropped.size <= MAX_RECORDS) break;
      this.#dropped.delete(id);
    }
    return late;
  }

  /** Puts a record aside, as one that nobody renewed. */
  drop(id: string, now: number): void {
    const record = this.#records.get(id);
    if (!record) return;
    this.#dropped.set(id, { record, at: now });
    this.#records.delete(id);
    this.#since.delete(id);
    this.#summary.delete(id);
  }

  /** The record of this owner that was dropped: its owner must go on above its version. */
  dropped(id: string): NodeRecord | undefined {
    return this.#dropped.get(id)?.record;
  }

  /** The records of this name; if there is none, those that were dropped. */
  named(name: string): [string, NodeRecord][] {
    const found = this.sorted().filter(([, record]) => record.name === name);
    if (found.length > 0) return found;
    const dropped = [...this.#dropped].map(([id, { record }]): [string, NodeRecord] => [
      id,
      record,
    ]);
    return dropped.filter(([, record]) => record.name === name);
  }

  /** Milliseconds since this version was heard first, as far as `expire` has seen it. */
  age(id: string, now: number): number {
    const since = this.#since.get(id);
    return since && since.version === this.#records.get(id)?.version ? now - since.at : 0;
  }

  /** Whether it is worth asking for this version. */
  lacks(id: string, version: number): boolean {
    const known = Math.max(this.#records.get(id)?.version ?? 0, this.dropped(id)?.version ?? 0);
    return version > known;
  }

  get(id: string): NodeRecord | undefined {
    return this.#records.get(id);
  }

  /** Every record with its owner's id, in the order of the ids. */
  sorted(): [string, NodeRecord][] {
    return this.within({ after: "", until: "" });
  }

  get size(): number {
    return this.#records.size;
  }

  /** The part of `sorted` that lies in a range. */
  within({ after, until }: Range): [string, NodeRecord][] {
    return [...this.#records]
      .filter(([id]) => id > after && (until === "" || id <= until))
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** One hash over the whole set: equal sets, equal digests. */
  get digest(): string {
    return this.#summary.root;
  }

  /** One hash for each branch of the set. */
  get branches(): string {
    return this.#summary.branches;
  }

  /** Where a set with these branches differs from this one. */
  differences(branches: string): Range[] {
    return this.#summary.differences(branches);
  }

  /** `now` decides what has expired; `own` is this node's tunnel, which a member's must fit. */
  view(now: number, own: Tunnel): View {
    const members = new Map<string, NodeRecord>();
    const problems: string[] = [];
    const ring = settle(this.#claims());
    for (const { subnet, kept, refused } of ring.overlaps) {
      const loser = this.#records.get(nodeId(refused));
      if (!loser || loser.withdrawn || loser.renewed + LEASE_TTL < now) continue;
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
          `two nodes claim the ${inTheWay}: ${other.id} keeps it, ${id} (${record.mesh}) is left out`,
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
const newer = (a: Envelope, b: Envelope): boolean =>
  a.version > b.version || (a.version === b.version && a.signature > b.signature);

const tooMany = (): WeftError =>
  new WeftError(
    "MEMBERS_FULL",
    `this node holds ${MAX_RECORDS} records and takes no more`,
    "split the cluster",
  );
