/** No packet of the overlay leaves in clear when the agent is dead. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, agentsOn, allAnswer, DUAL_STACK, type Node, traces } from "./cluster.js";
import { story } from "./story.js";

/** Of a peer without an agent, beyond the cluster network. Nobody is there. */
const STATIC = "10.99.0.0/16";
const STATIC_FLAGS = [
  "--static-peer",
  `name=plain,endpoint=192.0.2.200:4789,mac=02:00:00:00:00:99,subnets=${STATIC}`,
];
/** Where the default route leads, and nothing of ours. */
const ELSEWHERE = ["203.0.113.7", "3fff:7::7"] as const;

const COUNTED = `
table inet leaving {
  chain out {
    type filter hook postrouting priority 0;
    oifname "eth0" ip daddr { 10.244.0.0/16, ${STATIC} } counter
    oifname "eth0" ip6 daddr fd00:244::/48 counter
    oifname "eth0" ip daddr ${ELSEWHERE[0]} counter
    oifname "eth0" ip6 daddr ${ELSEWHERE[1]} counter
  }
}`;

story("a host whose agent is dead", () => {
  let lab: Lab;
  let a: Node;
  let b: Node;
  let before: string;

  const start = (host: Host, join: Host[] = []) =>
    lab.agent(host, { join, flags: [...DUAL_STACK, ...STATIC_FLAGS] });

  beforeAll(async () => {
    lab = await Lab.open();
    const [first, second] = [await lab.host("a"), await lab.host("b")];
    [b] = (await agentsOn(lab, [second], () => ({ flags: DUAL_STACK }))) as [Node];
    await first.ip(`route add default via ${second.address}`);
    await first.ip(`route add default via ${second.address6}`);
    await first.exec(["nft", COUNTED]);
    before = await traces(first);
    const agent = start(first, [second]);
    const status = await agent.waitHealthy({ peers: 2 });
    a = { host: first, agent, status };
  });
  afterAll(() => lab?.close());

  const overlay = () => [addressOf(b, 4), addressOf(b, 6), "10.99.0.7"];

  /** Packets that left eth0 with an address of the overlay: of IPv4, of IPv6; and with another. */
  async function left(): Promise<{ ofOverlay: number; others: number }> {
    const shown = await a.host.exec(["nft", "list", "table", "inet", "leaving"]);
    const counts = [...shown.matchAll(/counter packets (\d+)/g)].map((match) => Number(match[1]));
    const [overlay4 = NaN, overlay6 = NaN, others4 = NaN, others6 = NaN] = counts;
    return { ofOverlay: overlay4 + overlay6, others: others4 + others6 };
  }

  /** Unreachable for this host's own programs, and nothing of it on the wire. */
  async function expectClosed(): Promise<void> {
    for (const to of overlay()) {
      const { rttMs, output } = await ping(a.host, to, { count: 2 });
      expect(rttMs).toEqual([]);
      expect(output).toMatch(/No route to host|unreachable/i);
    }
    const counted = await left();
    expect(counted.ofOverlay).toBe(0);
    for (const to of ELSEWHERE) await ping(a.host, to, { count: 1 });
    // The default route is there, and the counter counts.
    expect((await left()).others).toBeGreaterThan(counted.others);
  }

  async function expectAnswers(): Promise<void> {
    await allAnswer([a, b]);
    for (const family of [4, 6] as const) {
      const { sent, rttMs, output } = await ping(a.host, addressOf(b, family));
      expect(rttMs, output).toHaveLength(sent);
    }
  }

  it("by SIGKILL refuses packets for the overlay, in both families", async () => {
    await expectAnswers();
    await a.agent.kill("SIGKILL");
    await expectClosed();
  });

  it("still refuses them when the next start fails, however late", async () => {
    const taken = `require("node:net").createServer().listen(8080, "127.0.0.1", () => console.log("bound"))`;
    const holder = a.host.spawn([process.execPath, "-e", taken]);
    await holder.waitForOutput(/bound/);
    const flags = [...DUAL_STACK, ...STATIC_FLAGS, "--http", "127.0.0.1:8080"];
    const agent = lab.agent(a.host, { join: [b.host], flags });
    const { code, stderr } = await agent.process.finish(15_000);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/127\.0\.0\.1:8080 is already in use/);
    await holder.stop("SIGKILL");
    await expectClosed();
  });

  it("has them again after the next start", async () => {
    const agent = start(a.host, [b.host]);
    a = { ...a, agent, status: await agent.waitHealthy({ peers: 2 }) };
    await expectAnswers();
    const shown = await a.host.exec(["ip", "route", "show", "type", "unreachable"]);
    expect(shown.trim().split("\n")).toHaveLength(2);
  });

  it("by SIGTERM is as it was before, the routes of the dead ones included", async () => {
    expect((await a.agent.kill("SIGTERM")).code).toBe(0);
    expect(await traces(a.host)).toBe(before);
  });
});
