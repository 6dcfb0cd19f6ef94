/** With --keep-flows a policed TCP connection outlives its agent. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { joinSections, splitSections } from "../../src/files/sections.js";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { RunningProgram } from "../../src/lab/running.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const PORT = 7000;
const POLL_MS = 50;
/** Longer than the pauses between the retransmissions of a host that waited for an agent. */
const SILENCE_MS = 8_000;
/** Longer than the time between two writes of the file. */
const KEPT_MS = 5_000;

/** Answers each 256 KiB with a byte. */
const SERVER = `
require("node:net").createServer((peer) => {
  let got = 0;
  peer.on("error", () => {}).on("data", (data) => {
    for (got += data.length; got >= 262144; got -= 262144) peer.write("x");
  });
}).listen(${PORT}, () => console.log("listens"));`;

/** Sends 256 KiB for each answer, and says now and then how often it was answered. */
const CLIENT = `
const peer = require("node:net").connect({ host: process.argv[1], port: ${PORT} });
let answers = 0;
const chunk = Buffer.alloc(262144);
peer.on("connect", () => peer.write(chunk));
peer.on("data", (data) => { answers += data.length; for (const _ of data) peer.write(chunk); });
peer.on("error", ({ code }) => { console.log(code); process.exit(); });
setInterval(() => console.log("answers " + answers), 100);`;

story("an agent that keeps its connections", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"], { flags: ["--no-pick-up", "--keep-flows"] });
    await b!.host.spawn([process.execPath, "-e", SERVER]).waitForOutput("listens");
    await apply([PORT]);
  });
  afterAll(() => lab?.close());

  async function apply(ports: readonly number[]): Promise<void> {
    const file = join(lab.folder, "policy.yaml");
    const rule = `{ action: allow, protocol: tcp, ports: [${ports}] }`;
    const policy = `{ name: all, applies: ["node:a"], ingress: [], egress: [${rule}] }`;
    writeFileSync(file, `policies: [${policy}]\n`);
    const { code, stderr } = await b!.agent.weft("policy", "apply", file, "--wait");
    expect(code, stderr).toBe(0);
  }

  const answersOf = (client: RunningProgram): number =>
    Number([...client.output.matchAll(/answers (\d+)/g)].at(-1)?.[1] ?? 0);

  async function isAnswered(client: RunningProgram): Promise<boolean> {
    const before = answersOf(client);
    const deadline = Date.now() + SILENCE_MS;
    while (Date.now() < deadline) {
      if (answersOf(client) > before + 1) return true;
      await sleep(POLL_MS);
    }
    return false;
  }

  async function connected(): Promise<RunningProgram> {
    const client = a!.host.spawn([process.execPath, "-e", CLIENT, b!.status.address]);
    expect(await isAnswered(client)).toBe(true);
    return client;
  }

  async function again(...flags: string[]): Promise<LabAgent> {
    const agent = lab.agent(a!.host, { flags: ["--no-pick-up", ...flags] });
    a = { ...a!, agent };
    await agent.waitHealthy({ peers: 1 });
    return agent;
  }

  const file = () => join(a!.agent.state, "flows.state");

  it("goes on with them after SIGTERM", async () => {
    const client = await connected();
    await a!.agent.kill("SIGTERM");
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    const agent = await again("--keep-flows");
    expect(await isAnswered(client)).toBe(true);
    expect(agent.process.output).toMatch(/1 of 1 connections of the last run go on/);
    await client.stop("SIGKILL");
  });

  it("and after SIGKILL, with those that were written to its file", async () => {
    const client = await connected();
    await sleep(KEPT_MS);
    await a!.agent.kill("SIGKILL");
    await again("--keep-flows");
    expect(await isAnswered(client)).toBe(true);
    await client.stop("SIGKILL");
  });

  it("but not if the rules forbid them by then", async () => {
    const client = await connected();
    await a!.agent.kill("SIGTERM");
    await apply([PORT + 1]);
    const agent = await again("--keep-flows");
    await agent.process.waitForOutput(/connections of the last run go on/);
    expect(await isAnswered(client)).toBe(false);
    const { stdout } = await agent.weft("counters");
    expect(stdout).toContain("denied-egress");
    await client.stop("SIGKILL");
    await apply([PORT]);
  });

  it("ignores a file of another version with one line, and starts", async () => {
    const client = await connected();
    await a!.agent.kill("SIGTERM");
    const sections = splitSections("weft flows", 1, readFileSync(file()));
    if (typeof sections === "string") throw new Error(sections);
    writeFileSync(file(), joinSections("weft flows", 2, Object.fromEntries(sections)));
    const agent = await again("--keep-flows");
    const lines = agent.process.output.match(/connections of the last run .*/g);
    expect(lines).toHaveLength(1);
    expect(lines![0]).toMatch(/are not restored: another version of weft wrote them/);
    expect(await isAnswered(client)).toBe(false);
    await client.stop("SIGKILL");
  });

  it("without --keep-flows ends them, and leaves no file", async () => {
    const client = await connected();
    await a!.agent.kill("SIGTERM");
    await again();
    expect(await isAnswered(client)).toBe(false);
    expect(() => statSync(file())).toThrow("ENOENT");
    await client.stop("SIGKILL");
  });
});
