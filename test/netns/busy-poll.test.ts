import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

/** /proc counts in hundredths of a second. */
const TICKS_PER_SECOND = 100;

story("agents that keep looking for packets before they sleep", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"], { flags: ["--busy-poll", "50"] });
  });
  afterAll(() => lab?.close());

  it("answer each other", async () => {
    const { sent, rttMs, output } = await ping(a!.host, b!.status.address, {
      count: 200,
      intervalSeconds: 0.002,
    });
    expect(rttMs, output).toHaveLength(sent);
  });

  it("carry a stream unchanged", async () => {
    await transfer(a!.host, b!.host, b!.status.address, 20_000_000);
  });

  it("leave the CPU to others when there is no traffic", async () => {
    for (const { agent } of [a!, b!]) {
      await expect.poll(() => busyPart(agent), { timeout: 20_000 }).toBeLessThan(0.5);
    }
  });
});

/** How much of one CPU an agent uses, measured for half a second. */
async function busyPart({ process }: LabAgent): Promise<number> {
  const [before, start] = [cpuSeconds(process.pid!), performance.now()];
  await sleep(500);
  return (cpuSeconds(process.pid!) - before) / ((performance.now() - start) / 1_000);
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = [fields[11], fields[12]].map(Number);
  return (user! + system!) / TICKS_PER_SECOND;
}
