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
