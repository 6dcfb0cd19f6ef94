/** Signals act on an agent as docs/command.md#signals says, and open no port. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { traces } from "./cluster.js";
import { story } from "./story.js";

const folder = mkdtempSync(join(tmpdir(), "weft-signals-"));
const pidFile = join(folder, "pid");
const exitFile = join(folder, "exit");
/** A shell of a terminal: it hands on the SIGHUP, and notes how the agent ended. */
const SHELL = `trap 'kill -HUP \\$p' HUP; $* <&0 REDIRECTIONS & p=\\$!; echo \\$p > ${pidFile};
  wait \\$p; wait \\$p; echo \\$? > ${exitFile}`;
/** In a terminal, which closes when the process of `script` ends. */
const onTerminal = (redirections: string) => [
  "sh",
  "-c",
  `exec script -qfc "${SHELL.replace("REDIRECTIONS", redirections)}" /dev/null`,
  "sh",
];

story("an agent", () => {
  let lab: Lab;
  let host: Host;
  let agent: LabAgent;
  let before: string;

  beforeAll(async () => {
    lab = await Lab.open();
    host = await lab.host("a");
    agent = lab.agent(host);
    await agent.waitHealthy();
    await agent.kill();
    // The unreachable routes of the first run are gone as well.
    before = await traces(host);
    agent = lab.agent(host);
    await agent.waitHealthy();
  });
  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const ports = async () => (await host.exec(["ss", "-Hlntu"])).trim();

  it.each<NodeJS.Signals>(["SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGWINCH", "SIGHUP", "SIGTTOU"])(
    "goes on at %s, and opens no port",
    async (signal) => {
      const open = await ports();
      for (let i = 0; i < 20; i++) {
        agent.process.kill(signal);
        await sleep(10);
        expect(await ports()).toBe(open);
      }
      expect(await agent.waitHealthy()).toMatchObject({ problems: [] });
    },
  );

  it("says of SIGUSR1 and SIGUSR2 that they mean nothing", () => {
    expect(agent.process.output).toMatch(/SIGUSR1 is ignored by weft/);
    expect(agent.process.output).toMatch(/SIGUSR2 is ignored by weft/);
  });

  // SIGTSTP (Ctrl-Z) would do the same, but the kernel ignores it in an orphaned process group.
  it("suspended is named by every verb, and goes on at SIGCONT", async () => {
    agent.process.kill("SIGSTOP");
    const { code, stderr } = await agent.weft("status");
    expect(code).toBe(3);
    const pid = `${agent.process.pid}`;
    expect(stderr).toMatch(new RegExp(`the agent \\(pid ${pid}, a\\) .* is suspended`));
    expect(stderr).toContain(`kill -CONT ${pid}`);
    expect(stderr).not.toContain("weft up");
    agent.process.kill("SIGCONT");
    await agent.waitHealthy();
  });

  it.each<NodeJS.Signals>(["SIGTERM", "SIGINT", "SIGQUIT"])(
    "ends in order at %s",
    async (signal) => {
      if (agent.process.ended) {
        agent = lab.agent(host);
        await agent.waitHealthy();
      }
      expect(await agent.kill(signal)).toMatchObject({ code: 0, signal: null });
      expect(await traces(host)).toBe(before);
      expect(existsSync(agent.socket)).toBe(false);
    },
  );

  /** Closes the terminal of the agent. */
  async function closeTerminal(): Promise<void> {
    await agent.kill("SIGKILL");
  }

  it.each([
    ["its log on it", ""],
    ["its log elsewhere", `2>${join(folder, "log")}`],
  ])(
    "whose terminal closes ends in order: %s",
    async (_, redirections) => {
      rmSync(exitFile, { force: true });
      agent = lab.agent(host, { inside: onTerminal(redirections) });
      await agent.waitHealthy();
      await closeTerminal();
      const code = () => existsSync(exitFile) && readFileSync(exitFile, "utf8");
      await expect.poll(code, { timeout: 20_000 }).toBe("0\n");
      expect(await traces(host)).toBe(before);
      expect(existsSync(agent.socket)).toBe(false);
    },
    60_000,
  );

  it("that uses no terminal reads its secrets again at SIGHUP when one closes", async () => {
    rmSync(exitFile, { force: true });
    const log = join(folder, "detached");
    agent = lab.agent(host, { inside: onTerminal(`</dev/null >${log} 2>&1`) });
    await agent.waitHealthy();
    await closeTerminal();
    const said = () => readFileSync(log, "utf8");
    await expect.poll(said, { timeout: 20_000 }).toContain("the secrets are read again");
    expect(await agent.status()).toMatchObject({ healthy: true });
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGTERM");
    const code = () => existsSync(exitFile) && readFileSync(exitFile, "utf8");
    await expect.poll(code, { timeout: 20_000 }).toBe("0\n");
  });

  it.each<[string, Record<string, string>]>([
    ["NODE_OPTIONS", { NODE_OPTIONS: "--inspect=127.0.0.1:9777" }],
    ["NODE_V8_COVERAGE", { NODE_V8_COVERAGE: folder }],
    ["NODE_DEBUG", { NODE_DEBUG: "tls" }],
  ])("does not start with %s", async (name, env) => {
    const given = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const refused = lab.agent(host, { inside: ["env", ...given] });
    const { code, stderr } = await refused.process.finish(15_000);
    expect(code).toBe(2);
    expect(stderr).toContain(`${name} changes what Node does`);
    expect(await traces(host)).toBe(before);
  });
});
