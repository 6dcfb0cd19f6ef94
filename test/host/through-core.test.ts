import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { workloadsAmong } from "../../src/host/workload-interfaces.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";
import { hostState } from "./state.js";

/** The state directories of two agents. */
const [STATE, OTHER_STATE] = ["/var", "/usr"];
const NETWORK = ["10.244.0.0/16", "fd00:244::/48"];
const FAMILIES = [4, 6] as const;

describe("interfaces of workloads", () => {
  const links = ["lo", "eth0", "veth1", "vethA.b", "cali7", "weft0"].map((ifname) => ({ ifname }));
  const named = (patterns: string[], excluded: string[] = []) =>
    workloadsAmong(links, patterns, excluded).names;

  it("are those whose whole names match a pattern", () => {
    expect(named(["veth*", "cali?"])).toEqual(["veth1", "vethA.b", "cali7"]);
    expect(named(["veth"])).toEqual([]);
    expect(named(["vethA.?"])).toEqual(["vethA.b"]);
    expect(named(["veth?.b"])).toEqual(["vethA.b"]);
    expect(named(["vet.1"])).toEqual([]);
  });

  it("are never lo, nor what is excluded", () => {
    expect(named(["*"], ["weft0", "eth0"])).toEqual(["veth1", "vethA.b", "cali7"]);
  });

  it("are not the ports of a bridge, which are named apart", () => {
    const port = { ifname: "veth2", master: "docker0" };
    expect(workloadsAmong([...links, port], ["veth*"], [])).toEqual({
      names: ["veth1", "vethA.b"],
      ports: [{ name: "veth2", master: "docker0" }],
    });
  });
});

onHosts("rules that lead workloads to the device", () => {
  let lab: Lab;
  let host: Host;
  let bare: string[];
  let number = 0;

  beforeAll(async () => {
    lab = await Lab.open();
  });
  beforeEach(async () => {
    host = await lab.host(`h${++number}`);
    await host.sysctl("net/ipv4/ip_forward", 1);
    await host.sysctl("net/ipv6/conf/all/forwarding", 1);
    await host.ip(
      "tuntap add dev weft0 mode tun",
      "link set weft0 addrgenmode none up",
      "route add 10.244.0.0/16 dev weft0",
      "route add fd00:244::/48 dev weft0",
      "tuntap add dev veth1 mode tun",
      "tuntap add dev veth2 mode tun",
      "link set veth1 addrgenmode none up",
      "link set veth2 addrgenmode none up",
      "route add 10.244.1.5/32 dev veth1",
      "route add fd00:244:0:1::5/128 dev veth1",
      "route add default via 192.0.2.99 dev eth0 onlink",
      "route add default via 2001:db8::99 dev eth0 onlink",
    );
    bare = await hostState(host);
  });
  afterAll(() => lab?.close());

  /** Runs code in a process of its own, as a later agent would. */
  const run = (steps: string, state = STATE) =>
    inside<string[]>(
      host,
      `const { ThroughCore } = await weft("host/through-core.js");
       const core = new ThroughCore("${state}");
       const set = (network, interfaces, device = "weft0") =>
         core.set({ device, network: network.map(prefix), interfaces });
       ${steps}`,
    );
  const SET = `set(${JSON.stringify(NETWORK)}, ["veth1", "veth2"])`;
  const rules = async (family: 4 | 6): Promise<string[]> => {
    const shown = await host.exec(["ip", `-${family}`, "rule"]);
    return shown
      .split("\n")
      .filter((it) => it.includes("proto 119"))
      .map((it) => it.replace(/\s+/g, " ").replace(" proto 119", "").trim());
  };
  const deviceOf = async (...words: string[]): Promise<string | undefined> => {
    const { stdout, stderr } = await host.run(["ip", "route", "get", ...words]);
    return /\bdev (\S+)/.exec(stdout)?.[1] ?? stderr.trim();
  };

  it("are these, in both families, and nothing of them stays", async () => {
    expect(await run(`return ${SET};`)).toEqual({ value: [] });
    expect(await rules(4)).toEqual([
      "100: from all iif weft0 goto 104",
      "101: from all iif lo goto 104",
      "102: from all to 10.244.0.0/16 lookup 6784",
      "103: from all iif veth1 lookup 6784",
      "103: from all iif veth2 lookup 6784",
      "104: from all nop",
    ]);
    expect(await rules(6)).toEqual([
      "100: from all iif weft0 goto 104",
      "101: from all iif lo goto 104",
      "102: from all to fd00:244::/48 lookup 6784",
      "103: from all iif veth1 lookup 6784",
      "103: from all iif veth2 lookup 6784",
      "104: from all nop",
    ]);
    expect(await run("return core.set(undefined);")).toEqual({ value: [] });
    expect(await hostState(host)).toEqual(bare);
  });

  it("lead to the device what workloads send and others send to them, and nothing else", async () => {
    await run(`return ${SET};`);
    // Of workloads: to another one of this host, to another host of the overlay, to the outside.
    for (const to of ["10.244.1.5", "10.244.9.9", "198.51.100.1", "fd00:244:0:1::5", "2001:db9::1"])
      expect(
        await deviceOf(
          to,
          "from",
          to.includes(":") ? "fd00:244:0:1::7" : "10.244.1.7",
          "iif",
          "veth2",
        ),
      ).toBe("weft0");
    // From the outside to a workload.
    expect(await deviceOf("10.244.1.5", "from", "198.51.100.1", "iif", "eth0")).toBe("weft0");
    expect(await deviceOf("fd00:244:0:1::5", "from", "2001:db9::1", "iif", "eth0")).toBe("weft0");
    // Packets that the core writes back.
    expect(await deviceOf("10.244.1.5", "from", "10.244.1.7", "iif", "weft0")).toBe("veth1");
    expect(await deviceOf("198.51.100.1", "from", "10.244.1.5", "iif", "weft0")).toBe("eth0");
    expect(await deviceOf("fd00:244:0:1::5", "from", "2001:db9::1", "iif", "weft0")).toBe("veth1");
    // Of this host itself.
    expect(await deviceOf("10.244.1.5")).toBe("veth1");
    expect(await deviceOf("10.244.9.9")).toBe("weft0");
    expect(await deviceOf("198.51.100.1")).toBe("eth0");
  });

  it("leave the rules of a VPN their say", async () => {
    await run(`return ${SET};`);
    await host.ip(
      "tuntap add dev wg0 mode tun",
      "link set wg0 up",
      "route add default dev wg0 table 51820",
      "rule add pref 32764 not fwmark 51820 lookup 51820",
      "rule add pref 32763 lookup main suppress_prefixlength 0",
    );
    expect(await deviceOf("198.51.100.1")).toBe("wg0");
    expect(await deviceOf("198.51.100.1", "mark", "51820")).toBe("eth0");
    expect(await deviceOf("198.51.100.1", "from", "10.244.1.5", "iif", "weft0")).toBe("wg0");
    expect(await deviceOf("198.51.100.1", "from", "10.244.1.5", "iif", "veth1")).toBe("weft0");
  });

  it("refuse packets of workloads while no agent has the device", async () => {
    await run(`return ${SET};`);
    await host.ip("link delete weft0");
    expect(await deviceOf("198.51.100.1", "from", "10.244.1.5", "iif", "veth1")).toContain(
      "No route to host",
    );
    expect(await deviceOf("198.51.100.1")).toBe("eth0");
  });

  it("follow interfaces, networks and the name of the device, whatever a killed agent left", async () => {
    await run(`return ${SET};`);
    await host.ip("link set weft0 down", "link set weft0 name weft9", "link set weft9 up");
    expect(await run(`return set(["10.245.0.0/16"], ["veth2"], "weft9");`)).toEqual({ value: [] });
    expect(await rules(4)).toEqual([
      "100: from all iif weft9 goto 104",
      "101: from all iif lo goto 104",
      "102: from all to 10.245.0.0/16 lookup 6784",
      "103: from all iif veth2 lookup 6784",
      "104: from all nop",
    ]);
    expect(await rules(6)).toEqual([]);
    expect(await run("return core.set(undefined);")).toEqual({ value: [] });
    expect(await host.exec(["ip", "rule"])).not.toContain("119");
  });

  it.each(FAMILIES)("are set again when others remove them (IPv%i)", async (family) => {
    await run(`return ${SET};`);
    const whole = await hostState(host);
    for (const pref of [100, 101, 102, 103, 104]) {
      await host.exec(["ip", `-${family}`, "rule", "del", "pref", `${pref}`]);
    }
    await host.exec(["ip", `-${family}`, "route", "flush", "table", "6784"]);
    expect(await run(`return ${SET};`)).toEqual({ value: [] });
    expect(await hostState(host)).toEqual(whole);
  });

  it("are as before after a start that failed", async () => {
    expect(await run(`await ${SET}; return core.restore();`)).toEqual({ value: [] });
    expect(await hostState(host)).toEqual(bare);
    await run(`return set(["10.244.0.0/16"], ["veth1"]);`);
    const before = await hostState(host);
    expect(await run(`await ${SET}; return core.restore();`)).toEqual({ value: [] });
    expect(await hostState(host)).toEqual(before);
  });

  it.each([
    [
      "a rule with a priority",
      ["rule add pref 102 from 10.9.0.0/16 lookup main"],
      'rule "pref 102 from 10.9.0.0/16 lookup main"',
    ],
    ["a rule for the table", ["rule add pref 5000 lookup 6784"], 'rule "pref 5000 lookup 6784"'],
    [
      "a route of the table",
      ["route add 10.9.0.0/16 dev eth0 table 6784"],
      'route "10.9.0.0/16 dev eth0 table 6784"',
    ],
  ])("are refused where others have %s", async (_, lines, named) => {
    await host.ip(...lines);
    const { error } = await run("await core.refuseConflicts();");
    expect(error).toMatchObject({ code: "CONFLICT" });
    expect(error!.message).toContain(named);
    const { value } = await run(`return ${SET};`);
    expect(value).toHaveLength(1);
    expect(value![0]).toContain(named);
    await run("return core.set(undefined);");
    await host.ip(...lines.map((it) => it.replace(" add ", " del ")));
    expect(await hostState(host)).toEqual(bare);
  });

  it("of another agent are refused, and left alone", async () => {
    await run(`return ${SET};`, OTHER_STATE);
    const others = await hostState(host);
    const { error } = await run("await core.refuseConflicts();");
    expect(error).toMatchObject({ code: "CONFLICT" });
    expect(await run("return core.set(undefined);")).toEqual({ value: [] });
    expect(await hostState(host)).toEqual(others);
  });

  it("are no use on a host that does not forward, which is a problem", async () => {
    await host.sysctl("net/ipv4/ip_forward", 0);
    const { value } = await run(`return ${SET};`);
    expect(value!.join()).toContain("net.ipv4.ip_forward is 0");
  });
});
