/**
 * The set of records a node holds, and the roll of members it makes of them.
 * Both are a function of the records, and of who has lapsed: order, repetition
 * and batching do not matter.
 */
import { WeftError } from "../error.js";
import { nodeId } from "../identity/identity.js";
import type { Proof } from "../lease/grant.js";
import { dropOldest } from "../oldest.js";
import type { Notary } from "./notary.js";
import { type Envelope, LEASE_TTL, type NodeRecord } from "./record.js";
import { Roll, type Tunnel, type View } from "./roll.js";
import { ALL, type Range, Summary } from "./summary.js";

export const MAX_RECORDS = 8192;
/** A record that was not renewed for this long, in milliseconds, is dropped: of a stopped node, or a lost one. */
export const KEEP = 7 * LEASE_TTL;

/** What `expire` found, and did. */
export interface Expired {
  readonly lapsed: readonly NodeRecord[];
  readonly dropped: readonly NodeRecord[];
}

export class Members {
  readonly #notary: Notary;
  readonly #own: string;
  readonly #records = new Summary();
  /** The same records by their owners' keys, so that what is no news costs no hash. */
  readonly #byKey = new Map<string, NodeRecord>();
  readonly #roll: Roll;
  /** Since when the version held is known here, by this node's clock: another's may be years off. */
  readonly #since = new Map<string, number>();
  /** What was dropped last, so that a node that still has it does not bring it back. */
  readonly #dropped = new Map<string, { readonly record: NodeRecord; readonly at: number }>();
  /** Versions that had no place, by their owners' ids, so that nobody is asked for them again. */
  readonly #crowded = new Map<string, number>();

  /** `tunnel` is this node's, which a member's must fit; `own` its id, the record of which always has its place. */
  constructor(notary: Notary, tunnel: Tunnel, own: string) {
    this.#notary = notary;
    this.#roll = new Roll(tunnel);
    this.#own = own;
  }

  /**
   * Answers with the record if it was news, with nothing if not, with an error if it is a lie. What
   * is not newer than what is held is not opened. What has no place among the claimants of its
   * subnets is no news, and what it replaces is gone.
   */
  merge(envelope: Envelope): NodeRecord | WeftError | undefined {
    if (!this.isNews(envelope)) return undefined;
    const held = this.of(envelope.owner);
    const id = held?.id ?? nodeId(envelope.owner);
    const record = this.#notary.open(envelope);
    if (record instanceof WeftError) return record;
    if (id !== this.#own && !this.#roll.hasPlace(record)) {
      this.#crowdOut(record);
      return undefined;
    }
    if (!held && this.size >= MAX_RECORDS) return tooMany();
    this.#records.set(record);
    this.#byKey.set(record.owner, record);
    this.#roll.set(record, held);
    this.#since.delete(id);
    this.#dropped.delete(id);
    this.#crowded.delete(id);
    for (const other of this.#roll.crowdedOut(record)) {
      if (other.id !== this.#own) this.#crowdOut(other);
    }
    return record;
  }

  /** Whether it would be news if it were true and had its place. */
  isNews(envelope: Envelope): boolean {
    const held = this.of(envelope.owner);
    if (held) return newer(envelope, held.envelope);
    return this.lacks(nodeId(envelope.owner), envelope.version);
  }

  /** Signatures verified so far, to merge what came. */
  get verified(): number {
    return this.#notary.verified;
  }

  #crowdOut({ id, version }: NodeRecord): void {
    this.#remove(id);
    this.#crowded.delete(id);
    this.#crowded.set(id, version);
    dropOldest(this.#crowded, MAX_RECORDS);
  }

  /**
   * To be called now and then: drops what was not renewed for too long, all but the own. It may come
   * back with a higher version only, for as long again. Before that, whose lease has expired lapses.
   */
  expire(now: number): Expired {
    const lapsed: NodeRecord[] = [];
    const dropped: NodeRecord[] = [];
    for (const record of this.#records.values()) {
      const since = this.#since.get(record.id);
      if (since === undefined) this.#since.set(record.id, now);
      else if (record.id === this.#own) continue;
      else if (now - since > KEEP) dropped.push(record);
      else if (now - since > LEASE_TTL && this.#roll.lapse(record)) lapsed.push(record);
    }
    for (const [id, { at }] of this.#dropped) if (now - at > KEEP) this.#dropped.delete(id);
    for (const { id } of dropped) this.drop(id, now);
    dropOldest(this.#dropped, MAX_RECORDS);
    return { lapsed, dropped };
  }

  /** Puts a record aside, as one that nobody renewed. */
  drop(id: string, now: number): void {
    const record = this.#remove(id);
    if (record) this.#dropped.set(id, { record, at: now });
  }

  #remove(id: string): NodeRecord | undefined {
    const record = this.get(id);
    if (!record) return undefined;
    this.#records.delete(id);
    this.#byKey.delete(record.owner);
    this.#since.delete(id);
    this.#roll.delete(record);
    return record;
  }

  /** Who is dead stands behind the living until it is heard again: others may take its name. */
  lapse(id: string): void {
    const record = this.get(id);
    if (record) this.#roll.lapse(record);
  }

  /** This node's tunnel is another now: others fit it. */
  refit(own: Tunnel): void {
    this.#roll.refit(own, [...this.#records.values()]);
  }

  get view(): View {
    return this.#roll;
  }

  /** Ids of those whose record, or whether it counts, changed since this was asked last. */
  takeTouched(): ReadonlySet<string> {
    return this.#roll.takeTouched();
  }

  /** The record of this owner that was dropped: its owner must go on above its version. */
  dropped(id: string): NodeRecord | undefined {
    return this.#dropped.get(id)?.record;
  }

  /** The records of this name; if there is none, those that were dropped. */
  named(name: string): NodeRecord[] {
    const found = this.sorted().filter((record) => record.name === name);
    if (found.length > 0) return found;
    const dropped = [...this.#dropped.values()].map(({ record }) => record);
    return dropped.filter((record) => record.name === name);
  }

  /** Milliseconds since this version was heard first, as far as `expire` has seen it. */
  age(id: string, now: number): number {
    return now - (this.#since.get(id) ?? now);
  }

  /** Whether it is worth asking for this version. */
  lacks(id: string, version: number): boolean {
    const { version: known = 0 } = this.get(id) ?? this.dropped(id) ?? {};
    return version > Math.max(known, this.#crowded.get(id) ?? 0);
  }

  get(id: string): NodeRecord | undefined {
    return this.#records.get(id);
  }

  /** The record of the node with this public key. */
  of(publicKey: string): NodeRecord | undefined {
    return this.#byKey.get(publicKey);
  }

  get size(): number {
    return this.#records.size;
  }

  /** The proofs in all records, in no order. */
  *proofs(): Generator<Proof> {
    for (const { leases } of this.#records.values()) yield* leases;
  }

  /** Those who have something that one of these nodes, by public key, gave or passed on; in no order. */
  below(givers: ReadonlySet<string>): NodeRecord[] {
    return [...this.#records.values()].filter(({ leases }) =>
      leases.some((proof) => proof.some(({ from }) => givers.has(from))),
    );
  }

  /** Every record, in the order of the ids. */
  sorted(): NodeRecord[] {
    return this.within(ALL);
  }

  /** The part of `sorted` that lies in a range. */
  within(range: Range): NodeRecord[] {
    return this.#records.within(range);
  }

  /** One hash over the whole set: equal sets, equal digests. */
  get digest(): string {
    return this.#records.root;
  }

  /** One hash for each branch of the set. */
  get branches(): string {
    return this.#records.branches;
  }

  /** Where a set with these branches differs from this one. */
  differences(branches: string): Range[] {
    return this.#records.differences(branches);
  }
}

/** The higher signature decides between two records of one version, which only a liar makes. */
const newer = (a: Envelope, b: Envelope): boolean =>
  a.version > b.version || (a.version === b.version && a.signature > b.signature);

const tooMany = (): WeftError =>
  new WeftError(
    "MEMBERS_FULL",
    `this node holds ${MAX_RECORDS} records and takes no more`,
    "split the cluster",
  );
