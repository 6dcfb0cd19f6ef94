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

  const towards = (...peers: string[]) =>
    `${FIND} return show(await findUnderlay({ peers: ${JSON.stringify(peers)}.map(address) }));`;

  it("is the address that most routes to known peers prefer, whatever the default route", async () => {
    const host = await lab.host("nat");
    await host.ip(
      "link add nat0 type veth peer name nat",
      "link set nat addrgenmode none up",
      "link set nat0 addrgenmode none up",
      "addr add 10.0.2.15/24 dev nat0",
      "route add default via 10.0.2.2 dev nat0",
    );
    const body = `${FIND}
      const found = [];
      for (const peers of [
        [],
        ["198.51.100.1"],
        ["198.51.100.1", "192.0.2.201", "192.0.2.202"],
        ["192.0.2.201", "198.51.100.1"],
        ["2001:db8:1::77", "198.51.100.1"],
        ["${host.address}"],
      ]) {
        const wanted = { peers: peers.map(address), mayNameThisHost: true };
        found.push(formatAddress((await findUnderlay(wanted)).address));
      }
      return found;`;
    const { address, address6 } = host;
    expect(await inside(host, body)).toEqual({
      value: ["10.0.2.15", "10.0.2.15", address, address, address6, address],
    });
  });

  it("passes over peers that no route leads to", async () => {
    const host = await lab.host("apart");
    const { value } = await inside(host, towards("198.51.100.1", "198.51.100.2", "192.0.2.201"));
    expect(value).toMatchObject({ address: host.address });
  });

  it("does not follow a peer that says it is at an address of this host, or at no host's", async () => {
    const host = await lab.host("bridged");
    await host.ip(
      "link add docker0 mtu 9000 type veth peer name box",
      "link set box addrgenmode none up",
      "link set docker0 addrgenmode none up",
      "addr add 172.17.0.1/16 dev docker0",
      "route add default via 192.0.2.99 dev eth0",
    );
    const underlay = { address: host.address, device: "eth0", prefix: "192.0.2.0/24", mtu: 1500 };
    for (const peers of [
      ["172.17.0.1"],
      ["172.17.255.255"],
      ["172.17.0.1", "172.17.255.255", "192.0.2.201"],
    ]) {
      expect(await inside(host, towards(...peers))).toEqual({ value: underlay });
    }
  });

  it("has the MTU of the devices that packets to the peers leave by, where its address is on lo", async () => {
    const host = await lab.host("rack", { mtu: 9000 });
    await host.ip(
      "addr add 203.0.113.1/32 dev lo",
      "addr add 2001:db8:9::1/128 dev lo",
      "link add up1 mtu 1400 type veth peer name leaf",
      "link set leaf addrgenmode none up",
      "link set up1 addrgenmode none up",
      "addr add 10.1.0.1/24 dev up1",
      "addr add 2001:db8:8::1/64 dev up1 nodad",
      "route add 203.0.113.2 src 203.0.113.1 via 192.0.2.99 dev eth0",
      "route add 203.0.113.3 src 203.0.113.1 via 192.0.2.99 dev eth0 mtu 8000",
      "route add 203.0.113.4 src 203.0.113.1 nexthop via 192.0.2.99 nexthop via 10.1.0.2",
      "route add 203.0.113.5 src 203.0.113.1 via 10.1.0.2 dev up1 mtu lock 1200",
    );
    // Linux routes an IPv6 subnet only once it has noticed that the link is up.
    const hops = "nexthop via 2001:db8:1::99 nexthop via 2001:db8:8::2";
    const route6 = () => host.ip(`route replace 2001:db8:9::2 src 2001:db8:9::1 ${hops}`);
    await expect.poll(() => route6().then(() => "set", String)).toBe("set");
    const body = `${FIND}
      const { change } = await weft("host/ip.js");
      const mtu = async (own, ...peers) =>
        (await findUnderlay({ address: address(own), peers: peers.map(address) })).mtu;
      const own = "203.0.113.1";
      const found = {
        plain: await mtu(own, "203.0.113.2"),
        ofRoute: await mtu(own, "203.0.113.3"),
        ofSeveralHops: await mtu(own, "203.0.113.4"),
        ofSeveralHops6: await mtu("2001:db8:9::1", "2001:db8:9::2"),
        locked: await mtu(own, "203.0.113.5"),
        largest: await mtu(own, "203.0.113.5", "203.0.113.4"),
        ofNone: (await mtu(own, own, "198.51.100.1")) ?? "unknown",
      };
      await change(["route add default via 10.1.0.2 dev up1"]);
      return { ...found, default: await mtu(own, own) };`;
    expect(await inside(host, body)).toEqual({
      value: {
        plain: 9000,
        ofRoute: 8000,
        ofSeveralHops: 1400,
        ofSeveralHops6: 1400,
        locked: 1200,
        largest: 1400,
        ofNone: "unknown",
        default: 1400,
      },
    });
  });

  it("is the address that was given", async () => {
    const host = await lab.host("b");
    const given = `${FIND} return show(await findUnderlay({ address: address("${host.address}") }));`;
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
    const given = `${FIND} return show(await findUnderlay({ address: address("${host.address6}") }));`;
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
    expect((await inside(host, found)).error?.message).toContain("nor a default route");
  });

  it("must be usable: not still in question, not another host's", async () => {
    const [owner, host] = [await lab.host("owner"), await lab.host("late")];
    const find = (text: string) =>
      inside(host, `${FIND} await findUnderlay({ address: address("${text}") });`);
    await host.sysctl("net/ipv6/conf/eth0/dad_transmits", 60);
    await host.ip("addr add 2001:db8:1::77/64 dev eth0");
    expect((await find("2001:db8:1::77")).error?.message).toBe(
      "the underlay address 2001:db8:1::77 of eth0 cannot be used yet: Linux still asks whether another host has it",
    );

    const monitor = host.spawn(["ip", "-6", "monitor", "address"]);
    await host.ip(`addr add ${owner.address6}/64 dev eth0`);
    await monitor.waitForOutput(/dadfailed/);
    await monitor.stop();
    expect((await find(owner.address6)).error?.message).toBe(
      `the underlay address ${owner.address6} of eth0 belongs to another host as well`,
    );
  });

  it("is asked for where there is no default route", async () => {
    const host = await lab.host("c");
    expect((await inside(host, `${FIND} return show(await findUnderlay());`)).error).toEqual({
      code: "UNDERLAY",
      message:
        "this host has neither a route to a known peer nor a default route to take its underlay address from",
      remedy: "pass the address peers reach it at with --underlay",
    });
  });

  it("must be an address of this host", async () => {
    const host = await lab.host("d");
    const { error } = await inside(
      host,
      `${FIND} await findUnderlay({ address: address("192.0.2.99") });`,
    );
    expect(error?.message).toBe("no interface of this host has the underlay address 192.0.2.99");
  });
});
