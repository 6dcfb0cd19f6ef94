import { afterAll, beforeAll, expect, it } from "vitest";
import { median } from "../../src/demo/pairs.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { cluster, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";

story("the round trip that `weft peers` shows", () => {
  let lab: Lab;
  let [a, b]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b] = await cluster(lab, ["a", "b"]);
  });
  afterAll(() => lab?.close());

  it("is that of packets, without the time that agents take to get to a probe", async () => {
    // Half a millisecond is for a machine that does other things as well.
    const isAsPing = async () => {
      const { rttMs, sent, output } = await ping(a!.host, b!.status.address, { count: 20 });
      expect(rttMs, output).toHaveLength(sent);
      const shown = (await peersOf(a!)).get("b")?.rttMs ?? Number.POSITIVE_INFINITY;
      return shown > Math.min(...rttMs) / 4 && shown < 2 * median(rttMs)! + 0.5;
    };
    await expect.poll(isAsPing, { timeout: 25_000 }).toBe(true);
  });
});
