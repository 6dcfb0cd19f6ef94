/** Two sites behind two nodes that use the same addresses, each of which the overlay knows by others. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { addressOf, agentsOn, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { seen, serve } from "./whoami.js";
import { Workload } from "./workload.js";

/** The addresses of each site, and of the host in it. */
const SITE = { 4: "10.1.0.0/28", 6: "fd01::/120" };
const INSIDE = { 4: "10.1.0.5", 6: "fd01::5" };
const FAMILIES = [4, 6] as const;
const PORT = 80;

story("two sites with the same addresses", () => {
  let lab: Lab;
  let a: Node;
  let b: Node;
  const sites = new Map<Node, Workload>();

  /** The address by which the overlay knows the host in the site of a node, or the prefix of the site. */
  const overlay = (node: Node, family: 4 | 6, host: "host" | "prefix" = "host") => {
    const own = addressOf(node, family);
    if (family === 4) return own.replace(/\d+$/, host === "host" ? "69" : "64/28");
    return own.replace(/[0-9a-f]+$/, host === "host" ? "4005" : "4000/120");
  };
  const [inA, inB] = [() => sites.get(a)!, () => sites.get(b)!];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b")];
    for (const host of hosts) {
      await host.sysctl("net/ipv4/ip_forward", 1);
      await host.sysctl("net/ipv6/conf/all/forwarding", 1);
      await host.ip("route add default dev eth0");
    }
    [a, b] = (await agentsOn(lab, hosts, () => ({ flags: DUAL_STACK }))) as [Node, Node];
    for (const node of [a, b]) {
      const site = { address: INSIDE[4], address6: INSIDE[6] };
      sites.set(node, await Workload.start(node.host, "site", site));
      for (const protocol of ["tcp", "udp"] as const) {
        await serve(sites.get(node)!, protocol, PORT, node.status.name);
      }
    }
    const rules = [a, b].flatMap((node) =>
      FAMILIES.map(
        (family) => `  - { from: "${SITE[family]}", to: "${overlay(node, family, "prefix")}" }`,
      ),
    );
    const file = join(lab.folder, "nat.yaml");
    writeFileSync(file, ["netmap:", ...rules, ""].join("\n"));
    const { code, stderr } = await a.agent.weft("nat", "apply", file, "--wait");
    expect(code, stderr).toBe(0);
  });

  afterAll(() => lab?.close());

  it.each(FAMILIES)("reach each other by the overlay's addresses, IPv%i", async (family) => {
    for (const protocol of ["tcp", "udp"] as const) {
      const there = await seen(inA(), protocol, overlay(b, family), PORT);
      expect(there).toBe(`b sees ${overlay(a, family)}`);
      const back = await seen(inB(), protocol, overlay(a, family), PORT);
      expect(back).toBe(`a sees ${overlay(b, family)}`);
    }
    expect(await inA().reaches(overlay(b, family))).toBe(true);
  });

  it("are reached by hosts of the overlay, which see the overlay's address too", async () => {
    expect(await seen(b.host, "tcp", overlay(a, 4), PORT)).toBe(`a sees ${b.status.address}`);
    expect(await seen(inB(), "tcp", overlay(a, 4), PORT)).toBe(`a sees ${overlay(b, 4)}`);
  });

  it("see each hop of the way, by addresses of their own side", async () => {
    const { stdout } = await inA().run(["traceroute", "-n", "-q", "1", "-w", "2", overlay(b, 4)]);
    const hops = stdout
      .split("\n")
      .slice(1)
      .flatMap((line) => line.trim().split(/\s+/)[1] ?? []);
    // The host and the core of a, then the host of b, whose error is translated as its packets are.
    expect(hops.length, stdout).toBeGreaterThanOrEqual(3);
    expect(hops, stdout).toContain(a.status.address);
    expect(hops.at(-1), stdout).toBe(overlay(b, 4));
    expect(stdout).not.toContain(INSIDE[4]);
  });

  it.each(FAMILIES)("learn the path MTU of the tunnel, IPv%i", async (family) => {
    const flags = ["-M", "do", "-s", "1440", "-c", "2", "-W", "2"];
    const { stdout, stderr } = await inA().run(["ping", "-n", ...flags, overlay(b, family)]);
    expect(stdout + stderr).toMatch(/mtu.? ?= ?1450/i);
  });
});
