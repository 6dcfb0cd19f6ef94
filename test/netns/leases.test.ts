import { afterAll, beforeAll, expect, it } from "vitest";
import type { LeaseRow } from "../../src/http/view.js";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, allAnswer, cluster, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";

/** Waits until the agent's status is as asked for. The test's own time limit ends it. */
async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const says = (agent: LabAgent, problem: RegExp) =>
  until(async () => (await agent.status())?.problems.find((line) => problem.test(line)));

story("a network with as many leases as nodes", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];
  let c: Host;
  let waiting: LabAgent;

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"], { flags: ["--network", "10.244.0.0/23"] });
    c = await lab.host("c");
    waiting = lab.agent(c, { join: [a!.host] });
  });
  afterAll(() => lab?.close());

  it("has none for a third, which says so", async () => {
    await says(waiting, /this node has no lease: .*no .* free space/);
    const { code, stdout } = await waiting.weft("status");
    expect(code).toBe(1);
    expect(stdout.replace(/\s+/g, " ")).toContain("weft forget");
  });

  it("has one when another gives its own back: --release", async () => {
    await b!.agent.kill("SIGTERM");
    const kept = lab.agent(b!.host, { join: [a!.host], flags: ["--release"] });
    expect((await kept.waitHealthy()).leases).toEqual(b!.status.leases);
    expect((await kept.kill("SIGTERM")).code).toBe(0);
    expect(kept.process.output).toContain("are returned");
    const status = await waiting.waitHealthy({ peers: 1 });
    expect(status.leases).toEqual(b!.status.leases);
    await allAnswer([a!, { host: c, agent: waiting, status }]);
  });

  it("has one when the operator forgets a node that is gone, and its name is free at once", async () => {
    await waiting.kill("SIGKILL");
    await says(a!.agent, /c .*(reached|dead)/);
    const early = await a!.agent.weft("forget", "c");
    expect(early.code).not.toBe(0);
    expect(early.stderr).toMatch(/--force/);

    // The host is installed anew: its name without its state directory.
    const anew = lab.agent(c, { join: [a!.host], flags: ["--state", `${lab.folder}/anew`] });
    const forgotten = await until(async () => {
      const said = await a!.agent.weft("forget", "c", "--force");
      return said.code === 0 && said;
    });
    expect(forgotten.stdout.trim()).toBe(b!.status.leases[0]);
    const status = await anew.waitHealthy({ peers: 1 });
    expect(status).toMatchObject({ name: "c", leases: b!.status.leases });
    await allAnswer([a!, { host: c, agent: anew, status }]);
  });
});

story("nodes with two leases in each network", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];
  const flags = ["--leases", "2"];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"], { flags: [...DUAL_STACK, ...flags] });
  });
  afterAll(() => lab?.close());

  it("show both, and have the first address of the first", async () => {
    expect(a!.status.leases).toEqual([
      "10.244.1.0/24",
      "10.244.2.0/24",
      "fd00:244:0:1::/64",
      "fd00:244:0:2::/64",
    ]);
    expect(a!.status.addresses).toEqual(["10.244.1.1", "fd00:244:0:1::1"]);
    expect(b!.status.leases).toHaveLength(4);
    const rows = await a!.agent.get<LeaseRow[]>("/v1/leases");
    const subnets = rows!.filter(({ owner }) => owner === "b").map(({ subnet }) => subnet);
    expect(subnets.sort()).toEqual([...b!.status.leases].sort());
  });

  it("are reached in both, and may speak from both", async () => {
    const [, second] = b!.status.leases;
    const address = second!.replace("0/24", "9");
    await b!.host.exec(["ip", "address", "add", `${address}/32`, "dev", "lo"]);
    for (const [from, to, source] of [
      [a!, address, undefined],
      [b!, a!.status.address, address],
      [a!, addressOf(b!, 6), undefined],
    ] as const) {
      const argv = ["ping", "-c", "1", "-W", "5", ...(source ? ["-I", source] : []), to];
      expect((await from.host.run(argv)).code, argv.join(" ")).toBe(0);
    }
  });

  it("keep them all at a restart that asks for fewer, and get more where it asks for more", async () => {
    await b!.agent.kill("SIGTERM");
    const fewer = lab.agent(b!.host, { join: [a!.host] });
    expect((await fewer.waitHealthy({ peers: 1 })).leases).toEqual(b!.status.leases);
    await fewer.kill("SIGKILL");
    const more = lab.agent(b!.host, { join: [a!.host], flags: ["--leases", "3"] });
    const status = await until(async () => {
      const now = await more.status();
      return now?.healthy && now.leases.length === 6 && now;
    });
    expect(status.leases).toEqual(expect.arrayContaining([...b!.status.leases]));
    expect(status.addresses).toEqual(b!.status.addresses);
    await allAnswer([a!, { host: b!.host, agent: more, status }]);
  });
});
