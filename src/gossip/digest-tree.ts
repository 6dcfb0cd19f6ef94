/**
 * A set of records, and what it comes to in few bytes: one hash over it all, and
 * one for each of 64 buckets, which are ranges of owner ids. A change touches
 * one bucket, and two sets that differ little are compared without listing what
 * they share.
 */
import { createHash } from "node:crypto";
import type { AnyRecord, AttachedRecord } from "./attached-record.js";
import type { NodeRecord } from "./record.js";

export const BUCKETS = 64;
/** Hex digits that stand for one bucket. */
export const BUCKET_DIGITS = 16;

/** A range of ids: from `after`, not included, to `until`, included. Nothing means an open end. */
export interface Range {
  readonly after: string;
  readonly until: string;
}

export const ALL: Range = { after: "", until: "" };

/** All records of one owner: none without that of the kind `node`. */
export interface OwnerRecords {
  readonly node: NodeRecord;
  /** In the order of their kinds. */
  readonly attached: readonly AttachedRecord[];
}

type Bucket = Map<string, OwnerRecords>;

export class DigestTree {
  readonly #buckets = Array.from({ length: BUCKETS }, (): Bucket => new Map());
  readonly #hashes: (string | undefined)[] = new Array(BUCKETS).fill(undefined);
  #root: string | undefined;
  #owners = 0;
  #records = 0;
  #attachedBytes = 0;

  get(id: string): OwnerRecords | undefined {
    return this.#buckets[bucketOf(id)]!.get(id);
  }

  set(records: OwnerRecords): void {
    this.#replace(records.node.id, records);
  }

  delete(id: string): void {
    this.#replace(id, undefined);
  }

  /** Number of owners. */
  get owners(): number {
    return this.#owners;
  }

  /** Number of records of all kinds. */
  get records(): number {
    return this.#records;
  }

  /** Bytes of all attached records. */
  get attachedBytes(): number {
    return this.#attachedBytes;
  }

  *nodes(): Generator<NodeRecord> {
    for (const bucket of this.#buckets) for (const { node } of bucket.values()) yield node;
  }

  /** The records of the owners in a range, in the order of their ids; of each owner the node record first. It sorts no bucket that is not reached. */
  *inRange({ after, until }: Range): Generator<AnyRecord> {
    const first = after === "" ? 0 : bucketOf(after);
    const last = until === "" ? BUCKETS - 1 : bucketOf(until);
    for (const bucket of this.#buckets.slice(first, last + 1)) {
      const owners = [...bucket.values()]
        .filter(({ node: { id } }) => id > after && (until === "" || id <= until))
        .sort((a, b) => (a.node.id < b.node.id ? -1 : 1));
      for (const records of owners) yield* recordsOf(records);
    }
  }

  /** Equal sets, equal roots. */
  get root(): string {
    this.#root ??= sha256(this.buckets);
    return this.#root;
  }

  /** The hashes of all buckets, one after the other. */
  get buckets(): string {
    return this.#buckets.map((bucket, n) => this.#hash(n, bucket)).join("");
  }

  /** The ranges in which the other set, of which these are the buckets, differs from this one: no two meet. */
  differences(theirs: string): Range[] {
    const ours = this.buckets;
    const at = (all: string, n: number) => all.slice(n * BUCKET_DIGITS, (n + 1) * BUCKET_DIGITS);
    const ranges: Range[] = [];
    for (let n = 0; n < BUCKETS; n++) {
      if (at(ours, n) === at(theirs, n)) continue;
      const { after, until } = rangeOf(n);
      const last = ranges.at(-1);
      if (last && last.until === after) ranges[ranges.length - 1] = { after: last.after, until };
      else ranges.push({ after, until });
    }
    return ranges;
  }

  #hash(n: number, bucket: Bucket): string {
    this.#hashes[n] ??= sha256(
      [...bucket.values()]
        .flatMap(recordsOf)
        .map(({ envelope }) => envelope.signature)
        .sort()
        .join("\n"),
    ).slice(0, BUCKET_DIGITS);
    return this.#hashes[n];
  }

  #replace(id: string, after: OwnerRecords | undefined): void {
    const n = bucketOf(id);
    const bucket = this.#buckets[n]!;
    const before = bucket.get(id);
    if (after) bucket.set(id, after);
    else bucket.delete(id);
    this.#owners += Number(after !== undefined) - Number(before !== undefined);
    this.#records += sizeOf(after) - sizeOf(before);
    this.#attachedBytes += bytesOf(after?.attached) - bytesOf(before?.attached);
    this.#hashes[n] = undefined;
    this.#root = undefined;
  }
}

const recordsOf = ({ node, attached }: OwnerRecords): AnyRecord[] => [node, ...attached];

const sizeOf = (records: OwnerRecords | undefined): number =>
  records ? 1 + records.attached.length : 0;

const bytesOf = (records: readonly AttachedRecord[] = []): number =>
  records.reduce((sum, { bytes }) => sum + bytes, 0);

/** The first six bits of an id. */
const bucketOf = (id: string): number => (digit(id, 0) << 2) | (digit(id, 1) >> 2);

/** Looked up for each version that is heard: faster than parseInt of a slice. */
function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return code < 58 ? code - 48 : code - 87;
}

const rangeOf = (n: number): Range => ({
  after: n === 0 ? "" : lastId(n - 1),
  until: n === BUCKETS - 1 ? "" : lastId(n),
});

const lastId = (bucket: number): string =>
  (bucket * 4 + 3).toString(16).padStart(2, "0").padEnd(32, "f");

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
