import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { FailingIp, type How } from "./failing-ip.js";
import { onHosts, resident } from "./inside.js";
import { hostState } from "./state.js";

const FAMILIES = [4, 6] as const;
/** Any existing directory, from which the metric of the unreachable routes is derived. */
const STATE = "/var";

/** An agent with both families and two static peers configures its host, and undoes that again. */
const AGENT = `
  const { Link } = await weft("host/link.js");
  const { UnreachableRoutes } = await weft("host/unreachable.js");
  const network = ["10.244.0.0/16", "fd00:244::/48"].map(prefix);
  const beyond = ["198.51.100.0/24", "fd00:9::/64"].map(prefix);
  const addresses = ["10.244.7.1", "fd00:244:0:7::1"].map(address);
  const link = new Link({ device: "weft0", addresses, network });
  const unreachable = new UnreachableRoutes("${STATE}");
  const { ThroughCore } = await weft("host/through-core.js");
  const throughCore = new ThroughCore("${STATE}");
  // Whether this host forwards is no step.
  const rules = async (covered) =>
    (await throughCore.set(covered)).filter((it) => !it.includes("forwards none"));
  const attempts = async (...steps) => {
    const trouble = [];
    for (const step of steps) {
      try { trouble.push(...((await step()) ?? [])); } catch (error) { trouble.push(error.message); }
    }
    return trouble;
  };
  const configure = () => attempts(
    () => unreachable.set([...network, ...beyond]),
    () => link.set(beyond, 1450),
    () => link.acceptOwnSource(),
    () => rules({ device: "weft0", network, interfaces: ["veth1"] }),
  );`;
const CONFIGURE = `${AGENT} return configure();`;
const UNCONFIGURE = `${AGENT}
  return attempts(() => link.remove(), () => rules(undefined), () => unreachable.remove());`;

/** Milliseconds, enough for a busy machine. */
const BUSY_MS = 300_000;

onHosts("every single step of configuring a host may fail", () => {
  let lab: Lab;
  let host: Host;
  let ip: FailingIp;
  let outcomeOf: Awaited<ReturnType<typeof resident>>;
  let bare: string[];
  let whole: string[];

  beforeAll(async () => {
    lab = await Lab.open();
    host = await lab.host("h");
    ip = new FailingIp(join(lab.folder, "failing-ip"));
    outcomeOf = await resident(host, join(lab.folder, "resident.sock"), ip.path);
    await reset();
    bare = await hostState(host);
    expect(await run(CONFIGURE)).toEqual([]);
    whole = await hostState(host);
    expect(whole).not.toEqual(bare);
  });
  afterAll(() => lab?.close());

  const run = async (body: string): Promise<string[]> => {
    const { value, error } = await outcomeOf<string[]>(body);
    expect(error).toBeUndefined();
    return value!;
  };

  /** Makes a new device, as that of a process that has just started. */
  const renewDevice = async (): Promise<void> => {
    await host.run(["ip", "link", "delete", "weft0"]);
    await host.ip("tuntap add dev weft0 mode tun");
  };
  const reset = async (): Promise<void> => {
    for (const family of FAMILIES) {
      await host.run(["ip", `-${family}`, "route", "flush", "proto", "119"]);
      await host.run(["ip", `-${family}`, "route", "flush", "table", "6784"]);
      for (const pref of [100, 101, 102, 103, 104])
        await host.run(["ip", `-${family}`, "rule", "del", "pref", `${pref}`]);
    }
    await renewDevice();
  };

  const isAbout = (line: string, family: 4 | 6): boolean =>
    (family === 4 ? /\b(10\.244|198\.51)\.| -4 / : /\bfd00:| -6 /).test(line);
  /** Lines of a completely configured host that belong to this family alone. */
  const of = (family: 4 | 6) => whole.filter((line) => isAbout(line, family));

  /** Lets each step of `body` fail once, and calls `see` with the result. */
  async function eachStep(
    body: string,
    how: How,
    see: (trouble: string[], step: string) => Promise<void>,
  ): Promise<void> {
    for (let step = 1; ; step++) {
      ip.failAt(step, how);
      const trouble = await run(body);
      ip.neverFail();
      if (ip.failed === "") return void expect(step).toBeGreaterThan(5);
      await see(trouble, `${step}: ${ip.failed}`);
    }
  }

  describe.each<How>(["refused", "late"])("and be %s", { timeout: BUSY_MS }, (how) => {
    it("then it is named, spares the other family, and the next attempt repairs it", async () => {
      const see = async (trouble: string[], step: string) => {
        expect(trouble.join("\n"), step).toContain("Injected failure");
        const after = await hostState(host);
        for (const [family, other] of [FAMILIES, [...FAMILIES].reverse()]) {
          if (isAbout(step, other!))
            expect(after, step).toEqual(expect.arrayContaining(of(family!)));
        }
        expect(await run(CONFIGURE), step).toEqual([]);
        expect(await hostState(host), step).toEqual(whole);
        await reset();
      };
      await reset();
      await eachStep(CONFIGURE, how, see);
    });

    it("also during removal: it is named, or nothing is left, and the next start repairs it", async () => {
      await reset();
      await run(CONFIGURE);
      const see = async (trouble: string[], step: string) => {
        await renewDevice();
        if (trouble.length === 0) expect(await hostState(host), step).toEqual(bare);
        else expect(trouble.join("\n"), step).toContain("Injected failure");
        expect(await run(CONFIGURE), step).toEqual([]);
        expect(await hostState(host), step).toEqual(whole);
      };
      await eachStep(UNCONFIGURE, how, see);
      await renewDevice();
      expect(await hostState(host)).toEqual(bare);
    });
  });
});
