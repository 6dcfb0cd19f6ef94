/**
 * The roll of members: the records that count, because they are in service and
 * in nobody's way. Changed record by record; what it says is a function of the
 * records that are on it and of who has lapsed, not of what came before.
 */
import type { Family } from "../address.js";
import { Claims } from "../lease/claims.js";
import { type Proof, subnetOf } from "../lease/grant.js";
import { oldest, order, seniority } from "../lease/ring.js";
import { type NodeRecord, who } from "./record.js";
import { badEndpoint, type Underlay } from "./underlay.js";

/**
 * Claimants of one subnet that have a place, the first in order. Honest clusters have two or three
 * where a giver took a subnet back; who has space could sign it away to thousands.
 */
export const MAX_CLAIMANTS = 8;

/** What all members must have in common to reach each other. */
export interface Tunnel {
  readonly vni: number;
  readonly underlay: Underlay;
}

/** What is read from a roll. */
export interface View {
  /** The records that count, by node id. */
  readonly members: ReadonlyMap<string, NodeRecord>;
  /** The record of the one node that holds this subnet. */
  holder(subnet: string): NodeRecord | undefined;
  /** The record of the one node in service that has this name. */
  bearer(name: string): NodeRecord | undefined;
  /** Whether the endpoints in a record can belong to another host, so that it may be dialled. */
  mayDial(record: NodeRecord): boolean;
  /** What was held back, and why, in words. */
  problems(): string[];
}

export class Roll implements View {
  #own: Tunnel;
  readonly #subnets = new Claims<NodeRecord>((a, b, subnet) =>
    order(proofOf(a, subnet), proofOf(b, subnet)),
  );
  readonly #names = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #vteps = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #macs = new Claims<NodeRecord>((a, b) => this.#rank(a, b));
  readonly #members = new Map<string, NodeRecord>();
  /** Records in service that do not fit this node's tunnel. */
  readonly #misfits = new Map<string, NodeRecord>();
  /** By record, why it does not fit, if it does not; computed once. */
  #judged = new WeakMap<NodeRecord, string | undefined>();
  readonly #lapsed = new Set<string>();
  #touched = new Set<string>();

  constructor(own: Tunnel) {
    this.#own = own;
  }

  /** Puts a record in the place of the one its owner had before, if it had one. */
  set(record: NodeRecord, before: NodeRecord | undefined): void {
    this.#touched.add(record.id);
    this.#change(before, record, () => this.#lapsed.delete(record.id));
  }

  delete(record: NodeRecord): void {
    this.#touched.add(record.id);
    this.#change(record, undefined, () => this.#lapsed.delete(record.id));
  }

  /** Its owner stands behind all others, until there is a newer record of it. False: it did before. */
  lapse(record: NodeRecord): boolean {
    if (this.#lapsed.has(record.id)) return false;
    this.#change(record, record, () => this.#lapsed.add(record.id));
    return true;
  }

  /** Judges all `records` on the roll anew, by another tunnel. */
  refit(own: Tunnel, records: readonly NodeRecord[]): void {
    for (const record of records) this.#withdraw(record);
    this.#own = own;
    this.#judged = new WeakMap();
    for (const record of records) this.#enter(record);
    for (const record of records) this.#note(record.id, this.#counts(record) ? record : undefined);
  }

  get members(): ReadonlyMap<string, NodeRecord> {
    return this.#members;
  }

  holder(subnet: string): NodeRecord | undefined {
    return this.#subnets.holder(subnet);
  }

  bearer(name: string): NodeRecord | undefined {
    return this.#names.holder(name);
  }

  mayDial(record: NodeRecord): boolean {
    return badEndpoint(record, this.#own.underlay) === undefined;
  }

  /** Whether a record is among the first claimants of one of its subnets, or would be, were it on the roll. */
  hasPlace({ id, leases }: NodeRecord): boolean {
    return leases.some((proof) => {
      const first = this.#subnets.claimants(subnetOf(proof)).slice(0, MAX_CLAIMANTS + 1);
      const last = first.filter((other) => other.id !== id)[MAX_CLAIMANTS - 1];
      return last === undefined || order(proof, proofOf(last, subnetOf(proof))) < 0;
    });
  }

  /** Those to whom this record, which is on the roll, has left no place. */
  crowdedOut({ leases }: NodeRecord): NodeRecord[] {
    const next = leases.flatMap(
      (proof) => this.#subnets.claimants(subnetOf(proof))[MAX_CLAIMANTS] ?? [],
    );
    return [...new Set(next)].filter((record) => !this.hasPlace(record));
  }

  /** Ids of those whose record, or whether it counts, changed since this was asked last. */
  takeTouched(): ReadonlySet<string> {
    const touched = this.#touched;
    this.#touched = new Set();
    return touched;
  }

  problems(): string[] {
    const twice = this.#refused(this.#subnets).map(
      ([subnet, kept, refused]) =>
        `${subnet} was granted twice: ${who(kept)} keeps it, ${who(refused)} must not use it`,
    );
    return [
      ...twice,
      ...this.#leftOut(),
      ...[...this.#misfits.values()]
        .filter(({ id }) => !this.#lapsed.has(id))
        .map(
          (record) => `${who(record)} at ${record.mesh} ${this.#misfit(record)}: it is left out`,
        ),
    ];
  }

  /** One sentence for each node that claims what another has. */
  #leftOut(): Iterable<string> {
    const sentences = new Map<string, string>();
    for (const [claims, what, remedy] of this.#unique()) {
      for (const [key, kept, refused] of this.#refused(claims)) {
        if (sentences.has(refused.id)) continue;
        sentences.set(
          refused.id,
          `two nodes claim the ${what} ${key}: ${who(kept)} keeps it, ${who(refused)} at ${refused.mesh} is left out: ${remedy}`,
        );
      }
    }
    return sentences.values();
  }

  /** What was claimed in vain, by somebody who may still act on it. */
  #refused(claims: Claims<NodeRecord>): [key: string, kept: NodeRecord, refused: NodeRecord][] {
    return claims.contested().flatMap((key) => {
      const [kept, ...others] = claims.claimants(key);
      return others
        .filter(({ id, withdrawn }) => !withdrawn && !this.#lapsed.has(id))
        .map((refused): [string, NodeRecord, NodeRecord] => [key, kept!, refused]);
    });
  }

  // ---- changing

  /** Who holds what this record claims, before or after, may count or not from now on. */
  #change(
    before: NodeRecord | undefined,
    after: NodeRecord | undefined,
    between: () => void,
  ): void {
    const claims = [before, after].flatMap((record) => (record ? this.#claims(record) : []));
    const holders = () => claims.flatMap(([all, key]) => all.holder(key) ?? []);
    const affected = new Set(holders());
    if (before) this.#withdraw(before);
    between();
    if (after) this.#enter(after);
    for (const record of holders()) affected.add(record);
    if (before) affected.delete(before);
    if (after) affected.add(after);
    else if (before) this.#note(before.id, undefined);
    for (const record of affected) this.#note(record.id, this.#counts(record) ? record : undefined);
  }

  #enter(record: NodeRecord): void {
    for (const [claims, key] of this.#claims(record)) claims.add(key, record);
    if (!record.withdrawn && this.#misfit(record)) this.#misfits.set(record.id, record);
  }

  #withdraw(record: NodeRecord): void {
    for (const [claims, key] of this.#claims(record)) claims.delete(key, record);
    this.#misfits.delete(record.id);
  }

  #note(id: string, member: NodeRecord | undefined): void {
    if (this.#members.get(id) === member) return;
    this.#touched.add(id);
    if (member) this.#members.set(id, member);
    else this.#members.delete(id);
  }

  #counts(record: NodeRecord): boolean {
    return (
      this.#serves(record) && this.#claims(record).every(([all, key]) => all.holder(key) === record)
    );
  }

  #serves(record: NodeRecord): boolean {
    return !record.withdrawn && !this.#misfit(record);
  }

  #misfit(record: NodeRecord): string | undefined {
    if (!this.#judged.has(record)) this.#judged.set(record, misfit(record, this.#own));
    return this.#judged.get(record);
  }

  /** Subnets stay their owner's whatever it does; a name, an endpoint and a MAC it has while it serves. */
  #claims(record: NodeRecord): [Claims<NodeRecord>, key: string][] {
    const subnets = record.leases.map((proof): [Claims<NodeRecord>, string] => [
      this.#subnets,
      subnetOf(proof),
    ]);
    if (!this.#serves(record)) return subnets;
    const { name, vtep, mac } = record;
    return [...subnets, [this.#names, name], [this.#vteps, vtep], [this.#macs, mac]];
  }

  #unique() {
    return [
      [this.#names, "name", "start one of them with another --name"],
      [this.#vteps, "underlay address", "start each with an --underlay address of its own"],
      [this.#macs, "MAC", "start one of them with a new --state directory"],
    ] as const;
  }

  /** The living come before the lapsed, then the older lease. */
  #rank(a: NodeRecord, b: NodeRecord): number {
    const lapsed = ({ id }: NodeRecord) => Number(this.#lapsed.has(id));
    return (
      lapsed(a) - lapsed(b) ||
      seniority(oldest(a.leases), oldest(b.leases)) ||
      (a.owner < b.owner ? -1 : 1)
    );
  }
}

const proofOf = ({ leases }: NodeRecord, subnet: string): Proof =>
  leases.find((proof) => subnetOf(proof) === subnet)!;

/** Of an endpoint that was read before. */
const familyOf = (vtep: string): Family => (vtep.startsWith("[") ? 6 : 4);

/** Why a record does not fit, in words. */
function misfit(record: NodeRecord, { vni, underlay }: Tunnel): string | undefined {
  const [family, own] = [familyOf(record.vtep), underlay.address.family];
  if (record.vni !== vni) return `uses VNI ${record.vni}, this node ${vni}`;
  if (family !== own) {
    return `has an IPv${family} underlay (${record.vtep}), this node an IPv${own} one`;
  }
  return badEndpoint(record, underlay);
}
