/** A host whose mesh port is blocked while its packets pass: everybody says so, and what it misses. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { bothWays, Partition } from "../../src/lab/partition.js";
import { cluster, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";

const SLOW = { timeout: 30_000 };

story("a host whose mesh port is blocked", () => {
  let lab: Lab;
  let partition: Partition;
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    partition = await Partition.build(lab);
    [a, b, c] = await cluster(lab, ["a", "b", "c"]);
  });
  afterAll(() => lab?.close());

  const around = () => [a!, b!].flatMap((other) => bothWays(other.host, c!.host));
  const statusOf = async ({ agent }: Node) => (await agent.status())!;

  function policyOf(name: string): string {
    const file = join(lab.folder, "policy.yaml");
    writeFileSync(
      file,
      `policies: [{ name: ${name}, applies: [10.244.0.0/16], ingress: [{ action: allow }] }]`,
    );
    return file;
  }

  it("has a policy as soon as all others, and --wait says when", async () => {
    const { code, stdout } = await a!.agent.weft("policy", "apply", policyOf("one"), "--wait");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^version 1 \([0-9a-f]{16}\) is the newest policy: .*\nin force on 3 of 3 known nodes\n$/,
    );
    const { stdout: table } = await b!.agent.weft("peers");
    expect(table).toMatch(/^c .* 1 +none +[0-9a-f]{2}:/m);
    const { policy } = await statusOf(c!);
    expect(policy).toMatchObject({ version: 1, newest: 1 });
  });

  it("is degraded, and so are the others, who name it; its packets pass", async () => {
    await partition.cut(around(), "sessions");
    const problems = async (node: Node) => (await statusOf(node)).problems.join("\n");
    await expect
      .poll(() => problems(c!), SLOW)
      .toMatch(/^no mesh session with any member since \d{4}-/m);
    for (const node of [a!, b!]) {
      await expect.poll(() => problems(node), SLOW).toMatch(/^c says that it has no mesh session/m);
      expect((await peersOf(node)).get("c")).toMatchObject({ state: "no-mesh", noPath: false });
    }
    expect((await ping(a!.host, c!.status.address, { count: 2 })).rttMs).toHaveLength(2);
  });

  it("is named by `policy apply`, with the reason", async () => {
    const { code, stdout, stderr } = await a!.agent.weft(
      "policy",
      "apply",
      policyOf("two"),
      "--wait",
      "5",
    );
    expect(code).toBe(1);
    expect(stdout).toMatch(/^in force on 2 of 3 known nodes$/m);
    expect(stderr).toMatch(
      /^not on c: it has no mesh session with any member; it said last: version 1$/m,
    );
    const got = await b!.agent.weft("policy", "get");
    expect(got.stdout).toMatch(
      /^# version 2, applied on a\n# in force on 2 of 3 known nodes\n# not on c: /,
    );
    expect((await statusOf(c!)).policy).toMatchObject({ version: 1 });
  });

  it("is healthy by itself when the port is open again, and has the newest policy", async () => {
    await partition.heal(around(), "sessions");
    for (const node of [a!, b!, c!]) {
      await expect
        .poll(async () => (await statusOf(node)).problems, { timeout: 60_000 })
        .toEqual([]);
      await expect
        .poll(async () => (await statusOf(node)).policy, SLOW)
        .toMatchObject({ version: 2, inForce: 3, known: 3 });
    }
  }, 200_000);
});
