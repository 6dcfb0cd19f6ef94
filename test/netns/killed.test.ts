import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { Random } from "../../src/sim/random.js";
import { seedOfRun } from "../packets.js";
import { rounds } from "../rounds.js";
import { allAnswer, cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const RESTARTS = rounds(15, 60);
/** A start takes less, so some are killed in the middle of it. */
const LONGEST_LIFE_MS = 800;

story("agents that are killed again and again, at any moment", () => {
  let lab: Lab;
  let nodes: Node[];

  beforeAll(async () => {
    lab = await Lab.open();
    nodes = await cluster(lab, ["a", "b", "c"]);
  });
  afterAll(() => lab?.close());

  it("keep their leases, and find together in the end", async () => {
    const random = new Random(seedOfRun("killed agents"));
    const before = nodes.map(({ status: { leases, address, mac } }) => ({ leases, address, mac }));
    for (let i = 0; i < RESTARTS; i++) {
      const victim = random.below(nodes.length);
      const { host, agent, status } = nodes[victim]!;
      await agent.kill("SIGKILL");
      const join = victim === 0 ? [] : [nodes[victim - 1]!.host];
      nodes[victim] = { host, status, agent: lab.agent(host, { join }) };
      await sleep(random.between(0, LONGEST_LIFE_MS));
    }
    const after = await Promise.all(
      nodes.map(({ agent }) => agent.waitHealthy({ peers: 2, limitMs: 60_000 })),
    );
    expect(after.map(({ leases, address, mac }) => ({ leases, address, mac }))).toEqual(before);
    await allAnswer(nodes);
  }, 300_000);
});
