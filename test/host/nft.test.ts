import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { seen, serve } from "../netns/whoami.js";
import { Workload } from "../netns/workload.js";
import { inside, onHosts } from "./inside.js";

/** The state directories of two agents. */
const [STATE, OTHER_STATE] = ["one", "two"];
const FAMILIES = [4, 6] as const;
const WORLD = { 4: "198.51.100.1", 6: "2001:db8:99::1" } as const;

onHosts("the kernel's part of address translation", () => {
  let lab: Lab;
  let host: Host;
  let client: Host;
  let web: Workload;

  beforeAll(async () => {
    lab = await Lab.open();
    for (const it of [STATE, OTHER_STATE]) mkdirSync(join(lab.folder, it));
    host = await lab.host("h");
    client = await lab.host("c");
    await host.sysctl("net/ipv4/ip_forward", 1);
    await host.sysctl("net/ipv6/conf/all/forwarding", 1);
    // An outside address that knows no way back to the overlay.
    await client.ip(
      `address add ${WORLD[4]}/32 dev lo`,
      `address add ${WORLD[6]}/128 dev lo nodad`,
    );
    await host.ip(
      `route add default via ${client.address} dev eth0`,
      `route add default via ${client.address6} dev eth0`,
      "tuntap add dev weft0 mode tun",
      "address add 10.244.1.1/32 dev weft0",
      "link set weft0 addrgenmode none up",
    );
    web = await Workload.start(host, "veth1", {
      address: "10.244.1.20",
      address6: "fd00:244:0:1::20",
    });
    for (const protocol of ["tcp", "udp"] as const) {
      await serve(web, protocol, 80, "web");
      for (const family of FAMILIES) await serve(client, protocol, 7, "world", WORLD[family]);
    }
  });
  afterAll(() => lab?.close());

  /** Runs code in a process of its own, as a later agent would. */
  const run = (steps: string, state = STATE) =>
    inside<string[]>(
      host,
      `const { HostNat } = await weft("host/nft.js");
       const { execFileSync } = await import("node:child_process");
       const nft = (...words) => execFileSync("nft", words, { encoding: "utf8" });
       const nat = new HostNat("${join(lab.folder, state)}", { port: 4789, meshPort: 6783 });
       const port = (protocol, port, to) => {
         const value = address(to);
         return { protocol, family: value.family, port, to: { address: value, port: 80 } };
       };
       const PORTS = [6, 17].flatMap((it) =>
         [port(it, 8080, "10.244.1.20"), port(it, 8080, "fd00:244:0:1::20")]);
       const set = (given) => nat.set({
         device: "weft0", network: ["10.244.0.0/16", "fd00:244::/48"].map(prefix),
         leases: ["10.244.1.0/24", "fd00:244:0:1::/64"].map(prefix),
         addresses: ["10.244.1.1", "fd00:244:0:1::1"].map(address),
         ports: [], masqueradeOutside: false, interfaces: undefined, ...given,
       });
       ${steps}`,
    );
  /** No packet comes from a workload by way of the device here, so there is no zone for an interface. */
  const ALL = `{ ports: PORTS, masqueradeOutside: true, interfaces: [] }`;
  const table = async () => (await host.run(["nft", "list", "table", "inet", "weft"])).stdout;
  const addressOf = (of: Host, family: 4 | 6) => (family === 4 ? of.address : of.address6);

  it("is no table where nothing is to be translated", async () => {
    expect(await run("return set({});")).toEqual({ value: [] });
    expect(await table()).toBe("");
  });

  for (const family of FAMILIES) {
    it(`publishes ports of a workload, which sees the client's address (IPv${family})`, async () => {
      expect(await run(`return set(${ALL});`)).toEqual({ value: [] });
      for (const protocol of ["tcp", "udp"] as const) {
        const answer = await seen(client, protocol, addressOf(host, family), 8080);
        expect(answer).toBe(`web sees ${addressOf(client, family)}`);
        // Programs of the host itself reach it too.
        const own = await seen(host, protocol, addressOf(host, family), 8080);
        expect(own).toBe(`web sees ${addressOf(host, family)}`);
      }
    });

    it(`lets workloads reach the world by the host's address (IPv${family})`, async () => {
      await run(`return set(${ALL});`);
      for (const protocol of ["tcp", "udp"] as const) {
        expect(await seen(web, protocol, WORLD[family], 7)).toBe(
          `world sees ${addressOf(host, family)}`,
        );
      }
      await run("return set({});");
      expect(await seen(web, "tcp", WORLD[family], 7)).toBe("");
    });
  }

  it("publishes nothing at the addresses of loopback and overlay", async () => {
    await run(`return set(${ALL});`);
    for (const at of ["127.0.0.1", "::1", "10.244.1.1"])
      expect(await seen(host, "tcp", at, 8080)).toBe("ECONNREFUSED");
  });

  it("is made again when others change or remove it", async () => {
    const steps = `
      await set(${ALL});
      const whole = nft("list", "table", "inet", "weft");
      const after = [];
      for (const words of ["flush chain inet weft ports", "delete table inet weft", "add rule inet weft postrouting accept", "flush ruleset"]) {
        nft(...words.split(" "));
        await set(${ALL});
        after.push(nft("list", "table", "inet", "weft") === whole);
      }
      return after;`;
    expect(await run(steps)).toEqual({ value: [true, true, true, true] });
  });

  it("is not touched while it is as it was made", async () => {
    const steps = `
      await set(${ALL});
      const handles = nft("-a", "list", "table", "inet", "weft");
      await set(${ALL});
      return [handles === nft("-a", "list", "table", "inet", "weft")];`;
    expect(await run(steps)).toEqual({ value: [true] });
  });

  it("is removed, also what an earlier run left, and tables of others stay", async () => {
    await host.exec(["nft", "add", "table", "ip", "docker"]);
    await run(`return set(${ALL});`);
    expect(await table()).not.toBe("");
    expect(await run("return nat.set(undefined);")).toEqual({ value: [] });
    expect(await table()).toBe("");
    expect(await host.exec(["nft", "list", "tables"])).toBe("table ip docker\n");
  });

  it("is gone after a start that failed, if it was not there before", async () => {
    expect(await run(`await set(${ALL}); return nat.restore();`)).toEqual({ value: [] });
    expect(await table()).toBe("");
  });

  it("leaves another agent's table alone, which is a problem only if it needs its own", async () => {
    await run(`return set(${ALL});`, OTHER_STATE);
    const others = await table();
    expect(await run("return nat.set(undefined);")).toEqual({ value: [] });
    const { value } = await run(`return set(${ALL});`);
    expect(value!.join()).toContain('table "inet weft" of this host was not made by this agent');
    expect(await table()).toBe(others);
    await run("return nat.set(undefined);", OTHER_STATE);
    expect(await table()).toBe("");
  });

  it("publishes no port that would cut off weft, or bypass the policy", async () => {
    const steps = `return set({ ports: [port(6, 6783, "10.244.1.20"), port(17, 4789, "10.244.1.20"),
      port(17, 6783, "10.244.9.20")], interfaces: [] });`;
    expect((await run(steps)).value).toEqual([
      "the port 6783/tcp (IPv4) is not published: weft itself uses it on this host: choose another",
      "the port 4789/udp (IPv4) is not published: weft itself uses it on this host: choose another",
    ]);
    const { value } = await run("return set({ ports: PORTS.slice(0, 1) });");
    expect(value!.join()).toContain("start weft with --through-core");
    expect(await table()).toBe("");
  });

  it("names the package where nft is missing, and only where it is needed", async () => {
    const without = `process.env.PATH = "/nonexistent"; `;
    expect(await run(`${without} return nat.set(undefined);`)).toEqual({ value: [] });
    const { value } = await run(`${without} return set(${ALL});`);
    expect(value!.join()).toContain("apt install nftables");
  });
});
