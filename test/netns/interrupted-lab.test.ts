import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { RunningProgram } from "../../src/lab/running.js";
import { story } from "./story.js";

const OPEN_LAB = fileURLToPath(new URL("open-lab.mjs", import.meta.url));

interface Opened {
  readonly namespace: string;
  readonly folder: string;
  readonly pid: number;
}

/** One that has ended and that nobody has waited for yet is a zombie: proc(5). */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
  } catch {
    return false;
  }
}

story("a lab that is not closed", () => {
  const openAndEnd = async (signal: NodeJS.Signals): Promise<Opened> => {
    const running = RunningProgram.start([process.execPath, OPEN_LAB]);
    await running.waitForOutput(/}\n/);
    const opened = JSON.parse(running.output) as Opened;
    expect(exists(opened)).toEqual({ namespace: true, folder: true, process: true });
    running.kill(signal);
    expect(await running.finish(10_000)).toMatchObject({ code: null, signal });
    return opened;
  };

  const exists = ({ namespace, folder, pid }: Opened) => ({
    namespace: existsSync(`/run/netns/${namespace}`),
    folder: existsSync(folder),
    process: isRunning(pid),
  });

  it.each(["SIGINT", "SIGTERM"] as const)("is cleaned up on %s", async (signal) => {
    const opened = await openAndEnd(signal);
    await expect
      .poll(() => exists(opened))
      .toEqual({ namespace: false, folder: false, process: false });
  });

  it("and killed with SIGKILL takes its processes along; the next lab removes the rest", async () => {
    const opened = await openAndEnd("SIGKILL");
    await (await Lab.open()).close();
    await expect
      .poll(() => exists(opened))
      .toEqual({ namespace: false, folder: false, process: false });
  });
});
