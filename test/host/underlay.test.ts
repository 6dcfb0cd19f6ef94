import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { inside, onHosts } from "./inside.js";

const FIND = `
  const { findUnderlay } = await weft("host/underlay.js");
  const { formatAddress, formatPrefix } = await weft("address.js");
  const show = ({ address, prefix, ...rest }) =>
    ({ ...rest, address: formatAddress(address), prefix: formatPrefix(prefix) });`;

onHosts("the underlay", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab?.close());

  it("is the default route's address, with its interface, subnet and MTU", async () => {
    const host = await lab.host("a", { mtu: 1400 });
    await host.ip(
      "addr add 198.51.100.7/24 dev eth0",
      "route add default via 198.51.100.1 dev eth0",
    );
    expect(await inside(host, `${FIND} return show(await findUnderlay());`)).toEqual({
      value: { address: "198.51.100.7", device: "eth0", prefix: "198.51.100.0/24", mtu: 1400 },
    });
  });

  it("is the address that was given", async () => {
    const host = await lab.host("b");
    const given = `${FIND} return show(await findUnderlay(address("${host.address}")));`;
    expect(await inside(host, given)).toEqual({
      value: { address: host.address, device: "eth0", prefix: "192.0.2.0/24", mtu: 1500 },
    });
  });

  it("may be IPv6, given or the default route's where IPv4 has none", async () => {
    const host = await lab.host("v6", { mtu: 1400 });
    const value = {
      address: host.address6,
      device: "eth0",
      prefix: "2001:db8:1::/64",
      mtu: 1400,
    };
    const given = `${FIND} return show(await findUnderlay(address("${host.address6}")));`;
    expect(await inside(host, given)).toEqual({ value });

    const found = `${FIND} return show(await findUnderlay());`;
    await host.ip("route add default via 2001:db8:1::99 dev eth0");
    expect(await inside(host, found)).toEqual({ value });
    await host.ip("route add default via 192.0.2.99 dev eth0");
    expect((await inside<{ address: string }>(host, found)).value?.address).toBe(host.address);
  });

  it("is not an address that Linux gives up for privacy, nor a link-local one", async () => {
    const host = await lab.host("private");
    const found = `${FIND} return show(await findUnderlay());`;
    await host.sysctl("net/ipv6/conf/eth0/use_tempaddr", 2);
    await host.sysctl("net/ipv6/conf/eth0/accept_dad", 0);
    await host.ip(
      "addr flush dev eth0",
      "addr add 2001:db8:7::7/64 dev eth0 nodad mngtmpaddr",
      "route add default via 2001:db8:7::99 dev eth0",
    );
    const [route] = JSON.parse(await host.exec(["ip", "-j", "route", "get", "3fff:ffff::1"]));
    expect(route.prefsrc).toMatch(/^2001:db8:7:0:(?!:7$)/);
    expect(await inside(host, found)).toMatchObject({ value: { address: "2001:db8:7::7" } });

    await host.ip(
      "route del ::/0 dev eth0",
      "addr flush dev eth0",
      "addr add fe80::7/64 dev eth0 nodad",
      "route add default via fe80::99 dev eth0",
    );
    expect((await inside(host, found)).error?.message).toContain("has no default route");
  });

  it("must be usable: not still in question, not another host's", async () => {
    const [owner, host] = [await lab.host("owner"), await lab.host("late")];
    const find = (text: string) => inside(host, `${FIND} await findUnderlay(address("${text}"));`);
    await host.sysctl("net/ipv6/conf/eth0/dad_transmits", 60);
    await host.ip("addr add 2001:db8:1::77/64 dev eth0");
    expect((await find("2001:db8:1::77")).error?.message).toBe(
      "the underlay address 2001:db8:1::77 of eth0 cannot be used yet: Linux still asks whether another host has it",
    );

    const monitor = host.spawn(["ip", "-6", "monitor", "address"]);
    await host.ip(`addr add ${owner.address6}/64 dev eth0`);
    await monitor.says(/dadfailed/);
    await monitor.stop();
    expect((await find(owner.address6)).error?.message).toBe(
      `the underlay address ${owner.address6} of eth0 belongs to another host as well`,
    );
  });

  it("is asked for where there is no default route", async () => {
    const host = await lab.host("c");
    expect((await inside(host, `${FIND} return show(await findUnderlay());`)).error).toEqual({
      code: "UNDERLAY",
      message: "this host has no default route to take its underlay address from",
      remedy: "pass the address peers reach it at with --underlay",
    });
  });

  it("must be an address of this host", async () => {
    const host = await lab.host("d");
    const { error } = await inside(host, `${FIND} await findUnderlay(address("192.0.2.99"));`);
    expect(error?.message).toBe(
      "no interface of this host carries the underlay address 192.0.2.99",
    );
  });
});
