/**
 * Agents whose clocks are wrong, jump while they run, and are set right, by libfaketime. The monotonic
 * clock goes on as the kernel's does when the time of day is set.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AgentStatus, LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { FENCE_CHECK_EVERY } from "../../src/lease/fence.js";
import { agentsOn, allAnswer, type Node } from "./cluster.js";
import { story } from "./story.js";

const HOUR = 3_600;
/** Seconds from a little after 1970, where a host without a battery starts, to now. */
const since1970 = Math.floor(Date.now() / 1_000) - HOUR;
/** Seconds by which the clocks of the hosts are wrong at the start. */
const WRONG = { from1970: -since1970, ahead: 25 * HOUR, behind: -25 * HOUR, right: 0, founder: 0 };
type Name = keyof typeof WRONG;
/** Longer than until a lease fence has looked at the clock, in milliseconds. */
const LOOKED = 1.25 * FENCE_CHECK_EVERY + 5_000;

story("agents whose clocks are wrong", () => {
  let lab: Lab;
  const nodes = new Map<Name, Node>();
  const library = spawnSync("faketime", ["-m", "-f", "+0", "printenv", "LD_PRELOAD"], {
    encoding: "utf8",
  }).stdout.trim();

  const fileOf = (name: string) => join(lab.folder, `${name}.clock`);
  const set = (name: string, seconds: number) =>
    writeFileSync(fileOf(name), `${seconds < 0 ? "" : "+"}${seconds}\n`);
  const optionsOf = ({ name }: Host) => ({
    inside: [
      "env",
      `LD_PRELOAD=${library}`,
      `FAKETIME_TIMESTAMP_FILE=${fileOf(name)}`,
      "FAKETIME_CACHE_DURATION=1",
      "DONT_FAKE_MONOTONIC=1",
      "NO_FAKE_STAT=1",
    ],
  });
  const agentOf = (name: Name): LabAgent => nodes.get(name)!.agent;
  const notesOf = async (name: Name) => (await agentOf(name).status())?.notes.join("\n");
  const leasesOf = async (agents: Iterable<LabAgent>) => {
    const all = await Promise.all([...agents].map((agent) => agent.status()));
    return all.flatMap((status) => status?.leases ?? []);
  };
  const isHealthyWith = async ({ agent, status }: Node): Promise<AgentStatus> => {
    const now = await agent.waitHealthy({ peers: nodes.size - 1 });
    expect(now).toMatchObject({ leases: status.leases, address: status.address });
    return now;
  };

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts: Host[] = [];
    const names = (Object.keys(WRONG) as Name[]).reverse();
    for (const name of names) {
      hosts.push(await lab.host(name));
      set(name, WRONG[name]);
    }
    const started = await agentsOn(lab, hosts, optionsOf);
    for (const [i, name] of names.entries()) nodes.set(name, started[i]!);
  });
  afterAll(() => lab?.close());

  it("get leases of their own, and status says whose clock is wrong", async () => {
    const leases = await leasesOf([...nodes.values()].map(({ agent }) => agent));
    expect(new Set(leases).size).toBe(nodes.size);
    const poll = (name: Name) => expect.poll(() => notesOf(name), { timeout: 10_000 });
    await poll("founder").toMatch(
      /^the clock of from1970 is \d+ d \d+ h behind this host's and most/m,
    );
    await poll("founder").toMatch(/^the clock of ahead is 1 d 1 h ahead of this host's and most/m);
    await poll("founder").toMatch(/^the clock of behind is 1 d 1 h behind this host's and most/m);
    await poll("ahead").toMatch(
      /^this host's clock is 1 d 1 h ahead of that of \w+ and most others/,
    );
    await poll("from1970").toMatch(/^this host's clock is \d+ d .* here: 1970-01-01T/);
  });

  it("keep sessions and leases when they are set right, and when a right one is set wrong", async () => {
    const before = new Map(
      [...nodes].map(([name, { agent }]) => [name, agent.process.output.length]),
    );
    for (const name of nodes.keys()) set(name, name === "right" ? 25 * HOUR : 0);
    for (const end = performance.now() + LOOKED; performance.now() < end; await sleep(1_000)) {
      const leases = await leasesOf([...nodes.values()].map(({ agent }) => agent));
      expect(new Set(leases).size).toBe(leases.length);
    }
    for (const [name, node] of nodes) {
      await isHealthyWith(node);
      const said = node.agent.process.output.slice(before.get(name));
      expect(said).not.toMatch(/session with .* ended|no message|declared dead/);
    }
    expect(await notesOf("ahead")).toMatch(/^the clock of right is 1 d 1 h ahead of [^\n]*$/);
    set("right", 0);
    for (const name of nodes.keys()) {
      await expect.poll(() => notesOf(name), { timeout: 10_000 }).toBe("");
    }
    await allAnswer([...nodes.values()]);
  }, 150_000);

  it("have their leases back when they start again in their own past, and in 1970", async () => {
    for (const name of ["from1970", "behind"] as const) {
      const node = nodes.get(name)!;
      await node.agent.kill("SIGKILL");
      set(name, WRONG[name]);
      const join = [nodes.get("founder")!.host];
      nodes.set(name, { ...node, agent: lab.agent(node.host, { ...optionsOf(node.host), join }) });
    }
    for (const node of nodes.values()) await isHealthyWith(node);
    await allAnswer([...nodes.values()]);
  });
});
