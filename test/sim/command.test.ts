/** `npm run sim` in a process of its own: once through npm, else the built program. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { KINDS } from "../../src/sim/chaos.js";
import { seed } from "../mesh/seed.js";

/** Milliseconds, enough for a busy machine. */
const PATIENCE = 120_000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const AS_PEOPLE_RUN_IT = ["--import", "tsx", "src/sim/main.ts"];
const BUILT = ["dist/sim/main.js"];

const sim = (args: readonly string[], program = BUILT): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [...program, ...args],
      { cwd: ROOT },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });

describe("npm run sim", { timeout: PATIENCE }, () => {
  it("prints one line of JSON, the same in another process except for the figures of the machine", async () => {
    const args = `--nodes 6 --loss 0.05 --minutes 1 --seed ${seed} --chaos ${KINDS.join()}`.split(
      " ",
    );
    const runs = await Promise.all([sim(args), sim(args)]);
    const [first, second] = runs.map(({ stdout }) => {
      expect(stdout.trim().split("\n")).toHaveLength(1);
      const { cpuSeconds, timesRealTime, memoryMb, ...rest } = JSON.parse(stdout);
      expect([cpuSeconds, timesRealTime, memoryMb].every((n) => n > 0)).toBe(true);
      return rest;
    });
    expect(first).toEqual(second);
    expect(first).toMatchObject({ nodes: 6, loss: 0.05, seed, chaos: KINDS, doubleLeases: 0 });
    expect(first.trace).toMatch(/^[0-9a-f]{16}$/);
    expect(runs[0]!.stderr).toMatch(/10 s running: \d+ of \d+ nodes run/);
    expect(runs[0]!.code).toBe(first.converged ? 0 : 1);
  });

  it("describes its options in --help", async () => {
    const { code, stdout } = await sim(["--help"], AS_PEOPLE_RUN_IT);
    expect(code).toBe(0);
    for (const kind of KINDS) expect(stdout).toContain(`\n    ${kind} `);
  });

  it.each([
    ["--chaos storms", 'has no kind "storms"'],
    ["--loss 2", "--loss 2 is not a number from 0 to 0.9"],
    ["--loss 0.05,lots", "--loss lots is not a number"],
    ["--loss 0.05,0.25 --chaos crashes", "several values of --loss cannot be used with"],
    ["--start-loss 0.05 --chaos crashes", "several values of --loss cannot be used with"],
    ["--start-loss 2", "--start-loss 2 is not a number from 0 to 0.9"],
    ["--nodes many", "--nodes many is not a whole number"],
    ["--speed 3", "'--speed'"],
  ])("says what is wrong with %s", async (args, words) => {
    const { code, stdout, stderr } = await sim(args.split(" "));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(words);
    expect(stderr).toContain("--help");
  });
});
