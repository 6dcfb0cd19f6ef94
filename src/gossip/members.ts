/**
 * The set of records that a node holds, and the view of the members that follows from them. Both depend
 * on the records and on which of them have lapsed; order, repetition and batching do not matter.
 */
import { WeftError } from "../error.js";
import { evictOldest } from "../evict-oldest.js";
import { nodeId } from "../identity/identity.js";
import type { Proof } from "../lease/grant.js";
import {
  type AnyRecord,
  type AttachedRecord,
  MAX_ATTACHED_BYTES,
  withinLimits,
} from "./attached-record.js";
import { ALL, DigestTree, type Range } from "./digest-tree.js";
import { MemberView, type ReadonlyMemberView, type Tunnel } from "./member-view.js";
import type { RecordKey, Version } from "./messages.js";
import { type Envelope, isNodeRecord, LEASE_TTL, type NodeRecord } from "./record.js";
import { NODE, type RecordKind } from "./record-kind.js";
import type { RecordVerifier } from "./record-verifier.js";
import { Revocations } from "./revocations.js";

/** Most owners whose records are held. */
export const MAX_RECORDS = 8192;
/** Milliseconds without a renewal after which a record is dropped: its node has stopped or is lost. */
export const RECORD_TTL = 7 * LEASE_TTL;

/** The records that `expire` ranked last, and those that it dropped. */
export interface Expired {
  readonly lapsed: readonly NodeRecord[];
  readonly dropped: readonly NodeRecord[];
}

export class Members {
  /** The grants that their granters revoked, as their records say. */
  readonly revocations = new Revocations();
  readonly #verifier: RecordVerifier;
  readonly #own: string;
  readonly #records = new DigestTree();
  /** The same records by their owners' keys, so that an old record costs no hash. */
  readonly #byKey = new Map<string, NodeRecord>();
  readonly #view: MemberView;
  /** When each held version arrived, by this node's clock: another node's may be years off. */
  readonly #since = new Map<string, number>();
  /** The records dropped last, so that a node that still has one does not bring it back. */
  readonly #dropped = new Map<string, { readonly record: NodeRecord; readonly at: number }>();
  /** Versions that were evicted or malformed, by owner's id and kind: no peer is asked for them again. */
  readonly #refused = new Map<string, number>();

  /** `tunnel` is this node's, which a member's must fit; `own` its id, whose record is never evicted. */
  constructor(verifier: RecordVerifier, tunnel: Tunnel, own: string) {
    this.#verifier = verifier;
    this.#view = new MemberView(tunnel);
    this.#own = own;
  }

  /**
   * Adds a record. An envelope that is not newer than the held one is not verified. A record beyond the
   * limit of claimants of its subnets is not held, and neither is its owner's earlier one.
   * @returns the record if it is new, undefined if not, an error if it is forged or malformed
   */
  merge(envelope: Envelope): AnyRecord | WeftError | undefined {
    if (!this.isUpdate(envelope)) return undefined;
    if (!this.#hasRoom(envelope)) return attachedFull();
    const record = this.#verifier.verify(envelope);
    if (record instanceof WeftError) {
      if (record.code === "RECORD_MALFORMED") this.#refuse(nodeId(envelope.owner), envelope);
      return record;
    }
    return isNodeRecord(record) ? this.#mergeNode(record) : this.#attach(record);
  }

  #mergeNode(record: NodeRecord): NodeRecord | WeftError | undefined {
    const { id } = record;
    const held = this.#records.get(id);
    if (id !== this.#own && !this.#view.withinClaimLimit(record)) {
      this.#evict(record);
      return undefined;
    }
    if (!held && this.size >= MAX_RECORDS) return tooMany();
    this.#records.set({ node: record, attached: (!record.withdrawn && held?.attached) || [] });
    this.#byKey.set(record.owner, record);
    this.#view.set(record, held?.node);
    this.#since.delete(id);
    this.#dropped.delete(id);
    this.#refused.delete(`${id} ${NODE}`);
    for (const other of this.#view.evicted(record)) {
      if (other.id !== this.#own) this.#evict(other);
    }
    return record;
  }

  #attach(record: AttachedRecord): AttachedRecord {
    const { node, attached } = this.#records.get(record.id)!;
    const others = attached.filter(({ kind }) => kind !== record.kind);
    this.#records.set({ node, attached: withinLimits([...others, record]) });
    return record;
  }

  /** Whether the envelope is newer than what is held, provided that it is genuine and within the limits. */
  isUpdate(envelope: Envelope): boolean {
    const node = this.byPublicKey(envelope.owner);
    if (envelope.kind !== NODE) return node !== undefined && this.#isAttachable(envelope, node);
    if (node) return newer(envelope, node.envelope);
    return this.lacks([nodeId(envelope.owner), NODE, envelope.version]);
  }

  #isAttachable(envelope: Envelope, { id, withdrawn }: NodeRecord): boolean {
    const { kind, version } = envelope;
    const held = this.record([id, kind]);
    if (withdrawn || (held && !newer(envelope, held.envelope))) return false;
    if (version <= this.#refusedVersion(id, kind)) return false;
    const others = this.attached(id).filter((other) => other.kind !== kind);
    const one = { kind, bytes: JSON.stringify(envelope).length };
    return withinLimits([...others, one]).includes(one);
  }

  /** Whether the attached records of all stay within their limit with this one. */
  #hasRoom(envelope: Envelope): boolean {
    const { kind, owner } = envelope;
    const { id } = this.byPublicKey(owner) ?? {};
    if (kind === NODE || id === undefined || id === this.#own) return true;
    const added = JSON.stringify(envelope).length - (this.record([id, kind])?.bytes ?? 0);
    return this.#records.attachedBytes + added <= MAX_ATTACHED_BYTES;
  }

  /** Number of signatures verified so far. */
  get signaturesVerified(): number {
    return this.#verifier.signaturesVerified;
  }

  #evict(record: NodeRecord): void {
    this.#remove(record.id);
    this.#refuse(record.id, record);
  }

  #refuse(id: string, { kind, version }: Pick<Envelope, "kind" | "version">): void {
    const key = `${id} ${kind}`;
    this.#refused.delete(key);
    this.#refused.set(key, version);
    evictOldest(this.#refused, MAX_RECORDS);
  }

  #refusedVersion(id: string, kind: string): number {
    return this.#refused.get(`${id} ${kind}`) ?? 0;
  }

  /**
   * Drops records that were not renewed for `RECORD_TTL`, except this node's own; for as long again
   * only a higher version is accepted. Records not renewed for `LEASE_TTL` lapse. Call it periodically.
   */
  expire(now: number): Expired {
    const lapsed: NodeRecord[] = [];
    const dropped: NodeRecord[] = [];
    for (const record of this.#records.nodes()) {
      const since = this.#since.get(record.id);
      if (since === undefined) this.#since.set(record.id, now);
      else if (record.id === this.#own) continue;
      else if (now - since > RECORD_TTL) dropped.push(record);
      else if (now - since > LEASE_TTL && this.#view.lapse(record)) lapsed.push(record);
    }
    for (const [id, { at }] of this.#dropped) if (now - at > RECORD_TTL) this.#dropped.delete(id);
    for (const { id } of dropped) this.drop(id, now);
    evictOldest(this.#dropped, MAX_RECORDS);
    return { lapsed, dropped };
  }

  /** Drops the records all of whose leases are revoked, after these records arrived. */
  dropRevoked(records: readonly NodeRecord[], now: number): void {
    const revokers = records.filter((record) => this.revocations.merge(record));
    const below =
      revokers.length > 0 ? this.grantedBy(new Set(revokers.map(({ owner }) => owner))) : [];
    for (const record of [...records, ...below]) {
      if (record.id !== this.#own && this.revocations.coverAll(record)) this.drop(record.id, now);
    }
  }

  /** Drops a record, as one that was not renewed. */
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
    this.#view.delete(record);
    return record;
  }

  /** Ranks a dead member last until a newer record arrives: others may take its name. */
  lapse(id: string): void {
    const record = this.get(id);
    if (record) this.#view.lapse(record);
  }

  /** Sets this node's tunnel, which decides which records fit. */
  setTunnel(own: Tunnel): void {
    this.#view.setTunnel(own, [...this.#records.nodes()]);
  }

  get view(): ReadonlyMemberView {
    return this.#view;
  }

  /** Ids of nodes whose record or membership changed since the last call. */
  takeChangedIds(): ReadonlySet<string> {
    return this.#view.takeChangedIds();
  }

  /** The dropped record of this owner, which must publish above its version. */
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

  /** Milliseconds since `expire` first saw this version. */
  age(id: string, now: number): number {
    return now - (this.#since.get(id) ?? now);
  }

  /** Whether it is worth asking for this version. Other kinds than `node` may come before that. */
  lacks([id, kind, version]: Version): boolean {
    const dropped = this.dropped(id);
    const { version: known = 0 } = this.record([id, kind]) ?? (kind === NODE ? dropped : {}) ?? {};
    if (version <= known || version <= this.#refusedVersion(id, kind)) return false;
    return kind === NODE || this.has(id) || !(dropped || this.#refusedVersion(id, NODE));
  }

  /** Whether a record of this node is held. */
  has(id: string): boolean {
    return this.#records.get(id) !== undefined;
  }

  /** The node record. */
  get(id: string): NodeRecord | undefined {
    return this.#records.get(id)?.node;
  }

  /** The records of an owner of all other kinds, in the order of the kinds. */
  attached(id: string): readonly AttachedRecord[] {
    return this.#records.get(id)?.attached ?? [];
  }

  record([id, kind]: RecordKey): AnyRecord | undefined {
    if (kind === NODE) return this.get(id);
    return this.attached(id).find((record) => record.kind === kind);
  }

  /** The highest version of a record that is held, or was refused. */
  knownVersion([id, kind]: RecordKey): number {
    return Math.max(this.record([id, kind])?.version ?? 0, this.#refusedVersion(id, kind));
  }

  /** The content of an owner's record of a kind that this node knows. */
  content<Content>(id: string, { name }: RecordKind<Content>): Content | undefined {
    return this.attached(id).find(({ kind }) => kind === name)?.content as Content | undefined;
  }

  /** The record of the node with this public key. */
  byPublicKey(publicKey: string): NodeRecord | undefined {
    return this.#byKey.get(publicKey);
  }

  /** Number of owners. */
  get size(): number {
    return this.#records.owners;
  }

  /** Number of records of all kinds. */
  get records(): number {
    return this.#records.records;
  }

  /** The proofs of all records, in no order. */
  *proofs(): Generator<Proof> {
    for (const { leases } of this.#records.nodes()) yield* leases;
  }

  /** Records with a lease that one of these nodes, by public key, granted or granted on; in no order. */
  grantedBy(granters: ReadonlySet<string>): NodeRecord[] {
    return [...this.#records.nodes()].filter(({ leases }) =>
      leases.some((proof) => proof.some(({ from }) => granters.has(from))),
    );
  }

  /** Every node record, in the order of the ids. */
  sorted(): NodeRecord[] {
    return [...this.inRange(ALL)].filter(isNodeRecord);
  }

  /** The records of all kinds of the owners in a range, in the order of the ids. */
  inRange(range: Range): Iterable<AnyRecord> {
    return this.#records.inRange(range);
  }

  /** One hash over the whole set: equal sets, equal digests. */
  get digest(): string {
    return this.#records.root;
  }

  /** One hash for each bucket of the set. */
  get buckets(): string {
    return this.#records.buckets;
  }

  /** Where a set with these buckets differs from this one. */
  differences(buckets: string): Range[] {
    return this.#records.differences(buckets);
  }
}

/** The higher signature decides between two records of one version, which only a malicious node makes. */
const newer = (a: Envelope, b: Envelope): boolean =>
  a.version > b.version || (a.version === b.version && a.signature > b.signature);

const tooMany = (): WeftError =>
  new WeftError(
    "MEMBERS_FULL",
    `this node holds ${MAX_RECORDS} records and takes no more`,
    "split the cluster",
  );

const attachedFull = (): WeftError =>
  new WeftError(
    "ATTACHED_FULL",
    `this node holds ${MAX_ATTACHED_BYTES} bytes of records of other kinds than ${NODE} and takes no more`,
    "find the member that publishes so much and shut it out by a new secret, or split the cluster",
  );
