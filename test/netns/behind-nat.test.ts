import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { nat } from "../../src/lab/nat.js";
import { allAnswer, cluster, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const BYTES = 20_000_000;

story("a host behind a gateway that translates addresses", () => {
  let lab: Lab;
  let outside: Node[];
  let inside: Node;

  beforeAll(async () => {
    lab = await Lab.open();
    const host = await lab.host("inside", { segment: "far" });
    const gateway = await nat(lab);
    expect((await ping(host, gateway.address, { count: 1 })).rttMs).toHaveLength(1);
    outside = await cluster(lab, ["a", "b"]);
    const agent = lab.agent(host, { join: [outside[1]!.host] });
    inside = { host, agent, status: await agent.waitHealthy({ peers: 2 }) };
    for (const { agent } of outside) await agent.waitHealthy({ peers: 2 });
  });
  afterAll(() => lab?.close());

  it("cannot be dialled", async () => {
    const { output, rttMs } = await ping(outside[0]!.host, inside.host.address, { count: 1 });
    expect(rttMs, output).toHaveLength(0);
  });

  it("is reached by every host, whoever speaks first", async () => {
    for (const { host } of outside) {
      const answered = async () =>
        (await ping(host, inside.status.address, { count: 1 })).rttMs.length;
      await expect.poll(answered, { timeout: 20_000 }).toBe(1);
    }
    await allAnswer([...outside, inside]);
  });

  it("directly before long, at the endpoint that the gateway gave it", async () => {
    const gateway = lab.hosts.find(({ name }) => name === "nat")!;
    for (const node of outside) {
      const seen = async () => (await peersOf(node)).get("inside");
      await expect
        .poll(seen, { timeout: 20_000 })
        .toMatchObject({ state: "established", path: "direct" });
      expect((await seen())?.endpoint).toMatch(new RegExp(`^${gateway.address}:[45]\\d{4}$`));
    }
  });

  it("a stream arrives unchanged, in both directions", async () => {
    const [a] = outside as [Node];
    await transfer(a.host, inside.host, inside.status.address, BYTES);
    await transfer(inside.host, a.host, a.status.address, BYTES);
  });
});
