import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";

const LINK = `
  const { Link } = await weft("host/link.js");
  const link = new Link({
    device: "weft0", address: address("10.244.7.1"), mtu: 1450, network: [prefix("10.244.0.0/16")],
  });`;

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

  const routes = async (): Promise<string[]> => {
    const shown = JSON.parse(await host.exec(["ip", "-j", "route", "show", "dev", "weft0"]));
    return shown.map(({ dst, prefsrc }: { dst: string; prefsrc: string }) => `${dst} ${prefsrc}`);
  };
  const setRoutes = (...beyond: string[]) =>
    inside(host, `${LINK} await link.setRoutes(${JSON.stringify(beyond)}.map(prefix));`);

  it("gets its address, MTU, queue and route, and makes no IPv6 noise", async () => {
    expect(await inside(host, `${LINK} return link.configure();`)).toEqual({ value: [] });
    const [shown] = JSON.parse(await host.exec(["ip", "-j", "address", "show", "weft0"]));
    expect(shown).toMatchObject({ mtu: 1450, txqlen: 1000 });
    expect(shown.flags).toContain("UP");
    expect(
      shown.addr_info.map((info: { local: string; prefixlen: number }) => [
        info.local,
        info.prefixlen,
      ]),
    ).toEqual([["10.244.7.1", 32]]);
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
    await inside(host, `${LINK} await link.configure();`);
    await setRoutes("198.51.100.0/24", "203.0.113.9/32");
    const all = [
      "10.244.0.0/16 10.244.7.1",
      "198.51.100.0/24 10.244.7.1",
      "203.0.113.9 10.244.7.1",
    ];
    expect(await routes()).toEqual(all);

    const monitor = host.spawn(["ip", "-o", "monitor", "route"]);
    await host.ip("route del 10.244.0.0/16 dev weft0", "route add 10.99.0.0/16 dev weft0");
    await setRoutes("198.51.100.0/24", "203.0.113.9/32");
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
    const { error } = await inside(host, `${LINK} await link.configure();`);
    expect(error).toEqual({
      code: "IP",
      message: '"ip route add 10.244.0.0/16 dev weft0 src 10.244.7.1" failed: File exists',
      remedy: "see what is in the way with: ip address; ip route",
    });
  });
});
