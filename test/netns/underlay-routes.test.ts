import { afterEach, beforeEach, expect, it } from "vitest";
import type { AgentOptions, LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { agentsOn, DUAL_STACK, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const MTU_WITHIN_MS = 10_000;
const BYTES = 30_000_000;

let lab: Lab;
beforeEach(async () => {
  lab = await Lab.open();
});
afterEach(() => lab?.close());

/** A device of the host that leads nowhere. */
async function stub(host: Host, name: string, address: string, mtu = 1500): Promise<void> {
  await host.ip(
    `link add ${name} mtu ${mtu} type veth peer name ${name}-end`,
    `link set ${name}-end addrgenmode none up`,
    `link set ${name} addrgenmode none up`,
    `addr add ${address} dev ${name}`,
  );
}

const underlayOf = async (agent: LabAgent) => (await agent.status())?.underlay;

story("a VPN that takes the default route", () => {
  it("leaves the underlay where peers answer: no packet is lost", async () => {
    const hosts = [await lab.host("a"), await lab.host("b")];
    for (const host of hosts) await host.ip("route add default dev eth0");
    const [a, b] = (await agentsOn(lab, hosts, () => ({ underlay: "found" }))) as [Node, Node];
    await stub(b.host, "vpn0", "10.99.0.2/24", 1420);
    await b.host.ip("route add 0.0.0.0/1 dev vpn0", "route add 128.0.0.0/1 dev vpn0");
    const { sent, rttMs, output } = await ping(b.host, a.status.address, {
      count: 100,
      intervalSeconds: 0.1,
    });
    expect(rttMs, output).toHaveLength(sent);
    expect(await b.agent.waitHealthy({ peers: 1 })).toMatchObject({
      underlay: b.host.address,
      mtu: 1450,
    });
  });
});

story("hosts that all have the same NAT address on their default route", () => {
  const vagrant = async (name: string): Promise<Host> => {
    const host = await lab.host(name);
    await stub(host, "nat0", "10.0.2.15/24");
    await host.ip("route add default via 10.0.2.2 dev nat0");
    return host;
  };

  it("are told to give the first one an --underlay where the others cannot dial it", async () => {
    const [first, second] = [await vagrant("a"), await vagrant("b")];
    const found = { underlay: "found" } as const;
    const founder = lab.agent(first, found);
    await founder.waitHealthy();
    expect(await underlayOf(founder)).toBe("10.0.2.15");
    const agent = lab.agent(second, { ...found, join: [first] });
    const problems = async () => (await agent.status())?.problems.join();
    await expect
      .poll(problems, { timeout: 20_000 })
      .toMatch(/nothing listens there: .* underlay address .*--underlay/);
    expect(await underlayOf(agent)).toBe(second.address);
  });

  it("take the address of the route to the node that they join", async () => {
    const [first, second, third] = [await vagrant("a"), await vagrant("b"), await vagrant("c")];
    const found = { underlay: "found" } as const;
    await lab.agent(first, { underlay: 4 }).waitHealthy();
    for (const host of [second, third]) {
      const agent = lab.agent(host, { ...found, join: [first] });
      await agent.waitHealthy({ peers: 1 });
      expect(await underlayOf(agent)).toBe(host.address);
    }
  });
});

story("hosts whose address is on lo, with two uplinks", () => {
  const NARROW = 1400;
  const own = (n: number) => `203.0.113.${n}`;
  let [a, b]: Host[] = [];
  let agents: [LabAgent, LabAgent];

  /** `eth0`, of 1500 bytes, and `up1`, of fewer, carry packets between them at the same cost. */
  beforeEach(async () => {
    [a, b] = [await lab.host("a"), await lab.host("b")];
    await a!.ip(`link add up1 type veth peer name up1 netns ${b!.namespace}`);
    for (const [host, other, n] of [
      [a!, b!, 1],
      [b!, a!, 2],
    ] as const) {
      await host.ip(
        `link set up1 mtu ${NARROW} addrgenmode none`,
        `addr add 10.1.0.${n}/24 dev up1`,
        "link set up1 up",
        `addr add ${own(n)}/32 dev lo`,
      );
      await host.ip(
        `route add ${own(3 - n)} src ${own(n)} nexthop via ${other.address} nexthop via 10.1.0.${3 - n}`,
      );
    }
    const options = (n: number, ...flags: string[]): AgentOptions => ({
      underlay: "found",
      flags: ["--underlay", own(n), ...DUAL_STACK, ...flags],
    });
    const first = lab.agent(a!, options(1));
    await first.waitHealthy();
    const second = lab.agent(b!, options(2, "--join", own(1)));
    await second.waitHealthy({ peers: 1 });
    await first.waitHealthy({ peers: 1 });
    agents = [first, second];
  });

  const setUplink = (mtu: number) =>
    Promise.all([a!, b!].map((host) => host.ip(`link set up1 mtu ${mtu}`)));
  const mtus = async () => {
    const of = async (agent: LabAgent) => {
      const [peer] = (await peersOf({ agent })).values();
      return [(await agent.status())?.mtu, peer?.mtu];
    };
    return (await Promise.all(agents.map(of))).flat();
  };
  const devices = async () => {
    const shown = await Promise.all(
      [a!, b!].map((host) => host.exec(["ip", "-j", "address", "show", "dev", "weft0"])),
    );
    return shown.map((text) => JSON.parse(text)[0]);
  };

  it("have the MTU of the narrower uplink inside, and follow it while TCP flows", async () => {
    const all = (mtu: number) => [mtu, mtu, mtu, mtu];
    await expect.poll(mtus, { timeout: MTU_WITHIN_MS }).toEqual(all(NARROW - 50));
    const addresses = await Promise.all(agents.map(async (it) => (await it.status())!.address));
    for (const mtu of [1300, NARROW]) {
      const flows = Promise.all([
        transfer(a!, b!, addresses[1]!, BYTES),
        transfer(b!, a!, addresses[0]!, BYTES),
      ]);
      await setUplink(mtu);
      await flows;
      await expect.poll(mtus, { timeout: 2 * MTU_WITHIN_MS }).toEqual(all(mtu - 50));
    }
    for (const { mtu, addr_info } of await devices()) {
      expect(mtu).toBe(NARROW - 50);
      expect(addr_info.map((it: { local: string }) => it.local).join()).not.toContain("fe80");
      expect(addr_info).toHaveLength(2);
    }
    for (const agent of agents) await agent.waitHealthy({ peers: 1 });
  });
});
