import { afterAll, beforeAll, expect, it } from "vitest";
import type { AgentStatus, LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { story } from "./story.js";

story("what an agent says of its health", () => {
  let lab: Lab;
  let first: LabAgent;
  let second: LabAgent;

  beforeAll(async () => {
    lab = await Lab.open();
    first = lab.agent(await lab.host("a"));
    await first.waitHealthy();
  });
  afterAll(() => lab?.close());

  it("is never healthy before it has its lease, its address and its peer", async () => {
    second = lab.agent(await lab.host("b"), { join: [first.host] });
    let status: AgentStatus | undefined;
    while (!status?.healthy) {
      expect(second.process.ended, second.process.output).toBe(false);
      status = await second.status(); // asked again at once: the moment between must not show
    }
    expect(status.leases).toHaveLength(1);
    expect(status.address).toBe(status.leases[0]?.replace("0/24", "1"));
    expect(status.peers).toBe(1);
  });

  it("`weft status` ends with 0 when it is healthy", async () => {
    await first.waitHealthy({ peers: 1 });
    expect(await first.weft("status")).toMatchObject({ code: 0, stderr: "" });
  });

  it("with 1 when a peer cannot be reached, which it names", async () => {
    await second.kill("SIGKILL");
    const status = async () => JSON.parse((await first.weft("status", "-o", "json")).stdout);
    const unreachable = expect.stringMatching(/^b cannot be reached /);
    await expect
      .poll(status, { timeout: 20_000 })
      .toMatchObject({ healthy: false, problems: expect.arrayContaining([unreachable]) });
    expect((await first.weft("status")).code).toBe(1);
  });

  it("and with 3 when no agent answers", async () => {
    const { code, stdout, stderr } = await second.weft("status");
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toContain(second.socket);
  });
});
