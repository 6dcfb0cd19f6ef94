/**
 * A set of records, and what it comes to in few bytes: one hash over it all, and
 * one for each of 64 branches, which are ranges of owner ids. A change touches
 * one branch, and two sets that differ little are compared without listing what
 * they share.
 */
import { createHash } from "node:crypto";
import type { NodeRecord } from "./record.js";

export const BUCKETS = 64;
/** Hex digits that stand for one branch. */
export const BUCKET_DIGITS = 16;

/** A range of ids: from `after`, not included, to `until`, included. Nothing means an open end. */
export interface Range {
  readonly after: string;
  readonly until: string;
}

export const ALL: Range = { after: "", until: "" };

export class DigestTree {
  readonly #records = Array.from({ length: BUCKETS }, () => new Map<string, NodeRecord>());
  readonly #hashes: (string | undefined)[] = new Array(BUCKETS).fill(undefined);
  #root: string | undefined;
  #size = 0;

  get(id: string): NodeRecord | undefined {
    return this.#records[bucketOf(id)]!.get(id);
  }

  set(record: NodeRecord): void {
    this.#change(record.id, (branch) => branch.set(record.id, record));
  }

  delete(id: string): void {
    this.#change(id, (branch) => branch.delete(id));
  }

  get size(): number {
    return this.#size;
  }

  *values(): Generator<NodeRecord> {
    for (const branch of this.#records) yield* branch.values();
  }

  /** The records in a range, in the order of their ids. */
  inRange({ after, until }: Range): NodeRecord[] {
    const first = after === "" ? 0 : bucketOf(after);
    const last = until === "" ? BUCKETS - 1 : bucketOf(until);
    return this.#records
      .slice(first, last + 1)
      .flatMap((branch) =>
        [...branch.values()]
          .filter(({ id }) => id > after && (until === "" || id <= until))
          .sort((a, b) => (a.id < b.id ? -1 : 1)),
      );
  }

  /** Equal sets, equal roots. */
  get root(): string {
    this.#root ??= sha256(this.buckets);
    return this.#root;
  }

  /** The hashes of all branches, one after the other. */
  get buckets(): string {
    return this.#records.map((records, n) => this.#hash(n, records)).join("");
  }

  /** The ranges in which the other set, of which these are the branches, differs from this one: no two meet. */
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

  #hash(n: number, records: ReadonlyMap<string, NodeRecord>): string {
    this.#hashes[n] ??= sha256(
      [...records.values()]
        .map(({ envelope }) => envelope.signature)
        .sort()
        .join("\n"),
    ).slice(0, BUCKET_DIGITS);
    return this.#hashes[n];
  }

  #change(id: string, change: (branch: Map<string, NodeRecord>) => void): void {
    const n = bucketOf(id);
    const branch = this.#records[n]!;
    this.#size -= branch.size;
    change(branch);
    this.#size += branch.size;
    this.#hashes[n] = undefined;
    this.#root = undefined;
  }
}

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

const lastId = (branch: number): string =>
  (branch * 4 + 3).toString(16).padStart(2, "0").padEnd(32, "f");

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
