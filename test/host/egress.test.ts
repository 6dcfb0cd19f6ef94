import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAddress, parseMac } from "../../src/address.js";
import { advertisement, gratuitousArp } from "../../src/host/announcement.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";
import { hostState } from "./state.js";

const FAMILIES = [4, 6] as const;

describe("an announcement", () => {
  const mac = parseMac("02:00:00:00:00:09");
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

  it("by ARP asks for the address that it has", () => {
    expect(hex(gratuitousArp(parseAddress("192.0.2.250"), mac))).toBe(
      [
        "0001",
        "0800",
        "06",
        "04",
        "0001",
        "020000000009",
        "c00002fa",
        "000000000000",
        "c00002fa",
      ].join(""),
    );
  });

  it("by neighbor discovery overrides what neighbours know", () => {
    expect(hex(advertisement(parseAddress("2001:db8::fa"), mac))).toBe(
      [
        "88",
        "00",
        "0000",
        "a0000000",
        "20010db80000000000000000000000fa",
        "0201",
        "020000000009",
      ].join(""),
    );
  });
});

onHosts("outside addresses of a gateway", () => {
  let lab: Lab;
  let one: Host;
  let two: Host;
  let neighbour: Host;
  const bare = new Map<Host, string[]>();
  const EGRESS = { 4: "192.0.2.250", 6: "2001:db8:1::fa" } as const;
  const BOTH = `"192.0.2.250", "2001:db8:1::fa"`;

  beforeAll(async () => {
    lab = await Lab.open();
    one = await lab.host("one");
    two = await lab.host("two");
    neighbour = await lab.host("n");
    for (const host of [one, two]) {
      await host.sysctl("net/ipv4/ip_forward", 1);
      await host.sysctl("net/ipv6/conf/all/forwarding", 1);
      bare.set(host, await stateOf(host));
      await host.ip(
        "tuntap add dev weft0 mode tun",
        "link set weft0 addrgenmode none up",
        ...FAMILIES.map((it) => `route add ${EGRESS[it]} dev weft0`),
      );
    }
  });
  afterAll(() => lab?.close());

  /** Runs code in a process of its own, as a later agent would. */
  const run = (host: Host, steps: string) =>
    inside<string[]>(
      host,
      `const { EgressAddresses } = await weft("host/egress.js");
       const egress = new EgressAddresses();
       const set = (...all) => egress.set(all.map(address));
       ${steps}`,
    );
  const proxies = (host: Host) => host.exec(["ip", "neigh", "show", "proxy"]);
  const stateOf = async (host: Host) => [
    ...(await hostState(host)),
    await proxies(host),
    await host.exec(["cat", "/proc/sys/net/ipv6/conf/eth0/proxy_ndp"]),
  ];
  const macOf = async (host: Host): Promise<string> =>
    (await host.exec(["cat", "/sys/class/net/eth0/address"])).trim();
  /** The MAC address that the neighbour has for the egress address; undefined for none. */
  const known = async (family: 4 | 6): Promise<string | undefined> => {
    const shown = await neighbour.exec(["ip", "neigh", "show", "to", EGRESS[family]]);
    return /lladdr (\S+)/.exec(shown)?.[1];
  };
  const lookFor = async (family: 4 | 6): Promise<string | undefined> => {
    await neighbour.run(["ip", "neigh", "flush", "to", EGRESS[family]]);
    await neighbour.run(["ping", "-n", "-c", "1", "-W", "2", EGRESS[family]]);
    return await known(family);
  };

  it("are answered for, in both families", async () => {
    expect(await run(one, `return set(${BOTH});`)).toEqual({ value: [] });
    for (const family of FAMILIES) expect(await lookFor(family)).toBe(await macOf(one));
  });

  it("lead to another gateway at once when it takes over", async () => {
    await run(one, "return set();");
    expect(await run(two, `return set(${BOTH});`)).toEqual({ value: [] });
    for (const family of FAMILIES) {
      await expect.poll(() => known(family), { timeout: 2_000 }).toBe(await macOf(two));
      expect(await lookFor(family)).toBe(await macOf(two));
    }
  });

  it("of a killed agent are taken up or withdrawn by the next, which adds those that others removed", async () => {
    expect(await run(two, `return set("${EGRESS[4]}");`)).toEqual({ value: [] });
    expect(await proxies(two)).not.toContain(EGRESS[6]);
    const steps = `
      const { change } = await weft("host/ip.js");
      await set(${BOTH});
      await change(["neigh del proxy ${EGRESS[4]} dev eth0"]);
      return set(${BOTH});`;
    expect(await run(two, steps)).toEqual({ value: [] });
    expect(await proxies(two)).toContain(EGRESS[4]);
  });

  it("leave nothing on the host once withdrawn, and others' entries stay", async () => {
    await two.ip("neigh add proxy 192.0.2.77 dev eth0");
    expect(await run(two, `await set(${BOTH}); return set();`)).toEqual({ value: [] });
    expect(await proxies(two)).toBe("192.0.2.77 dev eth0 proxy \n");
    await two.ip("neigh del proxy 192.0.2.77 dev eth0", "link delete weft0");
    await two.sysctl("net/ipv6/conf/eth0/proxy_ndp", 0);
    expect(await stateOf(two)).toEqual(bare.get(two));
    expect(await run(one, `await set(${BOTH}); return set();`)).toEqual({ value: [] });
    await one.ip("link delete weft0");
    await one.sysctl("net/ipv6/conf/eth0/proxy_ndp", 0);
    expect(await stateOf(one)).toEqual(bare.get(one));
  });

  it("in no subnet of the host are a note, and no gateway without forwarding is a problem", async () => {
    const noted = await run(one, `await set("203.0.113.9"); return egress.notes;`);
    expect(noted.value!.join()).toContain("in the subnet of 203.0.113.9");
    await one.sysctl("net/ipv4/ip_forward", 0);
    const { value } = await run(one, `return set("192.0.2.250");`);
    expect(value!.join()).toContain("net.ipv4.ip_forward is 0");
  });
});
