import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { addressOf, cluster, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";

const FAMILIES = [4, 6] as const;
/** They come and go within so many milliseconds; the agent looks every five seconds. */
const SEEN = { timeout: 20_000 };

story("a host with a network of its own in the range of the overlay", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"], { flags: DUAL_STACK });
    await a!.host.ip("link add docker0 type bridge", "link set docker0 up");
  });
  afterAll(() => lab?.close());

  const problems = async () => (await a!.agent.status())?.problems.join("\n") ?? "";
  const answers = async (family: 4 | 6) =>
    (await ping(a!.host, addressOf(b!, family), { count: 1 })).rttMs.length;
  const leaseOf = (node: Node, family: 4 | 6) =>
    node.status.leases.find((it) => it.includes(":") === (family === 6))!;
  /** An address of a lease with the lease's length, as a bridge has it. */
  const addressIn = (lease: string) => lease.replace(/0?\/(\d+)$/, "77/$1");

  for (const family of FAMILIES) {
    it(`is degraded as long as a bridge has an IPv${family} address of a peer's lease`, async () => {
      expect(await answers(family)).toBe(1);
      const lease = leaseOf(b!, family);
      await a!.host.ip(`address add ${addressIn(lease)} dev docker0`);
      await expect.poll(problems, SEEN).toContain(`"${lease} dev docker0" of this host takes`);
      expect(await problems()).toMatch(/change the network of docker0, or .* with --network/);
      expect((await a!.agent.weft("status")).code).toBe(1);

      await a!.host.ip(`address del ${addressIn(lease)} dev docker0`);
      await a!.agent.waitHealthy({ peers: 1 });
      expect(await answers(family)).toBe(1);
    });

    it(`is degraded as long as rules lead IPv${family} packets into another table`, async () => {
      const ip = (words: string) => a!.host.exec(["ip", `-${family}`, ...words.split(" ")]);
      const network = a!.status.network.find((it) => it.includes(":") === (family === 6));
      await ip(`rule add pref 100 to ${network} table 52`);
      await ip("route add default dev docker0 table 52");
      await expect.poll(problems, SEEN).toContain(`"default dev docker0 table 52"`);
      await ip(`route add throw ${network} table 52`);
      await a!.agent.waitHealthy({ peers: 1 });
      expect(await answers(family)).toBe(1);
      await ip("rule del pref 100");
    });
  }

  it("stays healthy with a bridge that has its own lease", async () => {
    for (const family of FAMILIES) {
      await a!.host.ip(`address add ${addressIn(leaseOf(a!, family))} dev docker0`);
    }
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await problems()).toBe("");
    expect(await answers(4)).toBe(1);
  });

  it("does not start while its own address is taken, and starts with the same lease then", async () => {
    await a!.agent.kill();
    await a!.host.ip("route add 10.244.0.0/17 dev docker0");
    const refused = lab.agent(a!.host, { flags: DUAL_STACK });
    const { code, stderr } = await refused.process.finish(20_000);
    expect(stderr).toMatch(/10\.244\.0\.0\/17 dev docker0.*\n.*change the network of docker0/);
    expect(code).toBe(1);

    await a!.host.ip("route del 10.244.0.0/17 dev docker0");
    const status = await lab.agent(a!.host, { flags: DUAL_STACK }).waitHealthy({ peers: 1 });
    expect(status.leases).toEqual(a!.status.leases);
  });

  for (const [family, network] of [
    [4, "10.244.0.0/16"],
    [6, "fd00:244::/48"],
  ]) {
    it(`founds nothing where all of its IPv${family} network is taken`, async () => {
      const host = await lab.host(`c${family}`);
      await host.ip(`route add local ${network} dev lo`);
      const { code, stderr } = await lab.agent(host, { flags: DUAL_STACK }).process.finish(20_000);
      expect(stderr).toContain(`"local ${network} dev lo table local"`);
      expect(code).toBe(1);
      const flags = ["--network", "10.99.0.0/16"];
      await lab.agent(host, { flags }).waitHealthy();
    });
  }
});
