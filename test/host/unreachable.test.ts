import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";

/** An agent's UDP port, and the metric of its routes. */
const PORT = 4789;
const METRIC = 0xffff0000 + PORT;
const BOTH = ["10.244.0.0/16", "fd00:244::/48"];

onHosts("unreachable routes behind the device", () => {
  let lab: Lab;
  let host: Host;
  let number = 0;

  beforeAll(async () => {
    lab = await Lab.open();
  });
  beforeEach(async () => {
    host = await lab.host(`h${++number}`);
  });
  afterAll(() => lab?.close());

  /** Runs in a process of its own, as a later agent would. */
  const run = (steps: string, port = PORT) =>
    inside<string[]>(
      host,
      `const { UnreachableRoutes } = await weft("host/unreachable.js");
       const routes = new UnreachableRoutes(${port});
       const set = (...all) => routes.set(all.map(prefix));
       ${steps}`,
    );
  const set = (...prefixes: string[]) => run(`return set(...${JSON.stringify(prefixes)});`);

  const routes = async (family: 4 | 6): Promise<string[]> => {
    const words = `ip -j -${family} route show type unreachable`.split(" ");
    const shown: { dst: string; metric?: number; protocol: string }[] = JSON.parse(
      (await host.exec(words)) || "[]",
    );
    return shown.map(({ dst, metric, protocol }) => `${dst} ${protocol} ${metric}`).sort();
  };
  const ours = (...prefixes: string[]) => prefixes.map((it) => `${it} 119 ${METRIC}`);

  it("are those of the prefixes, in both families, whatever an earlier agent left", async () => {
    expect(await set(...BOTH, "10.99.0.0/16", "10.98.7.7/32")).toEqual({ value: [] });
    expect(await routes(4)).toEqual(ours("10.244.0.0/16", "10.98.7.7", "10.99.0.0/16"));
    expect(await routes(6)).toEqual(ours("fd00:244::/48"));
    expect(await set("10.244.0.0/16", "fd00:7::/48")).toEqual({ value: [] });
    expect(await routes(4)).toEqual(ours("10.244.0.0/16"));
    expect(await routes(6)).toEqual(ours("fd00:7::/48"));
    expect(await set("10.244.0.0/16")).toEqual({ value: [] });
    expect(await routes(6)).toEqual([]);
  });

  it("stand back behind every other route, and refuse where there is none", async () => {
    await set(...BOTH);
    await host.ip("route add default via 192.0.2.99 dev eth0 onlink");
    const refused = await host.run(["ip", "route", "get", "10.244.7.7"]);
    expect(refused.stderr).toContain("No route to host");
    const refused6 = await host.run(["ip", "route", "get", "fd00:244::7"]);
    expect(refused6.stdout + refused6.stderr).toMatch(/No route to host|unreachable/);
    await host.ip("tuntap add dev weft0 mode tun", "link set weft0 up");
    await host.ip("route add 10.244.0.0/16 dev weft0", "route add fd00:244::/48 dev weft0");
    for (const to of ["10.244.7.7", "fd00:244::7"]) {
      expect(await host.exec(["ip", "route", "get", to])).toContain("dev weft0");
    }
  });

  it("leave those of others alone: of another protocol, and of another agent", async () => {
    await host.ip(`route add unreachable 10.55.0.0/16 metric ${METRIC}`);
    await host.ip("route add unreachable 10.56.0.0/16 proto 119 metric 5");
    await run(`return set("10.57.0.0/16");`, 4790);
    const others = await routes(4);
    await run(`await set("10.244.0.0/16"); await set("10.58.0.0/16"); await routes.remove();`);
    expect(await routes(4)).toEqual(others);
    expect(others).toHaveLength(3);
  });

  it("are all taken away, and that again does no harm, nor that one is gone", async () => {
    expect(await run(`await set("10.244.0.0/16", "10.99.0.0/16", "fd00:244::/48");`)).toEqual({});
    await host.ip(`route del unreachable 10.99.0.0/16 metric ${METRIC}`);
    const gone = `
      await set("10.244.0.0/16", "10.98.0.0/16", "fd00:244::/48");
      const { change } = await weft("host/ip.js");
      await change(["route del unreachable 10.98.0.0/16 metric ${METRIC}"]);
      await routes.remove();
      await routes.remove();`;
    expect(await run(gone)).toEqual({});
    expect([...(await routes(4)), ...(await routes(6))]).toEqual([]);
  });

  it("of the same prefixes, which this agent left when it had another port, are replaced", async () => {
    await run(`await set("10.244.0.0/16", "fd00:244::/48");`, 8472);
    expect(await set(...BOTH)).toEqual({ value: [] });
    expect(await routes(4)).toEqual(ours("10.244.0.0/16"));
    expect(await routes(6)).toEqual(ours("fd00:244::/48"));
  });

  it("of IPv4 do not mind that IPv6 is switched off", async () => {
    await host.sysctl("net/ipv6/conf/all/disable_ipv6", 1);
    expect(await set("10.244.0.0/16")).toEqual({ value: [] });
    const { value, error } = await set(...BOTH);
    expect(error).toBeUndefined();
    expect(value!.length).toBeLessThanOrEqual(1);
    expect(await routes(4)).toEqual(ours("10.244.0.0/16"));
  });
});
