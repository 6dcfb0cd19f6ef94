import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { agentsOn, allAnswer, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";

const OTHER = "192.0.2.201";

story("a host whose underlay address changes while its agent runs", () => {
  let lab: Lab;
  let nodes: Node[];
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts: Host[] = [];
    for (const name of ["a", "b", "c"]) hosts.push(await lab.host(name));
    for (const host of hosts) await host.ip("route add default dev eth0");
    nodes = await agentsOn(lab, hosts, ({ name }) => ({ underlay: name === "c" ? 4 : "found" }));
    [a, b, c] = nodes;
  });
  afterAll(() => lab?.close());

  for (const [who, node] of [
    ["a member", () => b!],
    ["the founder", () => a!],
  ] as const) {
    it(`is reached at the new one, by all, without a restart: ${who}`, async () => {
      const { host, agent, status } = node();
      await host.sysctl("net/ipv4/conf/eth0/promote_secondaries", 1);
      const other = OTHER.replace("201", `20${host.address.at(-1)}`);
      await host.ip(`addr add ${other}/24 dev eth0`, `addr del ${host.address}/24 dev eth0`);
      await expect
        .poll(async () => (await agent.status())?.underlay, { timeout: 10_000 })
        .toBe(other);
      for (const one of nodes.filter((one) => one.agent !== agent)) {
        await expect
          .poll(async () => (await peersOf(one)).get(host.name)?.endpoint, { timeout: 10_000 })
          .toBe(`${other}:4789`);
      }
      await allAnswer(nodes);
      expect(await agent.waitHealthy({ peers: 2 })).toMatchObject({ leases: status.leases });
    });
  }

  it("but one that was given is kept: its loss is said, until it is back", async () => {
    const { host, agent } = c!;
    const problems = async () => (await agent.status())?.problems.join();
    await host.ip(`addr add 192.0.2.210/24 dev eth0`, `addr del ${host.address}/24 dev eth0`);
    await expect.poll(problems, { timeout: 20_000 }).toContain(`underlay address ${host.address}`);
    await host.ip(`addr add ${host.address}/24 dev eth0`);
    await agent.waitHealthy({ peers: 2, limitMs: 60_000 });
    await allAnswer(nodes);
  });
});
