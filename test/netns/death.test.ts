import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { cluster, type Node, peersOf } from "./cluster.js";
import { Pinger } from "./pinger.js";
import { story } from "./story.js";

story("a host that dies", () => {
  let lab: Lab;
  let [a, b, c, d]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    [a, b, c, d] = await cluster(lab, ["a", "b", "c", "d"]);
  });
  afterAll(() => lab?.close());

  const deaths: [string, () => Node, () => Promise<unknown>][] = [
    ["killed", () => c!, () => c!.agent.kill("SIGKILL")],
    ["cut off", () => d!, () => d!.host.ip("link set eth0 down")],
  ];
  for (const [how, who, die] of deaths) {
    it(`${how}: is named by the others, whose packets all arrive`, async () => {
      const { name } = who().host;
      const pinger = new Pinger(a!.host, b!.status.address);
      await die();
      for (const node of [a!, b!]) {
        const state = async () => (await peersOf(node)).get(name)?.state;
        await expect.poll(state, { timeout: 25_000 }).toBe("dead");
        const { code, stdout } = await node.agent.weft("status");
        expect(code).toBe(1);
        expect(stdout).toMatch(new RegExp(`^problem +${name} `, "m"));
      }
      const { lost, output } = await pinger.stop();
      expect(lost, output).toBeLessThanOrEqual(1);
    });
  }
});
