import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";

/** A link with these addresses in these networks. */
const linkOf = (addresses: string[], network: string[], mtu = 1450) => `
  const { Link } = await weft("host/link.js");
  const link = new Link({
    device: "weft0",
    addresses: ${JSON.stringify(addresses)}.map(address),
    mtu: ${mtu},
    network: ${JSON.stringify(network)}.map(prefix),
  });`;

const LINK = linkOf(["10.244.7.1"], ["10.244.0.0/16"]);
const DUAL = linkOf(["10.244.7.1", "fd00:244:0:7::1"], ["10.244.0.0/16", "fd00:244::/48"]);
const ONLY_6 = linkOf(["fd00:244:0:7::1"], ["fd00:244::/48"]);

onHosts("the overlay link", () => {
  let lab: Lab;
  let host: Host;
  let number = 0;

  beforeAll(async () => {
    lab = await Lab.open();
  });
  beforeEach(async () => {
    host = await lab.host(`h${++number}`);
    await host.ip("tuntap add dev weft0 mode tun");
  });
  afterAll(() => lab?.close());

  const routes = async (family = "-4"): Promise<string[]> => {
    const command = ["ip", "-j", family, "route", "show", "dev", "weft0"];
    const shown: { dst: string; prefsrc?: string; protocol?: string }[] = JSON.parse(
      await host.exec(command),
    );
    return shown.map(({ dst, prefsrc, protocol }) => `${dst} ${prefsrc ?? `by ${protocol}`}`);
  };
  const addresses = async (): Promise<string[]> => {
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    return shown.addr_info.map(
      ({ local, prefixlen, tentative }: { local: string; prefixlen: number; tentative?: true }) =>
        `${local}/${prefixlen}${tentative ? " tentative" : ""}`,
    );
  };
  const configure = (link: string) => inside<string[]>(host, `${link} return link.configure();`);
  const setRoutes = (link: string, ...beyond: string[]) =>
    inside<string[]>(host, `${link} return link.setRoutes(${JSON.stringify(beyond)}.map(prefix));`);

  it("gets its address, MTU, queue and route, and makes no IPv6 noise", async () => {
    expect(await configure(LINK)).toEqual({ value: [] });
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown).toMatchObject({ mtu: 1450, txqlen: 1000 });
    expect(shown.flags).toContain("UP");
    expect(await addresses()).toEqual(["10.244.7.1/32"]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    const setting = "/proc/sys/net/ipv4/conf/weft0/accept_local";
    expect(await host.exec(["cat", setting])).toBe("1\n");
  });

  it("is configured, with a warning, where /proc/sys is read-only", async () => {
    const readOnly = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      'mount -o bind,ro /proc/sys /proc/sys; exec "$@"',
      "sh",
    ];
    const { value } = await inside<string[]>(host, `${LINK} return link.configure();`, readOnly);
    expect(value).toEqual([expect.stringContaining("accept_local cannot be set (EROFS)")]);
    expect(await routes()).toHaveLength(1);
  });

  it("changes only the routes that differ, and puts back what was taken away", async () => {
    await configure(LINK);
    await setRoutes(LINK, "198.51.100.0/24", "203.0.113.9/32");
    const all = [
      "10.244.0.0/16 10.244.7.1",
      "198.51.100.0/24 10.244.7.1",
      "203.0.113.9 10.244.7.1",
    ];
    expect(await routes()).toEqual(all);

    const monitor = host.spawn(["ip", "-o", "monitor", "route"]);
    await host.ip("route del 10.244.0.0/16 dev weft0", "route add 10.99.0.0/16 dev weft0");
    await setRoutes(LINK, "198.51.100.0/24", "203.0.113.9/32");
    expect(await routes()).toEqual(all);
    await monitor.stop();
    expect(monitor.output).not.toContain("198.51.100.0");
  });

  it("is taken away, and that again does no harm", async () => {
    const { error } = await inside(
      host,
      `${LINK} await link.configure(); await link.remove(); await link.remove();`,
    );
    expect(error).toBeUndefined();
    expect(await routes()).toEqual([]);
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown.addr_info).toEqual([]);
    await host.ip("link delete weft0");
    expect(await inside(host, `${LINK} await link.remove();`)).toEqual({});
  });

  it("says which change the host refused", async () => {
    await host.ip("route add 10.244.0.0/16 via 192.0.2.99 dev eth0");
    const { error } = await configure(LINK);
    expect(error).toEqual({
      code: "IP",
      message: '"ip route add 10.244.0.0/16 dev weft0 src 10.244.7.1" failed: File exists',
      remedy: "see what is in the way with: ip address; ip route",
    });
  });

  /** The route the kernel makes for an IPv6 address. */
  const OWN_6 = "fd00:244:0:7::1 by kernel";
  const NETWORK_6 = "fd00:244::/48 fd00:244:0:7::1";

  it.each([
    ["IPv6 beside IPv4", DUAL, ["10.244.7.1/32"], ["10.244.0.0/16 10.244.7.1"]],
    ["IPv6 alone", ONLY_6, [], []],
  ])("carries %s, usable at once", async (_, link, addresses4, routes4) => {
    expect(await configure(link)).toEqual({ value: [] });
    expect(await addresses()).toEqual([...addresses4, "fd00:244:0:7::1/128"]);
    expect(await routes()).toEqual(routes4);
    expect(await routes("-6")).toEqual([OWN_6, NETWORK_6]);
    await host.exec(["ping", "-c", "1", "-W", "1", "fd00:244:0:7::1"]);
    const asked = JSON.parse(await host.exec(["ip", "-j", "route", "get", "fd00:244:0:9::1"]));
    expect(asked).toMatchObject([{ dev: "weft0", prefsrc: "fd00:244:0:7::1" }]);
  });

  it("changes only the IPv6 routes that differ, and leaves the kernel's own", async () => {
    await configure(DUAL);
    const beyond = ["fd00:9::/64", "fd00:a::9/128", "198.51.100.0/24"];
    expect(await setRoutes(DUAL, ...beyond)).toEqual({ value: [] });
    const all = [
      OWN_6,
      "fd00:9::/64 fd00:244:0:7::1",
      "fd00:a::9 fd00:244:0:7::1",
      NETWORK_6,
    ].sort();
    expect((await routes("-6")).sort()).toEqual(all);

    const monitor = host.spawn(["ip", "-6", "-o", "monitor", "route"]);
    await host.ip(
      "route del fd00:244::/48 dev weft0",
      "route add fd00:b::/64 dev weft0",
      "route add ::/0 dev weft0",
      "address add fe80::7/64 dev weft0 nodad",
    );
    expect(await setRoutes(DUAL, ...beyond)).toEqual({ value: [] });
    expect((await routes("-6")).sort()).toEqual([...all, "fe80::/64 by kernel"].sort());
    expect(await routes()).toHaveLength(2);
    await monitor.stop();
    expect(monitor.output).toContain("Deleted default");
    expect(monitor.output).not.toContain("fd00:9::");
  });

  it("has everything back after the device was down and up", async () => {
    await configure(DUAL);
    await host.ip("link set weft0 down", "link set weft0 up");
    expect(await addresses()).toEqual(["10.244.7.1/32"]);
    expect(await setRoutes(DUAL)).toEqual({ value: [] });
    expect(await addresses()).toEqual(["10.244.7.1/32", "fd00:244:0:7::1/128"]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    expect(await routes("-6")).toEqual([OWN_6, NETWORK_6]);
  });

  it("says what it cannot route for want of an address of that family", async () => {
    await configure(LINK);
    expect(await setRoutes(LINK, "fd00:9::/64", "198.51.100.0/24")).toEqual({
      value: ["fd00:9::/64 is not routed: this node has no IPv6 address"],
    });
    expect(await routes()).toHaveLength(2);
    expect(await routes("-6")).toEqual([]);
  });

  it("leaves nothing of either family when it is taken away", async () => {
    await inside(host, `${DUAL} await link.configure(); await link.remove();`);
    expect(await addresses()).toEqual([]);
    expect([...(await routes()), ...(await routes("-6"))]).toEqual([]);
  });

  it("refuses an MTU too small for IPv6, with what is missing, and touches nothing", async () => {
    const small = linkOf(["fd00:244:0:7::1"], ["fd00:244::/48"], 1279);
    expect((await configure(small)).error).toEqual({
      code: "MTU",
      message:
        "the cluster network has fd00:244::/48, and an overlay MTU of 1279 is less than the 1280 that IPv6 needs",
      remedy: "raise the MTU of the underlay by 1 bytes, or found the cluster on an IPv4 network",
    });
    expect(await addresses()).toEqual([]);
    const least = linkOf(["fd00:244:0:7::1"], ["fd00:244::/48"], 1280);
    expect(await configure(least)).toEqual({ value: [] });
  });

  it("says that IPv6 is switched off, on the host or on the device; IPv4 does not mind", async () => {
    const off = {
      code: "IPV6",
      message: "the cluster network has fd00:244::/48, and IPv6 is switched off on this host",
      remedy: "switch it on with: sysctl -w net.ipv6.conf.all.disable_ipv6=0",
    };
    const early = `
      const { checkIpv6 } = await weft("host/ipv6.js");
      checkIpv6([prefix("10.244.0.0/16"), prefix("fd00:244::/48")], 1450);`;
    expect(await inside(host, early)).toEqual({});

    await host.sysctl("net/ipv6/conf/weft0/disable_ipv6", 1);
    expect((await configure(DUAL)).error).toEqual(off);
    expect(await inside(host, early)).toEqual({});
    await host.sysctl("net/ipv6/conf/all/disable_ipv6", 1);
    expect((await inside(host, early)).error).toEqual(off);
    expect(await configure(LINK)).toEqual({ value: [] });

    await host.exec(["sysctl", "-w", ...off.remedy.split(" ").slice(-1)]);
    await host.ip("address flush dev weft0");
    expect(await configure(DUAL)).toEqual({ value: [] });
  });

  it("says that the kernel has no IPv6; IPv4 does not mind", async () => {
    const without = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs none /proc/sys/net/ipv6; exec "$@"',
      "sh",
    ];
    const { error } = await inside(host, `${DUAL} await link.configure();`, without);
    expect(error).toMatchObject({
      code: "IPV6",
      message: expect.stringContaining("the kernel of this host runs without IPv6"),
    });
    expect(await inside(host, `${LINK} return link.configure();`, without)).toEqual({ value: [] });
  });
});
