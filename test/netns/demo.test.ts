import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../../src/lab/root.js";
import { RunningProgram } from "../../src/lab/running.js";
import { story } from "./story.js";

const DEMO = [process.execPath, join(ROOT, "dist/demo.js")];

/** Namespaces of the labs that this process has open. */
const labs = (pid: number | undefined) =>
  readdirSync("/run/netns").filter((name) => name.startsWith(`weftlab-${pid}-`));

story("the demo", () => {
  it("joins three hosts, every pair answers, and cleans up", async () => {
    const demo = RunningProgram.start(DEMO);
    const { stdout, stderr, code } = await demo.finish(60_000);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout.match(/^ {2}h\d -> h\d +[\d.]+ {2}yes$/gm), stdout).toHaveLength(6);
    expect(stdout).toMatch(/Gb\/s through the overlay/);
    expect(labs(demo.pid)).toEqual([]);
  });

  it("cleans up when it is interrupted", async () => {
    const demo = RunningProgram.start(DEMO);
    await demo.waitForOutput(/h2 joins h1/, 30_000);
    expect(labs(demo.pid).length).toBeGreaterThan(0);
    demo.kill("SIGINT");
    expect(await demo.finish(10_000)).toMatchObject({ signal: "SIGINT" });
    expect(labs(demo.pid)).toEqual([]);
  });
});
