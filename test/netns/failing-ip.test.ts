import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { LabAgent } from "../../src/lab/agent.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { FailingIp } from "../host/failing-ip.js";
import { hostState } from "../host/state.js";
import { DUAL_STACK } from "./cluster.js";
import { story } from "./story.js";

/**
 * Steps of `ip` from the first question of the start on. test/host/each-step.test.ts tries every
 * step of configuring; these are spread over the whole start.
 */
const AT_START = [1, 3, 6, 9, 13, 17];
const LONG = 120_000;

story("an agent for which `ip` fails once", () => {
  let lab: Lab;
  let cases: { host: Host; ip: FailingIp; step: number; before: string[]; agent: LabAgent }[];

  beforeAll(async () => {
    lab = await Lab.open();
    cases = [];
    for (const step of AT_START) {
      const host = await lab.host(`h${step}`);
      const ip = new FailingIp(join(lab.folder, `ip${step}`));
      ip.failAt(step);
      const before = await hostState(host);
      cases.push({ host, ip, step, before, agent: start(host, ip) });
    }
  }, LONG);
  afterAll(() => lab?.close());

  const start = (host: Host, ip: FailingIp): LabAgent =>
    lab.agent(host, { inside: ["env", `PATH=${ip.path}`], flags: DUAL_STACK });

  it(
    "at its start, says why and leaves nothing, or mends it by itself",
    async () => {
      const outcomes = await Promise.all(
        cases.map(async ({ host, ip, step, before, agent }) => {
          const isHealthy = await agent.waitHealthy({ limitMs: 60_000 }).then(
            () => true,
            () => false,
          );
          expect(ip.failed, `${step}`).not.toBe("");
          if (isHealthy) return "healthy";
          expect(agent.process.ended, agent.process.output).toBe(true);
          expect(agent.process.output, `${step}`).toContain("Injected failure");
          expect(await hostState(host), `${step}`).toEqual(before);
          return "refused";
        }),
      );
      expect(new Set(outcomes)).toEqual(new Set(["healthy", "refused"]));
    },
    LONG,
  );

  it(
    "at its stop, names what stays, and the next start and stop take it away",
    async () => {
      const running = cases.filter(({ agent }) => !agent.process.ended);
      await Promise.all(
        running.map(async ({ host, ip, before, agent }, index) => {
          ip.failAt(2 * index + 2);
          expect((await agent.kill()).code).toBe(0);
          const left = difference(before, await hostState(host));
          if (left.length > 0) {
            expect(agent.process.output, left.join("\n")).toMatch(
              /Injected failure.*the next start sets them right/,
            );
          }
          ip.neverFail();
          const next = start(host, ip);
          await next.waitHealthy({ limitMs: 60_000 });
          expect((await next.kill()).code).toBe(0);
          expect(await hostState(host)).toEqual(before);
        }),
      );
    },
    LONG,
  );
});

/** Lines of only one of the two states. */
const difference = (before: string[], after: string[]): string[] => [
  ...before.filter((line) => !after.includes(line)).map((line) => `gone: ${line}`),
  ...after.filter((line) => !before.includes(line)).map((line) => `left: ${line}`),
];
