import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fanout, NeighbourRanking } from "../../src/gossip/neighbour-ranking.js";
import type { NodeRecord } from "../../src/gossip/record.js";
import { identity, recordOf } from "../mesh/cluster.js";
import { randomFrom, seed } from "../mesh/seed.js";
import { rounds } from "../rounds.js";

const ids = Array.from({ length: 400 }, (_, n) => identity(n + 1).id);

const one = recordOf(1);
const record = (id: string, withdrawn = false): NodeRecord => ({ ...one, id, withdrawn });

/** All ids in the order in which one node would choose them as neighbours. */
function preference(own: string, salt: number, all: readonly string[]): string[] {
  const neighbours = new NeighbourRanking(own, salt);
  for (const id of all) neighbours.set(id, record(id));
  return [...neighbours].map(({ id }) => id);
}

/** The sessions between nodes that all reach each other. */
function graph(nodes: readonly string[], salts: () => number): Map<string, Set<string>> {
  const edges = new Map(nodes.map((id) => [id, new Set<string>()]));
  for (const id of nodes) {
    const salt = Math.floor(salts() * 2 ** 32);
    for (const to of preference(id, salt, nodes).slice(0, fanout(nodes.length - 1))) {
      edges.get(id)!.add(to);
      edges.get(to)!.add(id);
    }
  }
  return edges;
}

function reached(edges: Map<string, Set<string>>, alive: ReadonlySet<string>): number {
  const seen = new Set([...alive].slice(0, 1));
  for (const id of seen) for (const to of edges.get(id)!) if (alive.has(to)) seen.add(to);
  return seen.size;
}

describe("the sessions that all nodes choose", () => {
  it("join them all, and still when every third has failed", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: ids.length }), fc.nat(), (n, start) => {
        const random = randomFrom(start);
        const nodes = ids.slice(0, n);
        const edges = graph(nodes, random);
        expect(reached(edges, new Set(nodes))).toBe(n);
        const rest = new Set(nodes.filter((_, i) => i % 3 > 0));
        expect(reached(edges, rest)).toBeGreaterThanOrEqual(rest.size - 1);
      }),
      { seed, numRuns: rounds(20, 60) },
    );
  });

  it("are about log2 n and a few for each, however many there are", () => {
    const edges = graph(ids, randomFrom(seed));
    const sessions = [...edges.values()].map(({ size }) => size);
    expect(sessions.reduce((a, b) => a + b) / ids.length).toBeLessThan(Math.log2(ids.length) + 6);
    expect(Math.max(...sessions)).toBeLessThan(40);
    expect(fanout(1000)).toBe(7);
    expect(fanout(8192)).toBe(9);
  });

  it("are all there can be in a small cluster", () => {
    const edges = graph(ids.slice(0, 7), randomFrom(seed));
    expect([...edges.values()].map(({ size }) => size)).toEqual(Array(7).fill(6));
  });

  it("change little when one more comes", () => {
    const own = ids[0]!;
    const before = preference(own, seed, ids.slice(0, 300)).slice(0, 7);
    const after = new Set(preference(own, seed, ids.slice(0, 301)).slice(0, 7));
    expect(before.filter((id) => after.has(id)).length).toBeGreaterThanOrEqual(5);
  });

  it("begin with the next on the ring, and depend only on the nodes that are there now", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom(...ids.slice(0, 60))),
        fc.array(fc.tuple(fc.constantFrom(...ids.slice(0, 60)), fc.constantFrom(0, 1, 2))),
        (some, changes) => {
          const [own, ...others] = [ids[100]!, ...some];
          const neighbours = new NeighbourRanking(own, seed);
          const there = new Set<string>();
          for (const [id, what] of [...changes, ...others.map((id) => [id, 0] as const)]) {
            neighbours.set(id, what === 0 ? record(id) : what === 1 ? record(id, true) : undefined);
            if (what === 0) there.add(id);
            else there.delete(id);
          }
          const order = [...neighbours].map(({ id }) => id);
          expect(order).toEqual(preference(own, seed, [...there].sort()));
          expect([...order].sort()).toEqual([...there].sort());
          const ring = [...there, own].sort();
          expect(order[0] ?? own).toBe(ring[(ring.indexOf(own) + 1) % ring.length]);
          neighbours.set(own, record(own));
          expect([...neighbours]).toHaveLength(there.size);
        },
      ),
      { seed, numRuns: 100 },
    );
  });
});
