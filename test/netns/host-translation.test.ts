import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, agentsOn, DUAL_STACK, type Node, traces } from "./cluster.js";
import { story } from "./story.js";
import { seen, serve } from "./whoami.js";
import { Workload } from "./workload.js";

/** The agent looks every 5 s; the rest is for a machine that is shared. */
const HEALS = { timeout: 30_000, interval: 250 };
const FAMILIES = [4, 6] as const;
const SERVICES = ["10.96.0.10", "fd00:96::10"];

story("what a translation document asks of a host", () => {
  let lab: Lab;
  let client: Host;
  let a: Node;
  let b: Node;
  let before: string;
  let web: Workload;
  let number = 0;

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b")];
    client = await lab.host("c");
    for (const host of hosts) {
      await host.sysctl("net/ipv4/ip_forward", 1);
      await host.sysctl("net/ipv6/conf/all/forwarding", 1);
      // Linux answers a workload for its gateway only if it has a route to it.
      await host.ip("route add default via 192.0.2.99 dev eth0 onlink");
    }
    before = await traces(hosts[0]!);
    [a, b] = (await agentsOn(lab, hosts, () => ({ flags: DUAL_STACK }))) as [Node, Node];
    web = await Workload.start(b.host, "veth1", {
      address: addressOf(b, 4).replace(/\d+$/, "20"),
      address6: addressOf(b, 6).replace(/\d+$/, "20"),
    });
    for (const protocol of ["tcp", "udp"] as const) await serve(web, protocol, 80, "web");
  });
  afterAll(() => lab?.close());

  const apply = async (document: object) => {
    const file = join(lab.folder, `nat-${++number}.yaml`);
    writeFileSync(file, JSON.stringify(document));
    const { code, stderr } = await a.agent.weft("nat", "apply", file, "--wait", "20");
    expect(code, stderr).toBe(0);
  };
  const to = (family: 4 | 6) => (family === 4 ? `${web.address}:80` : `[${web.address6}]:80`);
  const ports = FAMILIES.flatMap((family) =>
    ["tcp", "udp"].map((protocol) => ({ protocol, family })),
  );
  const PUBLISHED = () => ({
    ports: ports.map(({ protocol, family }) => ({
      protocol,
      address: "host:a",
      port: 8080,
      to: to(family),
    })),
  });
  const table = async () => (await a.host.run(["nft", "list", "table", "inet", "weft"])).stdout;
  const hostAddress = (family: 4 | 6) => (family === 4 ? a.host.address : a.host.address6);
  const problems = async () => (await a.agent.status())?.problems;

  it("ports of a workload of another node, which answers to this node's address", async () => {
    await apply(PUBLISHED());
    await expect.poll(table, HEALS).toContain("dport 8080");
    for (const { protocol, family } of ports) {
      for (const from of [client, a.host]) {
        const answer = () => seen(from, protocol as "tcp", hostAddress(family), 8080);
        await expect.poll(answer, HEALS).toBe(`web sees ${addressOf(a, family)}`);
      }
    }
    expect(await problems()).toEqual([]);
    expect((await b.host.run(["nft", "list", "table", "inet", "weft"])).stdout).toBe("");
  });

  it("are published again after others removed them", async () => {
    await a.host.exec(["nft", "flush", "ruleset"]);
    await expect.poll(table, HEALS).toContain("dport 8080");
  });

  it("ports of its own workload are not published without --through-core, and it says why", async () => {
    await apply({
      ports: [{ protocol: "tcp", address: "host:a", port: 9, to: `${addressOf(a, 4)}:80` }],
    });
    const said = async () => (await problems())?.join("\n");
    await expect.poll(said, HEALS).toContain("the port 9/tcp (IPv4) is not published");
    expect(await said()).toContain("start weft with --through-core");
    expect(await table()).toBe("");
  });

  it("the addresses of services lead to the device, and nowhere without it", async () => {
    const service = (address: string, backend: string) => ({
      name: address.includes(":") ? "web6" : "web4",
      protocol: "tcp",
      address,
      port: 80,
      backends: [backend],
    });
    await apply({ services: SERVICES.map((it, i) => service(it, to(FAMILIES[i]!))) });
    for (const address of SERVICES) {
      const route = async () =>
        (await a.host.run(["ip", "route", "get", address])).stdout.includes("dev weft0");
      await expect.poll(route, HEALS).toBe(true);
    }
    expect(await a.host.exec(["ip", "route", "show", "type", "unreachable"])).toContain(
      "unreachable 10.96.0.10",
    );
    expect(await problems()).toEqual([]);
  });

  it("workloads reach the world by the host's address", async () => {
    await apply({ masquerade: ["outside"] });
    await expect
      .poll(async () => (await b.host.run(["nft", "list", "table", "inet", "weft"])).stdout, HEALS)
      .toContain("masquerade");
    for (const family of FAMILIES) {
      const world = family === 4 ? client.address : client.address6;
      await serve(client, "tcp", 7 + family, "world", world);
      const own = family === 4 ? b.host.address : b.host.address6;
      expect(await seen(web, "tcp", world, 7 + family)).toBe(`world sees ${own}`);
    }
  });

  it("the living gateway answers for the outside address of an egress rule", async () => {
    const egress = (via: string[]) => ({
      egress: FAMILIES.map((family) => ({
        from: [family === 4 ? "10.244.0.0/16" : "fd00:244::/48"],
        to: [family === 4 ? "0.0.0.0/0" : "::/0"],
        via,
        address: family === 4 ? "192.0.2.250" : "2001:db8:1::fa",
      })),
    });
    const proxies = (of: Node) => async () =>
      (await of.host.exec(["ip", "neigh", "show", "proxy"])).split("\n").length - 1;
    await apply(egress(["a", "b"]));
    await expect.poll(proxies(a), HEALS).toBe(2);
    expect(await proxies(b)()).toBe(0);
    await apply(egress(["b", "a"]));
    await expect.poll(proxies(b), HEALS).toBe(2);
    await expect.poll(proxies(a), HEALS).toBe(0);
    await b.agent.kill("SIGKILL");
    await expect.poll(proxies(a), HEALS).toBe(2);
  }, 120_000);

  it("all of it is gone after the stop", async () => {
    await apply({ ...PUBLISHED(), masquerade: ["outside"] });
    await expect.poll(table, HEALS).toContain("masquerade");
    expect((await a.agent.kill()).code).toBe(0);
    await a.host.sysctl("net/ipv6/conf/eth0/proxy_ndp", 0);
    expect(await traces(a.host)).toBe(before);
  });
});
