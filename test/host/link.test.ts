import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";

/** A link with these addresses in these networks. */
const linkOf = (addresses: string[], network: string[], mtu = 1450) => `
  const mtu = ${mtu};
  const { Link } = await weft("host/link.js");
  const link = new Link({
    device: "weft0",
    addresses: ${JSON.stringify(addresses)}.map(address),
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
  const configure = (link: string) => inside<string[]>(host, `${link} return link.set([], mtu);`);
  const setRoutes = (link: string, ...beyond: string[]) =>
    inside<string[]>(host, `${link} return link.set(${JSON.stringify(beyond)}.map(prefix), mtu);`);

  it("loses IPv6 to an MTU below 1280 and has it back above, without a link-local address ever", async () => {
    const monitor = host.spawn(["ip", "-6", "-o", "monitor", "address"]);
    for (const mtu of [1450, 1200, 1450, 9000]) {
      const { value } = await configure(
        linkOf(["10.244.7.1", "fd00:244:0:7::1"], ["10.244.0.0/16", "fd00:244::/48"], mtu),
      );
      const lacksIpv6 = mtu < 1280;
      expect(value).toEqual(lacksIpv6 ? [expect.stringContaining("less than the 1280")] : []);
      expect(await addresses()).toEqual(
        lacksIpv6 ? ["10.244.7.1/32"] : ["10.244.7.1/32", "fd00:244:0:7::1/128"],
      );
      expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    }
    expect(monitor.output).toContain("fd00:244:0:7::1");
    expect(monitor.output).not.toContain("fe80");
    await monitor.stop();
  });

  it("gets its address, MTU, queue and route, and makes no IPv6 noise", async () => {
    expect(await configure(LINK)).toEqual({ value: [] });
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown).toMatchObject({ mtu: 1450, txqlen: 1000 });
    expect(shown.flags).toContain("UP");
    expect(await addresses()).toEqual(["10.244.7.1/32"]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    const setting = "/proc/sys/net/ipv4/conf/weft0/accept_local";
    expect(await inside(host, `${LINK} return link.acceptOwnSource();`)).toEqual({ value: [] });
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
    const { value } = await inside<string[]>(
      host,
      `${LINK} return [...(await link.set([], mtu)), ...(await link.acceptOwnSource())];`,
      readOnly,
    );
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
      `${LINK} await link.set([], mtu); await link.remove(); await link.remove();`,
    );
    expect(error).toBeUndefined();
    expect(await routes()).toEqual([]);
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown.addr_info).toEqual([]);
    await host.ip("link delete weft0");
    expect(await inside(host, `${LINK} await link.remove();`)).toEqual({});
  });

  it.each([
    [4, "10.244.0.0/16", "10.244.7.1", "fd00:244::/48 fd00:244:0:7::1"],
    [6, "fd00:244::/48", "fd00:244:0:7::1", "10.244.0.0/16 10.244.7.1"],
  ])(
    "names an IPv%i route in the way, keeps it, and has its own once it is gone",
    async (family, network, own, other) => {
      await host.ip("tuntap add dev cni0 mode tun", "link set cni0 up");
      await host.ip(`route add ${network} dev cni0`);
      const problem =
        `${network} cannot be routed to weft0: this host has the route "${network} dev cni0": ` +
        `remove it with "ip -${family} route del ${network} dev cni0", or found the cluster on another network`;
      expect(await configure(DUAL)).toEqual({ value: [problem] });
      expect(await setRoutes(DUAL, "198.51.100.0/24")).toEqual({ value: [problem] });
      expect(await addresses()).toEqual(["10.244.7.1/32", "fd00:244:0:7::1/128"]);
      const all = async () => [...(await routes("-4")), ...(await routes("-6"))];
      expect(await all()).toContain(other);
      expect(await all()).toContain("198.51.100.0/24 10.244.7.1");
      expect(await host.exec(["ip", `-${family}`, "route", "show", network])).toContain("dev cni0");

      await host.ip(`route del ${network} dev cni0`);
      expect(await configure(DUAL)).toEqual({ value: [] });
      expect(await all()).toContain(`${network} ${own}`);
    },
  );

  it("has MTU, queue and accept_local back after they were changed", async () => {
    await configure(DUAL);
    await host.ip("link set weft0 down mtu 1000 txqueuelen 5");
    await host.sysctl("net/ipv4/conf/weft0/accept_local", 0);
    expect(await configure(DUAL)).toEqual({ value: [] });
    expect(await inside(host, `${DUAL} return link.acceptOwnSource();`)).toEqual({ value: [] });
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown).toMatchObject({ mtu: 1450, txqlen: 1000 });
    expect(await addresses()).toEqual(["10.244.7.1/32", "fd00:244:0:7::1/128"]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    expect(await routes("-6")).toEqual([OWN_6, NETWORK_6]);
    const setting = "/proc/sys/net/ipv4/conf/weft0/accept_local";
    expect(await host.exec(["cat", setting])).toBe("1\n");
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
    await inside(host, `${DUAL} await link.set([], mtu); await link.remove();`);
    expect(await addresses()).toEqual([]);
    expect([...(await routes()), ...(await routes("-6"))]).toEqual([]);
  });

  it("keeps IPv4 where the MTU is too small for IPv6, and says what is missing", async () => {
    const both = ["10.244.7.1", "fd00:244:0:7::1"];
    const networks = ["10.244.0.0/16", "fd00:244::/48"];
    expect(await configure(linkOf(both, networks, 1279))).toEqual({
      value: [
        "the cluster network has fd00:244::/48, and an overlay MTU of 1279 is less than the 1280 that IPv6 needs: " +
          "raise the MTU of the underlay by 1 bytes, or found the cluster on an IPv4 network",
      ],
    });
    expect(await addresses()).toEqual(["10.244.7.1/32"]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    expect(await configure(linkOf(both, networks, 1280))).toEqual({ value: [] });
    expect(await addresses()).toEqual(["10.244.7.1/32", "fd00:244:0:7::1/128"]);
  });

  it.each(["weft0", "all"])(
    "keeps and repairs IPv4 while IPv6 is switched off for %s",
    async (where) => {
      const remedy =
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.weft0.disable_ipv6=0";
      const off =
        "the cluster network has fd00:244::/48, and IPv6 is switched off on this host or on weft0: " +
        `switch it on with: ${remedy}`;
      await host.sysctl(`net/ipv6/conf/${where}/disable_ipv6`, 1);
      expect(await configure(DUAL)).toEqual({ value: [off] });
      expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
      await host.exec(remedy.split(" "));
      expect(await configure(DUAL)).toEqual({ value: [] });
      expect(await routes("-6")).toEqual([OWN_6, NETWORK_6]);

      await host.sysctl(`net/ipv6/conf/${where}/disable_ipv6`, 1);
      await host.ip("address flush dev weft0");
      expect(await configure(DUAL)).toEqual({ value: [off] });
      expect(await addresses()).toEqual(["10.244.7.1/32"]);
      expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    },
  );

  it("keeps IPv4 where the kernel has no IPv6", async () => {
    const without = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      'mount -t tmpfs none /proc/sys/net/ipv6; exec "$@"',
      "sh",
    ];
    const { value } = await inside<string[]>(host, `${DUAL} return link.set([], mtu);`, without);
    expect(value).toEqual([expect.stringContaining("the kernel of this host runs without IPv6")]);
    expect(await routes()).toEqual(["10.244.0.0/16 10.244.7.1"]);
    expect(await inside(host, `${LINK} return link.set([], mtu);`, without)).toEqual({ value: [] });
  });
});
