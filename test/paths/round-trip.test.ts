/** The round trip of a path is that of its packets, however late the agents handle a probe. */
import { describe, expect, it } from "vitest";
import { PathState } from "../../src/paths/path-state.js";
import { decodeProbe, encodeProbe } from "../../src/paths/probe.js";
import { seed } from "../mesh/seed.js";
import { member, type Node, PathWorld } from "./path-world.js";

/** One-way milliseconds of one hop in the simulated underlay. */
const HOP = { least: 1, most: 3 };
const BUSY_FOR = 40;

/** Three nodes in a line, so that the first reaches the last through the second. */
async function busyLine() {
  const world = new PathWorld(seed);
  world.reachesByUdp = (a, b) => Math.abs(a - b) === 1;
  const nodes = (await world.line(3)) as [Node, Node, Node];
  for (const { datapath } of nodes) datapath.busyFor = BUSY_FOR;
  await world.until(() => member(nodes[0], 3).rttMs !== undefined, 60_000);
  return { world, nodes };
}

const isOfHops = (rttMs: number | undefined, hops: number) => {
  expect(rttMs).toBeGreaterThanOrEqual(hops * HOP.least);
  expect(rttMs).toBeLessThanOrEqual(hops * HOP.most);
};

describe("among agents that are busy when probes come in", () => {
  it("the time that target, relay and origin held a probe is not in its round trip", async () => {
    const { world, nodes } = await busyLine();
    await world.run(20_000);
    expect(member(nodes[0], 3).path).toBe("via h2");
    isOfHops(member(nodes[0], 2).rttMs, 2);
    isOfHops(member(nodes[0], 3).rttMs, 4);
  });

  it("a member that says it held a probe for longer than the answer took has a round trip of 0", async () => {
    const { world, nodes } = await busyLine();
    const [a, liar] = nodes;
    const send = liar.datapath.send.bind(liar.datapath);
    liar.datapath.send = (to, bytes) => {
      const probe = decodeProbe(bytes);
      send(to, probe ? encodeProbe({ ...probe, residence: 2 ** 32 - 1 }) : bytes);
    };
    await world.run(20_000);
    expect(member(a, 2)).toMatchObject({ state: "established", path: "direct", rttMs: 0 });
  });
});

describe("the round trip of a path", () => {
  const answers = (...rtts: number[]) => {
    const way = new PathState({ kind: "own", endpoint: "192.0.2.1:4789" }, 0);
    for (const rttMs of rtts) way.answered(0, { responseMs: 100, rttMs });
    return way;
  };

  it("is the least of the last eight answers", () => {
    expect(answers().rttMs).toBeUndefined();
    expect(answers(5, 1, 9).rttMs).toBe(1);
    expect(answers(1, 3, 4, 5, 6, 7, 8, 9).rttMs).toBe(1);
    expect(answers(1, 3, 4, 5, 6, 7, 8, 9, 10).rttMs).toBe(3);
  });

  it("is that of its present route", () => {
    const way = answers(1);
    way.reroute({ kind: "own", endpoint: "192.0.2.2:4789" });
    expect(way.rttMs).toBeUndefined();
  });
});
