import { afterAll, beforeAll, expect, it } from "vitest";
import type { Explained } from "../../src/http/view.js";
import { Lab } from "../../src/lab/lab.js";
import { bothWays, type Pair, Walls } from "../../src/lab/walls.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";

const LIMIT_MS = 60_000;
const SOON = { timeout: 30_000, interval: 500 };

story("an explanation promises what the way of the packet keeps", () => {
  let lab: Lab;
  let walls: Walls;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    walls = await Walls.build(lab);
    [a, b, c] = await cluster(lab, ["a", "b", "c"]);
  }, LIMIT_MS);
  afterAll(() => lab?.close());

  const explain = async (on: Node, src: string, dst: string, ...more: string[]) => {
    const { code, stdout, stderr } = await on.agent.weft(
      ...["explain", "--src", src, "--dst", dst, ...more],
    );
    return { code, text: `${stdout}${stderr}` };
  };
  const asJson = async (on: Node, src: string, dst: string): Promise<Explained> =>
    JSON.parse((await explain(on, src, dst, "-o", "json")).text);
  const aToB = () => explain(a!, a!.status.address, b!.status.address);
  const pathToB = async () => (await asJson(a!, a!.status.address, b!.status.address)).path;

  it("names the path, and when a probe was answered there last", async () => {
    const { code, text } = await aToB();
    expect(code).toBe(0);
    expect(text).toMatch(/^verdict +sent$/m);
    expect(text).toMatch(/^path +direct to 192\.0\.2\.\d:4789: b answered a probe at \d{4}-.*Z$/m);
    expect(text).toMatch(/^on b:\n(.|\n)*^verdict +delivered$/m);
  });

  it(
    "is probably lost where UDP is blocked, and arrives through a node that carries it",
    async () => {
      const direct = bothWays(a!.host, b!.host);
      const detour: Pair[] = bothWays(a!.host, c!.host);
      await walls.cut(direct, "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "answers", path: "via c" });
      const carried = await aToB();
      expect(carried.code).toBe(0);
      expect(carried.text).toMatch(/^path +via c to 192\.0\.2\.\d:4789: b answered a probe at /m);

      await walls.cut(detour, "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "silent", path: "direct" });
      const lost = await aToB();
      expect(lost.code).toBe(1);
      expect(lost.text).toMatch(/^verdict +sent, but probably lost$/m);
      expect(lost.text).toMatch(/^path .*: no probe has been answered by b since \d{4}-\S+Z$/m);
      expect(lost.text).toMatch(/^on b, if it arrives:\n(.|\n)*^verdict +delivered$/m);

      await walls.heal([...direct, ...detour], "packets");
      await expect.poll(pathToB, SOON).toMatchObject({ state: "answers", path: "direct" });
      expect((await aToB()).code).toBe(0);
    },
    2 * LIMIT_MS,
  );
});
