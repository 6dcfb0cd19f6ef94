import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { traces } from "./cluster.js";
import { story } from "./story.js";

/** Seconds that the name service is waited for, far more than a stop takes. */
const TIMEOUT = 30;

story("an agent whose name service does not answer", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab?.close());

  it("ends at SIGTERM without waiting for the lookup", async () => {
    const host = await lab.host("a");
    // Queries are sent, and reach no host.
    await host.ip("neigh add 192.0.2.250 lladdr 02:00:00:00:00:fa dev eth0 nud permanent");
    const file = join(lab.folder, "resolv.conf");
    writeFileSync(file, `nameserver 192.0.2.250\noptions timeout:${TIMEOUT} attempts:1\n`);
    const mounting = `mount --bind ${file} /etc/resolv.conf && exec "$@"`;
    const before = await traces(host);
    const agent = lab.agent(host, {
      inside: ["unshare", "--mount", "sh", "-c", mounting, "sh"],
      flags: ["--join", "node.example"],
    });
    await expect.poll(() => existsSync(join(agent.state, "lock")), { timeout: 20_000 }).toBe(true);
    agent.process.kill();
    const began = performance.now();
    expect(await agent.process.exited).toMatchObject({ code: 0 });
    expect(performance.now() - began).toBeLessThan((TIMEOUT / 2) * 1000);
    expect(await traces(host)).toBe(before);
  });
});
