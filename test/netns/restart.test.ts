import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { cluster, type Node, traces } from "./cluster.js";
import { story } from "./story.js";

story("agents that end", () => {
  let lab: Lab;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b, c] = await cluster(lab, ["a", "b", "c"]);
  });
  afterAll(() => lab?.close());

  const answers = async (from: Host, to: string) => {
    const { sent, rttMs, output } = await ping(from, to);
    expect(rttMs, output).toHaveLength(sent);
  };

  it("after SIGKILL the others go on, and it returns with the same lease", async () => {
    await b!.agent.kill("SIGKILL");
    await answers(a!.host, c!.status.address);
    await answers(c!.host, a!.status.address);

    const agent = lab.agent(b!.host, { join: [a!.host] });
    const status = await agent.waitHealthy({ peers: 2 });
    expect(status).toMatchObject({ address: b!.status.address, leases: b!.status.leases });
    expect(status.mac).toBe(b!.status.mac);
    b = { ...b!, agent };
    await answers(a!.host, status.address);
    await answers(b.host, c!.status.address);
  });

  it("so does the founder", async () => {
    await a!.agent.kill("SIGKILL");
    await answers(b!.host, c!.status.address);

    const agent = lab.agent(a!.host);
    const status = await agent.waitHealthy({ peers: 2 });
    expect(status).toMatchObject({ address: a!.status.address, leases: a!.status.leases });
    a = { ...a!, agent };
    await answers(c!.host, status.address);
  });

  it("after SIGTERM nothing is left: no device, route or socket", async () => {
    const host = await lab.host("d");
    const before = await traces(host);
    const agent = lab.agent(host, { join: [a!.host] });
    await agent.waitHealthy({ peers: 3 });
    expect(await traces(host)).not.toBe(before);

    expect(await agent.kill("SIGTERM")).toMatchObject({ code: 0 });
    expect(await traces(host)).toBe(before);
    expect(existsSync(agent.socket)).toBe(false);
    await a!.agent.waitHealthy({ peers: 2 });
  });

  it("takes itself away even where the host has begun to answer nonsense", async () => {
    const host = await lab.host("e");
    const before = await traces(host);
    const programs = mkdtempSync(join(lab.folder, "programs-"));
    const nonsense = join(programs, "nonsense");
    const real = (await host.exec(["which", "ip"])).trim();
    const script = `#!/bin/sh\n[ -e ${nonsense} ] && [ "$1" = -j ] && echo nonsense && exit 0\nexec ${real} "$@"\n`;
    writeFileSync(join(programs, "ip"), script, { mode: 0o755 });

    const inside = ["env", `PATH=${programs}:${process.env.PATH}`];
    const agent = lab.agent(host, { join: [a!.host], inside });
    await agent.waitHealthy({ peers: 3 });
    writeFileSync(nonsense, "");
    await agent.process.waitForOutput("did not answer in JSON");

    expect((await agent.kill("SIGTERM")).code).toBe(0);
    expect(existsSync(agent.socket)).toBe(false);
    expect(await traces(host)).toBe(before);
  });
});
