import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { inside, onHosts } from "./inside.js";

/** The state directories of two agents, from which the metrics of their routes are derived. */
const [STATE, OTHER_STATE] = ["/var", "/usr"];
/** The lowest metric of their routes. */
const METRICS = 0xffff0000;
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

  /** Runs code in a process of its own, as a later agent would. */
  const run = (steps: string, state = STATE) =>
    inside<string[]>(
      host,
      `const { UnreachableRoutes } = await weft("host/unreachable.js");
       const routes = new UnreachableRoutes("${state}");
       const set = (...all) => routes.set(all.map(prefix));
       ${steps}`,
    );
  const set = (...prefixes: string[]) => run(`return set(...${JSON.stringify(prefixes)});`);

  const shown = async (family: 4 | 6): Promise<{ dst: string; metric: number }[]> => {
    const words = `ip -j -${family} route show type unreachable`.split(" ");
    return JSON.parse((await host.exec(words)) || "[]");
  };
  const routes = async (family: 4 | 6): Promise<string[]> => {
    const all = (await shown(family)).filter(({ metric }) => metric >= METRICS);
    return all.map(({ dst }) => dst).sort();
  };
  const metric = async (): Promise<number> => (await shown(4))[0]!.metric;

  it("are those of the prefixes, in both families, whatever an earlier agent left", async () => {
    expect(await set(...BOTH, "10.99.0.0/16", "10.98.7.7/32")).toEqual({ value: [] });
    expect(await routes(4)).toEqual(["10.244.0.0/16", "10.98.7.7", "10.99.0.0/16"]);
    expect(await routes(6)).toEqual(["fd00:244::/48"]);
    expect(await set("10.244.0.0/16", "fd00:7::/48")).toEqual({ value: [] });
    expect(await routes(4)).toEqual(["10.244.0.0/16"]);
    expect(await routes(6)).toEqual(["fd00:7::/48"]);
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
    await host.ip(`route add unreachable 10.55.0.0/16 metric ${METRICS + 5}`);
    await host.ip("route add unreachable 10.56.0.0/16 proto 119 metric 5");
    await run(`return set("10.57.0.0/16", "10.244.0.0/16");`, OTHER_STATE);
    const others = await shown(4);
    await run(`await set("10.244.0.0/16"); await set("10.58.0.0/16"); await routes.remove();`);
    expect(await shown(4)).toEqual(others);
    expect(others).toHaveLength(4);
  });

  it("are all taken away, and that again does no harm, nor that one is gone", async () => {
    expect(await run(`await set("10.244.0.0/16", "10.99.0.0/16", "fd00:244::/48");`)).toEqual({});
    const own = await metric();
    await host.ip(`route del unreachable 10.99.0.0/16 metric ${own}`);
    const gone = `
      await set("10.244.0.0/16", "10.98.0.0/16", "fd00:244::/48");
      const { change } = await weft("host/ip.js");
      await change(["route del unreachable 10.98.0.0/16 metric ${own}"]);
      await routes.remove();
      await routes.remove();`;
    expect(await run(gone)).toEqual({});
    expect([...(await routes(4)), ...(await routes(6))]).toEqual([]);
  });

  it("that an earlier run left are taken away by one that knew of no network yet", async () => {
    await set(...BOTH);
    expect(await run("await routes.remove();")).toEqual({});
    expect([...(await routes(4)), ...(await routes(6))]).toEqual([]);
  });

  it("are restored as an earlier run left them, where a start fails", async () => {
    await set("10.244.0.0/16", "10.99.0.0/16", "fd00:244::/48");
    const fails = "await routes.restore();";
    expect(await run(fails)).toEqual({});
    expect(
      await run(`await set("10.244.0.0/16", "10.98.0.0/16", "fd00:7::/48"); ${fails}`),
    ).toEqual({});
    expect(await routes(4)).toEqual(["10.244.0.0/16", "10.99.0.0/16"]);
    expect(await routes(6)).toEqual(["fd00:244::/48"]);
  });

  it("of IPv4 do not mind that IPv6 is switched off", async () => {
    await host.sysctl("net/ipv6/conf/all/disable_ipv6", 1);
    expect(await set("10.244.0.0/16")).toEqual({ value: [] });
    const { value, error } = await set(...BOTH);
    expect(error).toBeUndefined();
    expect(value!.length).toBeLessThanOrEqual(1);
    expect(await routes(4)).toEqual(["10.244.0.0/16"]);
  });
});
