import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { hostState } from "../host/state.js";
import { traces } from "./cluster.js";
import { story } from "./story.js";
import { Workload } from "./workload.js";

const FLAGS = ["--network", "10.244.0.0/16,fd00:244::/48", "--through-core"];
const PATTERNS = ["--workload-interfaces", "veth*,cali*"];
/** The agent looks every 5 s; the rest is for a machine that is shared. */
const HEALS = { timeout: 30_000, interval: 250 };

story("an agent that leads its workloads' packets through the core", () => {
  let lab: Lab;
  let host: Host;
  let before: string;
  let agent: ReturnType<Lab["agent"]>;

  const start = () => {
    agent = lab.agent(host, { flags: [...FLAGS, ...PATTERNS] });
    return agent.waitHealthy();
  };
  const rules = async () => {
    const shown = [4, 6].map((family) => host.exec(["ip", `-${family}`, "rule"]));
    return (await Promise.all(shown)).join("");
  };
  /** Packets that the host has sent to the device. */
  const toDevice = async () =>
    Number(await host.exec(["cat", "/sys/class/net/weft0/statistics/tx_packets"]));

  beforeAll(async () => {
    lab = await Lab.open();
    host = await lab.host("a");
    await host.sysctl("net/ipv4/ip_forward", 1);
    await host.sysctl("net/ipv6/conf/all/forwarding", 1);
    await host.sysctl("net/ipv4/conf/all/rp_filter", 1);
    await host.ip("route add default via 192.0.2.99 dev eth0 onlink");
    before = await traces(host);
    await start();
  });
  afterAll(() => lab?.close());

  const addresses = (n: number) => ({ address: `10.244.0.${n}`, address6: `fd00:244::${n}` });

  it("gives the interface of a new workload its rule at once", async () => {
    const one = await Workload.start(host, "veth1", addresses(5));
    const two = await Workload.start(host, "cali2", addresses(6));
    await expect.poll(rules, { timeout: 4_000, interval: 50 }).toContain("iif cali2");
    expect(await rules()).toContain("iif veth1");
    const sent = await toDevice();
    for (const to of [two.address, two.address6, "198.51.100.1"]) await one.reaches(to, 2);
    expect((await toDevice()) - sent).toBeGreaterThanOrEqual(6);
    await two.process.stop();
    await expect.poll(rules, HEALS).not.toContain("iif cali2");
    await one.process.stop();
    await expect.poll(rules, HEALS).not.toContain("iif veth1");
  });

  it("restores rules and routes that others remove", async () => {
    const whole = await hostState(host);
    for (const line of [
      "rule del pref 102",
      "-6 rule del pref 100",
      "rule del pref 104",
      "route flush table 6784",
    ])
      await host.exec(["ip", ...line.split(" ")]);
    await expect.poll(() => hostState(host), HEALS).toEqual(whole);
  });

  it("refuses packets of workloads while it is dead, and takes up what it left", async () => {
    const whole = await hostState(host);
    const one = await Workload.start(host, "veth1", addresses(5));
    await expect.poll(rules, HEALS).toContain("iif veth1");
    await agent.kill("SIGKILL");
    const get = ["ip", "route", "get", "198.51.100.1", "from", one.address, "iif", "veth1"];
    expect((await host.run(get)).stderr).toContain("No route to host");
    await one.process.stop();
    await start();
    await expect.poll(() => hostState(host), HEALS).toEqual(whole);
  });

  it("takes away everything when it stops in order", async () => {
    expect((await agent.kill()).code).toBe(0);
    expect(await traces(host)).toBe(before);
  });

  it("takes away what a killed one left when it starts without the flag", async () => {
    await start();
    await agent.kill("SIGKILL");
    expect(await rules()).toContain("lookup 6784");
    agent = lab.agent(host, { flags: FLAGS.slice(0, 2) });
    await agent.waitHealthy();
    await expect.poll(rules, HEALS).not.toContain("6784");
    expect((await agent.kill()).code).toBe(0);
    expect(await traces(host)).toBe(before);
  });

  it("does not start where others use its rule priorities, and names them", async () => {
    await host.ip("rule add pref 103 from 10.9.0.0/16 lookup main");
    agent = lab.agent(host, { flags: [...FLAGS, ...PATTERNS] });
    const { code, stderr } = await agent.process.finish(20_000);
    expect(code).toBe(1);
    expect(stderr).toContain('rule "pref 103 from 10.9.0.0/16 lookup main"');
    await host.ip("rule del pref 103 from 10.9.0.0/16 lookup main");
    expect(await traces(host)).toBe(before);
  });
});
