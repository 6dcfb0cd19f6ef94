import { afterAll, beforeAll, expect, it } from "vitest";
import { LAB_SECRET, type LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { allAnswer, cluster, type Node, peersOf } from "./cluster.js";
import { Pinger } from "./pinger.js";
import { story } from "./story.js";

const NEW = "a secret that the lost host never saw";

story("a new secret, in three rounds while packets flow", () => {
  let lab: Lab;
  let nodes: Node[];
  let lost: LabAgent;

  beforeAll(async () => {
    lab = await Lab.open();
    nodes = await cluster(lab, ["a", "b", "c"]);
    lost = lab.agent(await lab.host("lost"), { join: [nodes[0]!.host] });
    await lost.waitHealthy({ peers: 3 });
  });
  afterAll(() => lab?.close());

  it("costs no packet", async () => {
    const [a, , c] = nodes as [Node, Node, Node];
    const pinger = new Pinger(a.host, c.status.address);
    for (const secrets of [[LAB_SECRET, NEW], [NEW, LAB_SECRET], [NEW]]) {
      for (const { agent } of nodes) await agent.changeSecrets(secrets);
    }
    const { sent, lost, output } = await pinger.stop();
    expect(sent).toBeGreaterThan(0);
    // the last one may still have been on its way
    expect(lost, output).toBeLessThanOrEqual(1);
  });

  it("who has it learns of a new node; who has not learns no more", async () => {
    const host = await lab.host("late");
    const agent = lab.agent(host, { join: [nodes[1]!.host], secret: NEW });
    nodes.push({ host, agent, status: await agent.waitHealthy() });
    await allAnswer(nodes);
    const problems = async () => (await lost.status())?.problems.join();
    await expect.poll(problems, { timeout: 20_000 }).toContain("the secret does not match");
    expect([...(await peersOf({ agent: lost })).keys()].sort()).toEqual(["a", "b", "c"]);
  });

  it("and when it is forgotten, nobody takes a packet of it", async () => {
    expect(await nodes[0]!.agent.weft("forget", "lost", "--force")).toMatchObject({ code: 0 });
    for (const { status } of nodes.slice(0, 3)) {
      const answers = async () => (await ping(lost.host, status.address, { count: 1 })).rttMs;
      await expect.poll(answers, { timeout: 20_000 }).toEqual([]);
    }
    await allAnswer(nodes);
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
