import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, agentsOn, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { seen, serve } from "./whoami.js";
import { Workload } from "./workload.js";

const FAMILIES = [4, 6] as const;
const EGRESS = { 4: "192.0.2.250", 6: "2001:db8:1::fa" } as const;
/** A dead gateway is found by the failure detector; the rest is for a machine that is shared. */
const TAKES_OVER = { timeout: 60_000, interval: 250 };

story("workloads that leave through a gateway", () => {
  let lab: Lab;
  let first: Node;
  let second: Node;
  let outside: Host;
  let workload: Workload;

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("s"), await lab.host("g1"), await lab.host("g2")];
    outside = await lab.host("x");
    for (const host of hosts) {
      await host.sysctl("net/ipv4/ip_forward", 1);
      await host.sysctl("net/ipv6/conf/all/forwarding", 1);
      for (const it of ["all", "default", "eth0"])
        await host.sysctl(`net/ipv4/conf/${it}/rp_filter`, 1);
    }
    const nodes = await agentsOn(lab, hosts, ({ name }) => ({
      flags: [
        ...DUAL_STACK,
        ...(name === "s" ? ["--through-core", "--workload-interfaces", "veth*"] : []),
      ],
    }));
    const source = nodes[0]!;
    [first, second] = nodes.slice(1) as [Node, Node];
    workload = await Workload.start(source.host, "veth1", {
      address: addressOf(source, 4).replace(/\d+$/, "5"),
      address6: addressOf(source, 6).replace(/[0-9a-f]+$/, "5"),
    });
    for (const protocol of ["tcp", "udp"] as const) await serve(outside, protocol, 7, "world");
    const document = {
      egress: FAMILIES.map((family) => ({
        from: [family === 4 ? `${workload.address}/32` : `${workload.address6}/128`],
        to: [family === 4 ? "0.0.0.0/0" : "::/0"],
        via: ["g1", "g2"],
        address: EGRESS[family],
      })),
    };
    const file = join(lab.folder, "nat.json");
    writeFileSync(file, JSON.stringify(document));
    const { code, stderr } = await source.agent.weft("nat", "apply", file, "--wait", "20");
    expect(code, stderr).toBe(0);
  });
  afterAll(() => lab?.close());

  const macOf = async (host: Host): Promise<string> =>
    (await host.exec(["cat", "/sys/class/net/eth0/address"])).trim();
  /** The MAC address that the outside host has for the egress address. */
  const known = async (family: 4 | 6): Promise<string | undefined> => {
    const shown = await outside.exec(["ip", "neigh", "show", "to", EGRESS[family]]);
    return /lladdr (\S+)/.exec(shown)?.[1];
  };
  const there = (family: 4 | 6) => (family === 4 ? outside.address : outside.address6);

  for (const family of FAMILIES) {
    it(`have the fixed address outside, by the first gateway (IPv${family})`, async () => {
      for (const protocol of ["tcp", "udp"] as const) {
        const answer = () => seen(workload, protocol, there(family), 7);
        await expect.poll(answer, TAKES_OVER).toBe(`world sees ${EGRESS[family]}`);
      }
      expect(await known(family)).toBe(await macOf(first.host));
    });
  }

  it("have it by the next one once that is dead", async () => {
    await first.agent.kill("SIGKILL");
    for (const family of FAMILIES) {
      const answer = () => seen(workload, "tcp", there(family), 7);
      await expect.poll(answer, TAKES_OVER).toBe(`world sees ${EGRESS[family]}`);
      expect(await known(family)).toBe(await macOf(second.host));
    }
  }, 120_000);

  it("send nothing outside once no gateway lives", async () => {
    await second.agent.kill("SIGKILL");
    const { agent } = second;
    expect(agent.process.ended).toBe(true);
    for (const family of FAMILIES) expect(await seen(workload, "tcp", there(family), 7)).toBe("");
  });
});
