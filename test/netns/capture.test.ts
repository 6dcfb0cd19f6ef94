/** `weft capture` on real hosts: what a policy denies and what it allows, in words and in a file. */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Counters } from "../../src/http/view.js";
import { Lab } from "../../src/lab/lab.js";
import { iperf, ping } from "../../src/lab/measure.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const POLL_MS = 50;

story("a capture", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
    const file = join(lab.folder, "policy.yaml");
    const one = "[{ action: allow, protocol: tcp, ports: [5201] }]";
    writeFileSync(
      file,
      `policies: [{ name: closed, applies: [${b!.status.address}], ingress: ${one} }]`,
    );
    expect((await b!.agent.weft("policy", "apply", file)).code).toBe(0);
    while ((await rules()).length === 0) await sleep(POLL_MS);
  });
  afterAll(() => lab?.close());

  const rules = async () => (await b!.agent.get<Counters>("/v1/counters"))!.rules;

  async function capturing(...argv: string[]) {
    const capture = b!.agent.spawn("capture", ...argv);
    await capture.waitForOutput("capturing");
    return capture;
  }

  /** Until all that was kept is in it: it has not grown for a while. */
  async function restOf(file: string): Promise<void> {
    for (let before = -1, now = statSync(file).size; now !== before; now = statSync(file).size) {
      before = now;
      await sleep(20 * POLL_MS);
    }
  }

  it("of the dropped shows who was denied, why, and by which rule", async () => {
    const capture = await capturing("--dropped", "--filter", a!.status.address);
    expect((await ping(a!.host, b!.status.address, { count: 1 })).rttMs).toEqual([]);
    await iperf(a!.host, b!.host, b!.status.address, { seconds: 1 });
    await capture.waitForOutput("denied-ingress");
    const { stdout, stderr } = await capture.stop("SIGINT");
    const [from, to] = [a!.status.address, b!.status.address];
    expect(stdout.trim().split("\n")).toEqual([
      expect.stringMatching(
        new RegExp(
          `^[\\d:.]{15} in {2}a {2}icmp ${from} > ${to}, type 8 code 0, 84 bytes: answered, denied-ingress, end of default ingress: deny`,
        ),
      ),
    ]);
    expect(stderr).toContain("weft: 1 packets captured, 0 lost");
  });

  it("is a file that tshark reads, with the time of this host and a comment for each packet", async () => {
    const file = join(lab.folder, "of-weft.pcapng");
    const filter = `icmp ${a!.status.address}`;
    const begun = Date.now();
    const capture = await capturing("-w", file, "--filter", filter, "--count", "3");
    await ping(a!.host, b!.status.address, { count: 1 });
    expect((await ping(b!.host, a!.status.address, { count: 1 })).rttMs).toHaveLength(1);
    expect((await capture.finish(10_000)).code).toBe(0);
    const ended = Date.now();

    const fields = ["frame.time_epoch", "ip.src", "frame.comment", "frame.packet_flags_direction"];
    const argv = [
      "tshark",
      "-n",
      "-r",
      file,
      "-T",
      "fields",
      ...fields.flatMap((it) => ["-e", it]),
    ];
    const rows = (await lab.wire.exec(argv))
      .trim()
      .split("\n")
      .map((line) => line.split("\t"));
    expect(rows.map(([, source]) => source)).toEqual([
      a!.status.address,
      b!.status.address,
      a!.status.address,
    ]);
    expect(rows.map(([, , comment]) => comment)).toEqual([
      expect.stringMatching(
        /^in from a at \S+: answered, denied-ingress, end of default ingress: /,
      ),
      "out to a: sent",
      expect.stringMatching(/^in from a at \S+: delivered/),
    ]);
    expect(rows.map(([, , , direction]) => Number(direction))).toEqual([1, 2, 1]);
    // Both clocks are read, each to its own precision.
    for (const [time] of rows) {
      expect(Number(time) * 1000).toBeGreaterThan(begun - 5);
      expect(Number(time) * 1000).toBeLessThan(ended + 5);
    }
  });

  it("takes every packet of a fast stream, or counts it as lost", async () => {
    const { host, agent, status } = b!;
    const received = async () => (await agent.get<Counters>("/v1/counters"))!.in.received;
    const file = join(lab.folder, "fast.pcapng");
    const capture = await capturing("-w", file, "--filter", ":5201");
    const before = await received();
    await iperf(a!.host, host, status.address, { seconds: 2 });
    const came = (await received()) - before;
    await restOf(file);
    const { stderr } = await capture.stop("SIGINT");
    const [, taken = "", lost = ""] = /(\d+) packets captured, (\d+) lost/.exec(stderr)!;
    // What goes out is captured too: acknowledgments.
    expect(Number(taken) + Number(lost)).toBeGreaterThanOrEqual(came);
    expect(Number(taken)).toBeGreaterThan(1000);
  });

  it("goes on where its reader was killed", async () => {
    (await capturing()).kill("SIGKILL");
    for (;;) {
      const { code } = await b!.agent.weft("capture", "--duration", "1");
      if (code === 0) return;
      await sleep(POLL_MS);
    }
  });
});
