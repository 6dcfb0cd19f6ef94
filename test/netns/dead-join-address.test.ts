import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { allAnswer, cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

story("a node that restarts when the only node it was told to join is gone", () => {
  let lab: Lab;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
    const host = await lab.host("c");
    const agent = lab.agent(host, { join: [a!.host] });
    c = { host, agent, status: await agent.waitHealthy({ peers: 2 }) };
  });
  afterAll(() => lab?.close());

  it("comes back through those it remembers, with its lease, and says what is wrong", async () => {
    await c!.agent.kill();
    await a!.agent.kill("SIGKILL");

    const agent = lab.agent(c!.host, { join: [a!.host] });
    await expect
      .poll(async () => (await agent.status())?.leases, { timeout: 20_000 })
      .toEqual(c!.status.leases);
    await allAnswer([b!, { ...c!, agent }]);

    await expect
      .poll(async () => (await agent.status())?.problems.join(), { timeout: 20_000 })
      .toContain(`join address ${a!.host.address}:6783`);
    expect((await agent.status())!.healthy).toBe(false);
  });
});
