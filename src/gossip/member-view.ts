/**
 * The members: the records in service whose claims (subnets, name, endpoint, MAC) no other record holds.
 * Records are added and removed one by one; the result depends on the records and on which of them
 * have lapsed, not on the order of the changes.
 */
import type { Family } from "../address.js";
import { Claims } from "../lease/claims.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import { compareAges, compareProofs, oldestProof } from "../lease/proof-order.js";
import { type NodeRecord, nameAndId } from "./record.js";
import { badEndpoint, type Underlay } from "./underlay.js";

/**
 * Claimants of one subnet that are kept, the first in order. Honest clusters have two or three after a
 * granter revoked a grant; a malicious owner of space could grant one subnet to thousands.
 */
export const MAX_CLAIMANTS = 8;

/** The VNI and underlay that all members must share to reach each other. */
export interface Tunnel {
  readonly vni: number;
  readonly underlay: Underlay;
}

/** The view without the methods that change it. */
export interface ReadonlyMemberView {
  /** The records that count, by node id. */
  readonly members: ReadonlyMap<string, NodeRecord>;
  /** The record of the one node that holds this subnet. */
  holder(subnet: string): NodeRecord | undefined;
  /** The record of the one node in service that has this name. */
  nameHolder(name: string): NodeRecord | undefined;
  /** Whether the endpoints in a record can belong to another host, so that it may be dialled. */
  mayDial(record: NodeRecord): boolean;
  /** Problems for the operator, a sentence each: records that do not count, and why. */
  problems(): string[];
}

export class MemberView implements ReadonlyMemberView {
  #own: Tunnel;
  readonly #subnets = new Claims<NodeRecord>((a, b, subnet) =>
    compareProofs(proofOf(a, subnet), proofOf(b, subnet)),
  );
  readonly #names = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #vteps = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #macs = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #members = new Map<string, NodeRecord>();
  /** Records in service that do not fit this node's tunnel. */
  readonly #incompatible = new Map<string, NodeRecord>();
  /** By record, the reason why it does not fit, or undefined if it fits; computed once. */
  #incompatibilities = new WeakMap<NodeRecord, string | undefined>();
  readonly #lapsed = new Set<string>();
  #changedIds = new Set<string>();

  constructor(own: Tunnel) {
    this.#own = own;
  }

  /** Adds a record, or replaces the earlier record of its owner. */
  set(record: NodeRecord, before: NodeRecord | undefined): void {
    this.#changedIds.add(record.id);
    this.#change(before, record, () => this.#lapsed.delete(record.id));
  }

  delete(record: NodeRecord): void {
    this.#changedIds.add(record.id);
    this.#change(record, undefined, () => this.#lapsed.delete(record.id));
  }

  /** Ranks the record last until its owner publishes a newer one. @returns false if it had lapsed before */
  lapse(record: NodeRecord): boolean {
    if (this.#lapsed.has(record.id)) return false;
    this.#change(record, record, () => this.#lapsed.add(record.id));
    return true;
  }

  /** Decides about all records again after a change of this node's tunnel. @param records all that were added */
  setTunnel(own: Tunnel, records: readonly NodeRecord[]): void {
    for (const record of records) this.#removeClaims(record);
    this.#own = own;
    this.#incompatibilities = new WeakMap();
    for (const record of records) this.#addClaims(record);
    for (const record of records)
      this.#setMember(record.id, this.#isMember(record) ? record : undefined);
  }

  get members(): ReadonlyMap<string, NodeRecord> {
    return this.#members;
  }

  holder(subnet: string): NodeRecord | undefined {
    return this.#subnets.holder(subnet);
  }

  nameHolder(name: string): NodeRecord | undefined {
    return this.#names.holder(name);
  }

  mayDial(record: NodeRecord): boolean {
    return badEndpoint(record, this.#own.underlay) === undefined;
  }

  /** Whether a record is, or would be once added, among the first claimants of one of its subnets. */
  withinClaimLimit({ id, leases }: NodeRecord): boolean {
    return leases.some((proof) => {
      const first = this.#subnets.claimants(subnetOf(proof)).slice(0, MAX_CLAIMANTS + 1);
      const last = first.filter((other) => other.id !== id)[MAX_CLAIMANTS - 1];
      return last === undefined || compareProofs(proof, proofOf(last, subnetOf(proof))) < 0;
    });
  }

  /** The records that exceed the limit of claimants now that this one is added. */
  evicted({ leases }: NodeRecord): NodeRecord[] {
    const next = leases.flatMap(
      (proof) => this.#subnets.claimants(subnetOf(proof))[MAX_CLAIMANTS] ?? [],
    );
    return [...new Set(next)].filter((record) => !this.withinClaimLimit(record));
  }

  /** Ids of nodes whose record or membership changed since the last call. */
  takeChangedIds(): ReadonlySet<string> {
    const touched = this.#changedIds;
    this.#changedIds = new Set();
    return touched;
  }

  problems(): string[] {
    const twice = this.#lostClaims(this.#subnets).map(
      ([subnet, kept, refused]) =>
        `${subnet} was granted twice: ${nameAndId(kept)} keeps it, ${nameAndId(refused)} must not use it`,
    );
    return [
      ...twice,
      ...this.#excluded(),
      ...[...this.#incompatible.values()]
        .filter(({ id }) => !this.#lapsed.has(id))
        .map(
          (record) =>
            `${nameAndId(record)} at ${record.mesh} ${this.#incompatibility(record)}: it is left out`,
        ),
    ];
  }

  /** One sentence for each node that claims a name, endpoint or MAC of another. */
  #excluded(): Iterable<string> {
    const sentences = new Map<string, string>();
    for (const [claims, what, remedy] of this.#uniqueClaims()) {
      for (const [key, kept, refused] of this.#lostClaims(claims)) {
        if (sentences.has(refused.id)) continue;
        sentences.set(
          refused.id,
          `two nodes claim the ${what} ${key}: ${nameAndId(kept)} keeps it, ${nameAndId(refused)} at ${refused.mesh} is left out: ${remedy}`,
        );
      }
    }
    return sentences.values();
  }

  /** Claims that another record holds, of nodes that may still be running. */
  #lostClaims(claims: Claims<NodeRecord>): [key: string, kept: NodeRecord, refused: NodeRecord][] {
    return claims.contested().flatMap((key) => {
      const [kept, ...others] = claims.claimants(key);
      return others
        .filter(({ id, withdrawn }) => !withdrawn && !this.#lapsed.has(id))
        .map((refused): [string, NodeRecord, NodeRecord] => [key, kept!, refused]);
    });
  }

  // ---- changing

  /** Replaces a record, and updates the membership of every record that holds one of its claims before or after. */
  #change(
    before: NodeRecord | undefined,
    after: NodeRecord | undefined,
    between: () => void,
  ): void {
    const claims = [before, after].flatMap((record) => (record ? this.#claims(record) : []));
    const holders = () => claims.flatMap(([all, key]) => all.holder(key) ?? []);
    const affected = new Set(holders());
    if (before) this.#removeClaims(before);
    between();
    if (after) this.#addClaims(after);
    for (const record of holders()) affected.add(record);
    if (before) affected.delete(before);
    if (after) affected.add(after);
    else if (before) this.#setMember(before.id, undefined);
    for (const record of affected)
      this.#setMember(record.id, this.#isMember(record) ? record : undefined);
  }

  #addClaims(record: NodeRecord): void {
    for (const [claims, key] of this.#claims(record)) claims.add(key, record);
    if (!record.withdrawn && this.#incompatibility(record))
      this.#incompatible.set(record.id, record);
  }

  #removeClaims(record: NodeRecord): void {
    for (const [claims, key] of this.#claims(record)) claims.delete(key, record);
    this.#incompatible.delete(record.id);
  }

  #setMember(id: string, member: NodeRecord | undefined): void {
    if (this.#members.get(id) === member) return;
    this.#changedIds.add(id);
    if (member) this.#members.set(id, member);
    else this.#members.delete(id);
  }

  #isMember(record: NodeRecord): boolean {
    return (
      this.#isInService(record) &&
      this.#claims(record).every(([all, key]) => all.holder(key) === record)
    );
  }

  #isInService(record: NodeRecord): boolean {
    return !record.withdrawn && !this.#incompatibility(record);
  }

  #incompatibility(record: NodeRecord): string | undefined {
    if (!this.#incompatibilities.has(record))
      this.#incompatibilities.set(record, incompatibility(record, this.#own));
    return this.#incompatibilities.get(record);
  }

  /** A record always claims its subnets; it claims name, endpoint and MAC while it is in service. */
  #claims(record: NodeRecord): [Claims<NodeRecord>, key: string][] {
    const subnets = record.leases.map((proof): [Claims<NodeRecord>, string] => [
      this.#subnets,
      subnetOf(proof),
    ]);
    if (!this.#isInService(record)) return subnets;
    const { name, vtep, mac } = record;
    return [...subnets, [this.#names, name], [this.#vteps, vtep], [this.#macs, mac]];
  }

  #uniqueClaims() {
    return [
      [this.#names, "name", "start one of them with another --name"],
      [this.#vteps, "underlay address", "start each with an --underlay address of its own"],
      [this.#macs, "MAC", "start one of them with a new --state directory"],
    ] as const;
  }

  /** Records that have not lapsed rank first, then the older lease. */
  #rank(a: NodeRecord, b: NodeRecord): number {
    const lapsed = ({ id }: NodeRecord) => Number(this.#lapsed.has(id));
    return (
      lapsed(a) - lapsed(b) ||
      compareAges(oldestProof(a.leases), oldestProof(b.leases)) ||
      (a.owner < b.owner ? -1 : 1)
    );
  }
}

const proofOf = ({ leases }: NodeRecord, subnet: string): Proof =>
  leases.find((proof) => subnetOf(proof) === subnet)!;

/** The family of a well-formed endpoint. */
const familyOf = (vtep: string): Family => (vtep.startsWith("[") ? 6 : 4);

/** The reason why a record does not fit, in words. */
function incompatibility(record: NodeRecord, { vni, underlay }: Tunnel): string | undefined {
  const [family, own] = [familyOf(record.vtep), underlay.address.family];
  if (record.vni !== vni) return `uses VNI ${record.vni}, this node ${vni}`;
  if (family !== own) {
    return `has an IPv${family} underlay (${record.vtep}), this node an IPv${own} one`;
  }
  return badEndpoint(record, underlay);
}
