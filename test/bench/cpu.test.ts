import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { processSeconds } from "../../bench/net/cpu.js";

const BURN = `
  process.title = "a ) b";
  const { Worker } = require("node:worker_threads");
  const burn = "const { user } = process.cpuUsage(); while (process.cpuUsage().user < user + 400_000);";
  new Worker(burn, { eval: true }).on("exit", () => {
    const { user, system } = process.cpuUsage();
    console.log((user + system) / 1e6);
    setInterval(() => {}, 60_000);
  });
`;

it("the CPU seconds of a process are those of all its threads, whatever its name is", async () => {
  const child = spawn(process.execPath, ["-e", BURN], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [said] = await once(child.stdout, "data");
    const own = Number(said);
    expect(own).toBeGreaterThan(0.4);
    expect(Math.abs(processSeconds(child.pid!) - own)).toBeLessThan(0.2);
  } finally {
    child.kill("SIGKILL");
  }
});
