import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Counters } from "../../src/core/counters.js";
import { Lab } from "../../src/lab/lab.js";
import type { Host } from "../../src/lab/namespace.js";
import { addressOf, cluster, DUAL_STACK, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const FORGE = fileURLToPath(new URL("forge-icmp.mjs", import.meta.url));
const BYTES = 20_000_000;
const FLOOD_MS = 3_000;

for (const [underlay, forged] of [
  [4, [576, 68, 1, 1400]],
  [6, [1280, 576, 68, 1400]],
] as const) {
  story(`a stranger that forges ICMP errors, IPv${underlay} underlay`, () => {
    let lab: Lab;
    let stranger: Host;
    let [a, b]: Node[] = [];

    beforeAll(async () => {
      lab = await Lab.open();
      stranger = await lab.host("stranger");
      [a, b] = await cluster(lab, ["a", "b"], { underlay, flags: DUAL_STACK });
    });
    afterAll(() => lab?.close());

    const at = ({ host }: Node) => (underlay === 4 ? host.address : host.address6);
    const forge = (mtu: number, count: number, everyMs: number) =>
      stranger.spawn([
        process.execPath,
        FORGE,
        at(b!),
        at(a!),
        ...[mtu, count, everyMs].map(String),
      ]);
    const mtu = async () => (await peersOf(a!)).get("b")?.mtu;

    it.each(forged)(
      "that the path takes %i: no MTU changes, and a stream goes on",
      async (said) => {
        const forging = forge(said, 0, 10);
        const seen = new Set<number | undefined>();
        let isOver = false;
        const streams = Promise.all([
          transfer(a!.host, b!.host, addressOf(b!, 4), BYTES),
          transfer(b!.host, a!.host, addressOf(a!, 4), BYTES),
        ]).finally(() => {
          isOver = true;
        });
        while (!isOver) seen.add(await mtu());
        await streams;
        await forging.stop("SIGKILL");
        expect([...seen]).toEqual([a!.status.mtu]);
      },
      60_000,
    );

    it("as fast as it can: the same, trains are still sent, and few probes come of it", async () => {
      const control = async () => (await b!.agent.get<Counters>("/v1/counters"))!.in.control;
      const before = await control();
      const forging = forge(576, 0, 0);
      const [began] = [performance.now(), await sleep(FLOOD_MS)];
      await transfer(a!.host, b!.host, addressOf(b!, 4), BYTES);
      const perSecond = ((await control()) - before) / ((performance.now() - began) / 1000);
      expect(await mtu()).toBe(a!.status.mtu);
      await forging.stop("SIGKILL");
      expect((await a!.agent.status())!.offloads.gso).toBe(true);
      // Once a second three sizes are tried, because somebody hints at it.
      expect(perSecond).toBeGreaterThan(2);
      expect(perSecond).toBeLessThan(10);
    }, 90_000);
  });
}
