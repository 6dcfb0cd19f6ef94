import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fanout, preference } from "../../src/mesh/neighbours.js";
import { identity } from "./cluster.js";
import { randomFrom, seed } from "./seed.js";

const ids = Array.from({ length: 400 }, (_, n) => identity(n + 1).id);

/** Who dials whom, where everybody reaches everybody. */
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
      { seed, numRuns: 60 },
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
});
