import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ALL,
  BUCKET_DIGITS,
  BUCKETS,
  DigestTree,
  type OwnerRecords,
} from "../../src/gossip/digest-tree.js";
import { identity, recordOf } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";

const one = recordOf(1);
/** A node record, and so many attached ones. */
const made = (id: string, signature: string, attached = 0): OwnerRecords => {
  const signed = (change: string) => ({ id, envelope: { ...one.envelope, signature: change } });
  return {
    node: { ...one, ...signed(signature) },
    attached: Array.from({ length: attached }, (_, n) => ({
      ...one,
      ...signed(`${signature}-${n}`),
      kind: `k${n}`,
      content: undefined,
      isUrgent: false,
    })),
  };
};
/** Two versions of the records of each of 120 owners. A digest tree reads only id and signature. */
const pool = Array.from({ length: 120 }, (_, n) =>
  [0, 1].map((v) => made(identity(n + 1).id, `${n}-${v}`, (n + v) % 3)),
);
const ids = pool.map(([records]) => records!.node.id);

const summed = (choice: readonly [number, number][]): DigestTree => {
  const summary = new DigestTree();
  for (const [n, v] of choice) summary.set(pool[n]![v]!);
  return summary;
};

const choices = fc.uniqueArray(fc.tuple(fc.nat(pool.length - 1), fc.nat(1)), {
  selector: ([n]) => n,
});

describe("a summary", () => {
  it("depends on the set alone: not on order, nor on what was there before", () => {
    fc.assert(
      fc.property(choices, fc.nat(pool.length - 1), (choice, other) => {
        const again = summed([...choice].reverse());
        again.set(made("00".repeat(16), `${other}`));
        again.delete("00".repeat(16));
        expect(again.owners).toBe(choice.length);
        expect(again.records).toBe([...again.inRange(ALL)].length);
        expect(again.root).toBe(summed(choice).root);
        expect(again.buckets).toMatch(new RegExp(`^[0-9a-f]{${BUCKETS * BUCKET_DIGITS}}$`));
      }),
      { seed, numRuns: 100 },
    );
  });

  it("names the ranges of exactly the records that differ, no two that meet, and one where all do", () => {
    fc.assert(
      fc.property(choices, choices, (left, right) => {
        const [a, b] = [summed(left), summed(right)];
        const of = (choice: readonly [number, number][], n: number) =>
          choice.find(([other]) => other === n)?.[1];
        const differ = ids
          .filter((_, n) => of(left, n) !== of(right, n))
          .map((id) => Number.parseInt(id.slice(0, 2), 16) >> 2);
        const ranges = a.differences(b.buckets);
        const meet = ranges.filter(({ after }, n) => n > 0 && ranges[n - 1]!.until === after);
        expect(meet).toEqual([]);
        const inside = (id: string) =>
          ranges.filter(({ after, until }) => id > after && (until === "" || id <= until)).length;
        for (const id of ids) {
          expect(inside(id)).toBe(
            Number(differ.includes(Number.parseInt(id.slice(0, 2), 16) >> 2)),
          );
        }
        expect(a.root === b.root).toBe(ranges.length === 0);
      }),
      { seed, numRuns: 60 },
    );
    const all = new DigestTree().differences("f".repeat(BUCKETS * BUCKET_DIGITS));
    expect(all).toEqual([ALL]);
  });

  it("lists what lies in a range, in the order of the ids, as a search through all does", () => {
    const bound = fc.oneof(fc.constant(""), fc.constantFrom(...ids), fc.constant("7f".repeat(16)));
    fc.assert(
      fc.property(choices, bound, bound, (choice, after, until) => {
        const slow = choice
          .map(([n, v]) => pool[n]![v]!)
          .filter(({ node: { id } }) => id > after && (until === "" || id <= until))
          .sort((a, b) => (a.node.id < b.node.id ? -1 : 1))
          .flatMap(({ node, attached }) => [node, ...attached]);
        expect([...summed(choice).inRange({ after, until })]).toEqual(slow);
      }),
      { seed, numRuns: 100 },
    );
  });
});
