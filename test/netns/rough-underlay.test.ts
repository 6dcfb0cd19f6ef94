import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { link } from "../../src/lab/link.js";
import type { Host } from "../../src/lab/namespace.js";
import type { RunningProgram } from "../../src/lab/running.js";
import { agentsOn, type Node } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const ROUGH = fileURLToPath(new URL("rough.mjs", import.meta.url));
/** Some thousands of packets each way: at the rates of rough.mjs, every fault happens. */
const BYTES = 10_000_000;

story("an underlay that loses, delays, reorders, repeats and corrupts packets", () => {
  let lab: Lab;
  let rough: RunningProgram;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    const hosts = [await lab.host("a"), await lab.host("b", { segment: "far" })];
    const { r1 } = await link(lab);
    rough = await makeRough(r1);
    [a, b] = await agentsOn(lab, hosts, () => ({}));
  });
  afterAll(() => lab?.close());

  it("carries a stream there unchanged", async () => {
    await transfer(a!.host, b!.host, b!.status.address, BYTES);
  });

  it("and back", async () => {
    await transfer(b!.host, a!.host, a!.status.address, BYTES);
  });

  it("was as bad as it says", async () => {
    const { stdout } = await rough.stop("SIGTERM");
    const done = JSON.parse(stdout.trim().split("\n").at(-1)!);
    console.log(done);
    expect(done.carried).toBeGreaterThan((2 * BYTES) / 1500);
    for (const fault of ["lost", "twice", "early", "turned"]) {
      expect(done[fault], fault).toBeGreaterThan(0);
    }
  });
});

/** Everything this router forwards goes through the rough device first. */
async function makeRough(router: Host): Promise<RunningProgram> {
  const seed = process.env.WEFT_SEED ?? String(Date.now() % 2 ** 32);
  console.log(`WEFT_SEED=${seed}`);
  const rough = router.spawn([process.execPath, ROUGH, "rough", seed]);
  await rough.waitForOutput(/ready/);
  for (const device of ["all", "rough"]) {
    await router.sysctl(`net/ipv4/conf/${device}/rp_filter`, 0);
  }
  await router.ip(
    "link set rough up",
    "route add default dev rough table 100",
    "rule add iif eth0 lookup 100",
    "rule add iif link0 lookup 100",
  );
  return rough;
}
