import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { bothWays, type HostPair, Partition } from "../../src/lab/partition.js";
import { rounds } from "../rounds.js";
import { allAnswer, cluster, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const BYTES = rounds(8_000_000, 20_000_000);

story("three hosts, and between two of them the packets stop while the mesh goes on", () => {
  let lab: Lab;
  let partition: Partition;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    partition = await Partition.build(lab);
    [a, b, c] = await cluster(lab, ["a", "b", "c"]);
  });
  afterAll(() => lab?.close());

  /** From a to b and back. */
  const paths = async () => [
    (await peersOf(a!)).get("b")?.path,
    (await peersOf(b!)).get("a")?.path,
  ];

  const cuts: [string, () => HostPair[]][] = [
    ["both ways", () => bothWays(a!.host, b!.host)],
    ["one way", () => [[a!.host, b!.host]]],
  ];
  for (const [how, pairs] of cuts) {
    it(`${how}: they go through the third, and directly again when they can`, async () => {
      await partition.cut(pairs(), "packets");
      await allAnswer([a!, b!, c!], 20_000);
      await expect.poll(paths, { timeout: 20_000 }).toContain("via c");
      await transfer(a!.host, b!.host, b!.status.address, BYTES);
      await expect.poll(paths, { timeout: 20_000 }).toEqual(["via c", "via c"]);
      const ends = ["--src", a!.status.address, "--dst", b!.status.address, "-o", "json"];
      expect(JSON.parse((await a!.agent.weft("explain", ...ends)).stdout).further).toMatchObject([
        { node: "c", verdict: "sent" },
        { node: "b", verdict: "delivered" },
      ]);
      for (const { agent } of [a!, b!, c!]) {
        expect(await agent.status()).toMatchObject({ healthy: true, problems: [] });
      }
      await partition.heal(pairs(), "packets");
      await expect.poll(paths, { timeout: 20_000 }).toEqual(["direct", "direct"]);
      await allAnswer([a!, b!, c!]);
    });
  }
});
