import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LAB_SECRET, type LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { ALIAS_BOMB } from "../config/alias-bomb.js";
import { story } from "./story.js";

const folder = mkdtempSync(join(tmpdir(), "weft-reload-"));
const config = join(folder, "weft.yaml");

const remove = (path: string) => rmSync(path, { recursive: true, force: true });
const replace = (path: string, text: string | Buffer, mode = 0o600) => {
  remove(path);
  writeFileSync(path, text, { mode });
};
const makeFifo = (path: string) => {
  remove(path);
  execFileSync("mkfifo", [path]);
};
const makeFolder = (path: string) => {
  remove(path);
  mkdirSync(path);
};

story("SIGHUP with a configuration that cannot be used", () => {
  let lab: Lab;
  let agent: LabAgent;
  let secrets: string;

  beforeAll(async () => {
    lab = await Lab.open();
    replace(config, "vni: 1\n");
    agent = lab.agent(await lab.host("a"), { flags: ["--config", config] });
    await agent.waitHealthy();
    const { argv } = agent.process;
    secrets = argv[argv.indexOf("--secret-file") + 1]!;
  });
  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const hangUp = async (): Promise<string> => {
    const from = agent.process.output.length;
    agent.process.kill("SIGHUP");
    const said = () =>
      /the secrets are read again|SIGHUP: .*/.exec(agent.process.output.slice(from));
    await expect.poll(said, { timeout: 10_000 }).not.toBeNull();
    return said()![0];
  };

  it.each<[string, () => void, string]>([
    ["an alias bomb", () => replace(config, ALIAS_BOMB), "reference to another part of the text"],
    [
      "an alias of itself",
      () => replace(config, "a: &a\n  b: *a\n"),
      "reference to another part of the text",
    ],
    ["brackets without end", () => replace(config, "[".repeat(500_000)), "nested too deeply"],
    ["a mistake at each character", () => replace(config, "]".repeat(90_000)), "weft.yaml:1: "],
    ["what is no YAML at all", () => replace(config, "\0\u0001%@"), "weft.yaml:1: "],
    ["no configuration file", () => remove(config), "does not exist"],
    ["a FIFO", () => makeFifo(config), "is not a regular file"],
    ["a directory", () => makeFolder(config), "is not a regular file"],
  ])("%s changes nothing, and the agent runs on", async (_, prepare, words) => {
    prepare();
    expect(await hangUp()).toContain(words);
    expect((await agent.status())?.healthy).toBe(true);
  });

  it.each<[string, (path: string) => void, string]>([
    ["is missing", () => {}, "does not exist"],
    ["is a FIFO", makeFifo, "is not a regular file"],
    ["is a directory", makeFolder, "is not a regular file"],
    ["is huge", (path) => replace(path, "x".repeat(1 << 20)), "is larger"],
    ["is binary", (path) => replace(path, Buffer.alloc(64, 0x81)), "not text"],
    ["is open to others", (path) => replace(path, LAB_SECRET, 0o644), "can be read by others"],
  ])("nor does a secret file that %s", async (_, make, words) => {
    replace(config, "vni: 1\n");
    remove(secrets);
    make(secrets);
    expect(await hangUp()).toContain(words);
    expect((await agent.status())?.healthy).toBe(true);
  });

  it("and a good one is taken up after all that", async () => {
    replace(secrets, `${LAB_SECRET}\n`);
    expect(await hangUp()).toBe("the secrets are read again");
  });
});
