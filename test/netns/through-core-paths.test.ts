import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Explained, FlowRow, Status } from "../../src/http/view.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, agentsOn, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { seen, serve } from "./whoami.js";
import { Workload } from "./workload.js";

const FLAGS = [...DUAL_STACK, "--through-core", "--workload-interfaces", "veth*,cali*"];
const FAMILIES = [4, 6] as const;
/** The port of all servers, and the port of a host that leads to one of them. */
const PORT = 80;
const PUBLISHED = 8080;

/** Tables as Docker makes them, and a stateful firewall that drops unknown packets. */
const OTHERS = `
table ip nat {
  chain DOCKER { }
  chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local jump DOCKER; }
  chain POSTROUTING { type nat hook postrouting priority srcnat;
    ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
}
table inet firewall {
  chain forward { type filter hook forward priority filter; policy accept;
    ct state invalid drop; ct state established,related accept; }
}`;

type Path = {
  readonly from: string;
  readonly to: string;
  /** Whether the packets meet the core of a, and so its policy. */
  readonly covered: boolean;
  /** The same without --through-core. */
  readonly alone: boolean;
};

const DENIED = "denied";
/** The reason that `explain` gives where the core does not see the packets. */
const ALWAYS = "a node always reaches its workloads";
const BY_HOST = "the host routes packets between its workloads, and between them and the outside";

const PATHS: readonly Path[] = [
  { from: "workload", to: "neighbour", covered: true, alone: false },
  { from: "neighbour", to: "workload", covered: true, alone: false },
  { from: "workload", to: "remote", covered: true, alone: true },
  { from: "remote", to: "workload", covered: true, alone: true },
  { from: "workload", to: "outside", covered: true, alone: false },
  { from: "outside", to: "workload", covered: true, alone: false },
  { from: "workload", to: "remoteHost", covered: true, alone: true },
  { from: "remoteHost", to: "workload", covered: true, alone: true },
  { from: "host", to: "workload", covered: false, alone: false },
  { from: "workload", to: "host", covered: false, alone: false },
];

story("every packet of a workload passes the core", () => {
  let lab: Lab;
  let a: Node;
  let b: Node;
  let outside: Host;
  const places = new Map<string, Host | Workload>();
  const addresses = new Map<string, { 4: string; 6: string }>();

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b")];
    outside = await lab.host("c");
    const others = join(lab.folder, "others.nft");
    writeFileSync(others, OTHERS);
    for (const host of hosts) {
      await host.sysctl("net/ipv4/ip_forward", 1);
      await host.sysctl("net/ipv6/conf/all/forwarding", 1);
      for (const it of ["all", "default", "eth0"])
        await host.sysctl(`net/ipv4/conf/${it}/rp_filter`, 1);
      await host.ip(
        `route add default via ${outside.address} dev eth0`,
        `route add default via ${outside.address6} dev eth0`,
      );
      await host.exec(["nft", "-f", others]);
    }
    [a, b] = (await agentsOn(lab, hosts, () => ({ flags: FLAGS }))) as [Node, Node];
    const workload = (node: Node, device: string, number: number) =>
      Workload.start(node.host, device, {
        address: addressOf(node, 4).replace(/\d+$/, `${number}`),
        address6: addressOf(node, 6).replace(/[0-9a-f]+$/, `${number}`),
      });
    const all = { workload: [a, "veth1", 5], neighbour: [a, "cali2", 6], remote: [b, "veth3", 7] };
    for (const [name, [node, device, number]] of Object.entries(all)) {
      const one = await workload(node as Node, device as string, number as number);
      places.set(name, one);
      addresses.set(name, { 4: one.address, 6: one.address6 });
    }
    places.set("host", a.host).set("remoteHost", b.host).set("outside", outside);
    addresses.set("host", { 4: a.host.address, 6: a.host.address6 });
    addresses.set("remoteHost", { 4: addressOf(b, 4), 6: addressOf(b, 6) });
    addresses.set("outside", { 4: outside.address, 6: outside.address6 });
    for (const prefix of a.status.leases) {
      const via = prefix.includes(":") ? a.host.address6 : a.host.address;
      await outside.ip(`route add ${prefix} via ${via}`);
    }
    for (const [name, place] of places) await serve(place, "tcp", PORT, name);
  });
  afterAll(() => lab?.close());

  const answers = async ({ from, to }: Path, family: 4 | 6): Promise<boolean> =>
    (await seen(places.get(from)!, "tcp", addresses.get(to)![family], PORT)).startsWith(to);
  const apply = async (kind: "policy" | "nat", document: object) => {
    const file = join(lab.folder, `${kind}.json`);
    writeFileSync(file, JSON.stringify(document));
    const { code, stderr } = await a.agent.weft(kind, "apply", file, "--wait", "20");
    expect(code, stderr).toBe(0);
  };
  /** Whether the core of a has a connection to the server. */
  const met = async ({ from, to }: Path, family: 4 | 6): Promise<boolean> => {
    const rows = (await a.agent.get<FlowRow[]>("/v1/flows")) ?? [];
    const [source, destination] = [from, to].map((it) => addresses.get(it)![family]);
    return rows.some(
      ({ src, dst, dport }) => src === source && dst === destination && dport === PORT,
    );
  };

  const explain = async (src: string, dst: string): Promise<Explained> => {
    const argv = ["explain", "--src", src, "--dst", dst, "--dport", `${PORT}`, "-o", "json"];
    return JSON.parse((await a.agent.weft(...argv)).stdout) as Explained;
  };
  /** The end of an explanation: that policy denies the packet, or the reason why the core does not see it. */
  const explained = async ({ from, to }: Path, family: 4 | 6): Promise<string> => {
    const [src, dst] = [from, to].map((it) => addresses.get(it)![family]) as [string, string];
    const answer = await explain(src, dst);
    const { verdict, reason = "", unseen } = [answer, ...answer.further].at(-1)!;
    if (reason.startsWith("denied-")) return DENIED;
    const why = [ALWAYS, BY_HOST].find((it) => unseen?.why.includes(it));
    return verdict === "not-carried" && why ? why : JSON.stringify({ verdict, reason, unseen });
  };

  it("once each workload interface has its rule", async () => {
    const rules = () => a.host.exec(["ip", "-6", "rule"]);
    await expect.poll(rules, { timeout: 10_000 }).toContain("iif cali2");
    const others = () => b.host.exec(["ip", "-6", "rule"]);
    await expect.poll(others, { timeout: 10_000 }).toContain("iif veth3");
  });

  describe.each(FAMILIES)("IPv%i", (family) => {
    it.each(PATHS)("$from to $to: answered; met by the core: $covered", async (path) => {
      expect(await answers(path, family)).toBe(true);
      expect(await met(path, family)).toBe(path.covered);
    });
  });

  describe("beside what the kernel translates", () => {
    beforeAll(async () => {
      const to = addresses.get("workload")!;
      const port = (protocol: string, at: string) => ({
        protocol,
        address: "host:a",
        port: PUBLISHED,
        to: at,
      });
      await apply("nat", {
        masquerade: ["outside"],
        ports: ["tcp", "udp"].flatMap((it) => [
          port(it, `${to[4]}:${PORT}`),
          port(it, `[${to[6]}]:${PORT}`),
        ]),
      });
      await serve(places.get("workload")!, "udp", PORT, "workload");
    });

    it("once both hosts have their tables", async () => {
      for (const { host } of [a, b]) {
        const table = async () => (await host.run(["nft", "list", "ruleset"])).stdout;
        await expect.poll(table, { timeout: 10_000 }).toContain("masquerade fully-random");
      }
    });

    describe.each(FAMILIES)("IPv%i", (family) => {
      const at = (name: string) => addresses.get(name)![family];
      const hostOf = ({ host }: Node) => (family === 4 ? host.address : host.address6);

      it.each(["outside", "host", "neighbour"])(
        "a published port shows the workload the address of: %s",
        async (from) => {
          for (const protocol of ["tcp", "udp"] as const) {
            const answer = await seen(places.get(from)!, protocol, hostOf(a), PUBLISHED);
            expect(answer).toBe(`workload sees ${at(from)}`);
          }
        },
      );

      it("a published port shows a workload of another node with the address of its host", async () => {
        const answer = await seen(places.get("remote")!, "tcp", hostOf(a), PUBLISHED);
        expect(answer).toBe(`workload sees ${hostOf(b)}`);
      });

      it("the outside sees the host's address, and a workload that of the outside", async () => {
        const out = await seen(places.get("workload")!, "tcp", at("outside"), PORT);
        expect(out).toBe(`outside sees ${hostOf(a)}`);
        const back = await seen(outside, "tcp", at("workload"), PORT);
        expect(back).toBe(`workload sees ${at("outside")}`);
      });
    });
  });

  describe("where policy denies all that the workload sends and gets", () => {
    beforeAll(async () => {
      const { 4: four, 6: six } = addresses.get("workload")!;
      const all = [{ action: "deny" }];
      await apply("policy", {
        policies: [
          { name: "none", applies: [`${four}/32`, `${six}/128`], ingress: all, egress: all },
        ],
      });
    });

    describe.each(FAMILIES)("IPv%i", (family) => {
      it.each(PATHS)("$from to $to: refused: $covered", async (path) => {
        expect(await answers(path, family)).toBe(!path.covered);
        expect(await explained(path, family)).toEqual(path.covered ? DENIED : ALWAYS);
      });

      it.each([
        ["outside", true],
        ["neighbour", true],
        ["host", false],
      ] as const)("a published port from %s: refused: %s", async (from, isRefused) => {
        const at = family === 4 ? a.host.address : a.host.address6;
        const answer = await seen(places.get(from)!, "tcp", at, PUBLISHED);
        expect(answer.startsWith("workload")).toBe(!isRefused);
      });
    });

    it("explain names an interface that no pattern matches, and a link of two workloads", async () => {
      const at = (n: number) => addressOf(a, 4).replace(/\d+$/, `${n}`);
      const other = await Workload.start(a.host, "other8", {
        address: at(8),
        address6: addressOf(a, 6).replace(/[0-9a-f]+$/, "8"),
      });
      await a.host.ip(
        "link add br0 type bridge",
        "link set br0 up",
        `route add ${at(128)}/25 dev br0`,
      );
      const out = await explain(other.address, outside.address);
      expect(out).toMatchObject({
        verdict: "not-carried",
        host: { to: "refused" },
        unseen: { remedy: "add other8 to --workload-interfaces" },
      });
      expect(await explain(at(129), at(130))).toMatchObject({
        verdict: "not-carried",
        host: { to: "device", device: "br0" },
        unseen: { remedy: "give each workload an interface of its own" },
      });
      await a.host.ip("link del br0");
      await other.process.stop();
    });

    it("status names what the core does not see", async () => {
      const { coverage, notes } = (await a.agent.get<Status>("/v1/status"))!;
      const device = { device: "veth1", isLed: true };
      for (const family of FAMILIES) {
        const prefix = `${addresses.get("workload")![family]}/${family === 4 ? 32 : 128}`;
        expect(coverage.workloads).toContainEqual({ prefix, ...device });
      }
      expect(notes.join()).toContain(ALWAYS);
      expect(notes.join()).not.toContain(BY_HOST);
    });
  });

  describe("without --through-core, where policy denies the same", () => {
    beforeAll(async () => {
      // Ports of the host are published only with --through-core.
      await apply("nat", { services: [] });
      await a.agent.kill();
      const agent = lab.agent(a.host, { flags: DUAL_STACK, join: [b.host] });
      a = { host: a.host, agent, status: await agent.waitHealthy({ peers: 1 }) };
    }, 90_000);

    describe.each(FAMILIES)("IPv%i", (family) => {
      it.each(PATHS)("$from to $to: refused: $alone", async (path) => {
        expect(await answers(path, family)).toBe(!path.alone);
        const why = path.covered ? BY_HOST : ALWAYS;
        expect(await explained(path, family)).toEqual(path.alone ? DENIED : why);
      });
    });

    it("status and policy apply name what the core does not see", async () => {
      const { coverage, notes } = (await a.agent.get<Status>("/v1/status"))!;
      expect(coverage.throughCore).toBe(false);
      const said = `${BY_HOST}, and weft does not see them: start weft with --through-core`;
      expect(notes.join()).toContain(said);
      const file = join(lab.folder, "policy.json");
      expect((await a.agent.weft("policy", "apply", file, "--dry-run")).stderr).toContain(said);
    });
  });
});
