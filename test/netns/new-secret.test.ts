import { afterAll, beforeAll, expect, it } from "vitest";
import { type Agent, LAB_SECRET } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { allAnswer, cluster, type Node, peersOf } from "./cluster.js";
import { Pinger } from "./pinger.js";
import { story } from "./story.js";

const NEW = "a secret that the lost host never saw";

story("a new secret, in three rounds while packets flow", () => {
  let lab: Lab;
  let nodes: Node[];
  let lost: Agent;

  beforeAll(async () => {
    lab = await Lab.open();
    nodes = await cluster(lab, ["a", "b", "c"]);
    lost = lab.agent(await lab.host("lost"), { join: [nodes[0]!.host] });
    await lost.waitHealthy({ peers: 3 });
  });
  afterAll(() => lab?.close());

  const states = async () => {
    const rows = await Promise.all(nodes.map((node) => peersOf(node)));
    return rows.map((peers) => [...peers].map(([name, { state }]) => `${name} ${state}`).sort());
  };

  it("costs no packet", async () => {
    const [a, , c] = nodes as [Node, Node, Node];
    const pinger = new Pinger(a.host, c.status.address);
    for (const secrets of [[LAB_SECRET, NEW], [NEW, LAB_SECRET], [NEW]]) {
      for (const { agent } of nodes) await agent.changeSecrets(secrets);
    }
    const { sent, answered, output } = await pinger.stop();
    expect(sent).toBeGreaterThan(0);
    // the last one may still have been on its way
    expect(answered, output).toBeGreaterThanOrEqual(sent - 1);
  });

  it("those that have it find together again, and the one that has not is out", async () => {
    await expect.poll(states, { timeout: 25_000 }).toEqual([
      ["b established", "c established", "lost unreachable"],
      ["a established", "c established", "lost unreachable"],
      ["a established", "b established", "lost unreachable"],
    ]);
    await expect
      .poll(async () => (await lost.status())?.problems.join())
      .toContain("the secret does not match");
    await allAnswer(nodes);
  }, 40_000);

  it("and when its giver forgets it, no packet of it is taken", async () => {
    const [a] = nodes as [Node];
    expect(await a.agent.weft("forget", "lost", "--certain")).toMatchObject({ code: 0 });
    await expect
      .poll(async () => (await ping(lost.host, a.status.address, { count: 1 })).rttMs)
      .toEqual([]);
  });

  it("a file that is wrong changes nothing", async () => {
    const [a, b] = nodes as [Node, Node];
    await expect(a.agent.changeSecrets(["too short"])).rejects.toThrow(/shorter than 16/);
    await allAnswer([a, b]);
  });

  it("nobody says a secret", () => {
    for (const { agent } of nodes) {
      expect(agent.process.output).not.toContain(NEW);
      expect(agent.process.output).not.toContain(LAB_SECRET);
    }
  });
});
