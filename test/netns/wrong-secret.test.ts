import { afterAll, beforeAll, expect, it } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import { story } from "./story.js";

story("an agent with another secret", () => {
  let lab: Lab;
  let founder: LabAgent;
  let stranger: LabAgent;

  beforeAll(async () => {
    lab = await Lab.open();
    founder = lab.agent(await lab.host("a"));
    await founder.waitHealthy();
    stranger = lab.agent(await lab.host("b"), {
      join: [founder.host],
      secret: "not the secret of this cluster",
    });
  });
  afterAll(() => lab?.close());

  it("is refused, and both sides say that it is the secret", async () => {
    await Promise.all(
      [stranger, founder].map((it) => it.process.waitForOutput(/secret does not match/)),
    );
  });

  it("learns nothing and is not learned", async () => {
    expect(await founder.get("/v1/peers")).toEqual([]);
    expect((await stranger.status())?.healthy ?? false).toBe(false);
    expect((await stranger.get("/v1/peers")) ?? []).toEqual([]);
    expect((await stranger.get("/v1/leases")) ?? []).toEqual([]);
  });

  it("neither side says the secret itself", () => {
    for (const { process } of [stranger, founder]) {
      expect(process.output).not.toContain("not the secret of this cluster");
      expect(process.output).not.toContain("a secret only this lab knows");
    }
  });
});
