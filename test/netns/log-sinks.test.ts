/** An agent whose log cannot be written carries packets on, and `weft status` says so. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import type { LogState } from "../../src/logging/log.js";
import { story } from "./story.js";

const folder = mkdtempSync(join(tmpdir(), "weft-log-sinks-"));

/** A shell that replaces itself by the agent, with its descriptors led elsewhere. */
const to = (redirections: string, before = "") => [
  "bash",
  "-c",
  `${before} exec "$@" ${redirections}`,
  "bash",
];
/** Runs until the agent is gone. */
const UNTIL_GONE = "while kill -0 $$ 2>/dev/null; do sleep 0.2; done";
/** In a mount namespace of its own: the host sees nothing of it. */
const ON_FULL_DISK = [
  "unshare",
  "--mount",
  ...to(
    `2>>${folder}/log`,
    `mount -t tmpfs -o size=64k none ${folder} && head -c 60000 /dev/zero > ${folder}/filler;`,
  ),
];

story("an agent whose log", () => {
  let lab: Lab;
  let host: Host;
  let agent: LabAgent;

  beforeAll(async () => {
    lab = await Lab.open();
    host = await lab.host("a");
  });
  afterEach(async () => {
    const { code } = await agent.kill("SIGTERM");
    expect(code).toBe(0);
  });
  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const logState = async () => (await agent.get<{ log: LogState }>("/v1/status"))?.log;

  /** Has it log until the state of its log fits. */
  async function logUntil(fits: (state: LogState) => boolean): Promise<LogState> {
    const deadline = Date.now() + 60_000;
    for (let i = 0; ; i++) {
      for (const signal of ["SIGUSR1", "SIGUSR2", "SIGHUP"] as const) agent.process.kill(signal);
      await sleep(2);
      if (i % 20 > 0) continue;
      const state = await logState();
      if (state && fits(state)) return state;
      if (agent.process.ended || Date.now() > deadline) throw new Error(JSON.stringify(state));
    }
  }

  it.each<[string, readonly string[], string]>([
    ["goes to a full device", to("2>/dev/full"), "no space left on device"],
    ["goes to a full disk", ON_FULL_DISK, "no space left on device"],
    ["goes to a pipe that is closed", to("2> >(exec true)"), "broken pipe"],
    ["goes to a pipe that nobody reads", to(`2> >(${UNTIL_GONE})`), "it is not read"],
  ])(
    "%s goes on, and counts what is lost",
    async (_, inside, why) => {
      agent = lab.agent(host, { inside });
      await agent.waitHealthy();
      expect(await logUntil(({ lost }) => lost > 100)).toMatchObject({ why });
      const { code, stdout } = await agent.weft("status");
      expect(code).toBe(0);
      const row = new RegExp(
        `^log +cannot be written since \\S+ \\(${why}\\): \\d+ lines wait`,
        "m",
      );
      expect(stdout).toMatch(row);
      expect(await agent.waitHealthy()).toMatchObject({ problems: [] });
    },
    120_000,
  );

  it("can be written again says what was lost", async () => {
    agent = lab.agent(host, { inside: ON_FULL_DISK });
    await agent.waitHealthy();
    const { lost, since } = await logUntil((state) => state.lost > 0);
    const inside = ["nsenter", "--target", `${agent.process.pid}`, "--mount", "--"];
    await host.exec([...inside, "rm", join(folder, "filler")]);
    // The disk is still small: the log is read and emptied, as by a log rotation.
    let text = "";
    const read = async () => {
      text += await host.exec([...inside, "cat", join(folder, "log")]);
      await host.exec([...inside, "truncate", "--size", "0", join(folder, "log")]);
      return text;
    };
    const sentence = new RegExp(`\\d+ lines of the log are lost: since ${since}`);
    await expect.poll(read, { timeout: 30_000, interval: 500 }).toMatch(sentence);
    const [count] = sentence.exec(text)!;
    expect(Number.parseInt(count, 10)).toBeGreaterThanOrEqual(lost);
    const stateOnceRead = async () => {
      await read();
      return await logState();
    };
    await expect.poll(stateOnceRead).toMatchObject({ waiting: 0 });
    expect((await agent.weft("status")).stdout).toMatch(/^log +\d+ lines were lost/m);
  });

  it("is closed, as stdin and stdout are, goes on", async () => {
    agent = lab.agent(host, { inside: to("<&- >&- 2>&-") });
    await agent.waitHealthy();
    expect(await agent.status()).toMatchObject({ problems: [] });
  });
});
