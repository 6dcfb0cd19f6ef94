import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Counters } from "../../src/core/counters.js";
import { Lab } from "../../src/lab/lab.js";
import { link } from "../../src/lab/link.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { addNeighbours, kernelVtep, staticPeer, type Vtep } from "../../src/lab/vtep.js";
import { rounds } from "../rounds.js";
import { addressOf, cluster, DUAL_STACK, type Node, peersOf } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const FORGE = fileURLToPath(new URL("forge-icmp.mjs", import.meta.url));
const BYTES = rounds(8_000_000, 20_000_000);
const FLOOD_MS = 3_000;
/** Long enough for a flood to fill the socket's error queue, were it not read. */
const FULL_QUEUE_MS = 1_000;

/** To `to`, about a datagram to `from`; `error` is an MTU, or type and code. */
const forge = (stranger: Host, from: string, to: string, everyMs: number, ...error: number[]) =>
  stranger.spawn([process.execPath, FORGE, from, to, ...[everyMs, ...error].map(String)]);

for (const [underlay, forged, unreachable] of [
  [4, [576, 68, 1, 1400], { host: [3, 1], port: [3, 3], protocol: [3, 2] }],
  [6, [1280, 576, 68, 1400], { host: [1, 3], port: [1, 4], protocol: [4, 1] }],
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
    const attack = (everyMs: number, ...error: number[]) =>
      forge(stranger, at(b!), at(a!), everyMs, ...error);
    const mtu = async () => (await peersOf(a!)).get("b")?.mtu;

    it.each(forged)(
      "that the path takes %i: no MTU changes, and a stream goes on",
      async (said) => {
        const forging = attack(10, said);
        const seen = new Set<number | null | undefined>();
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

    it("as fast as it can: the same, GSO batches are still sent, and few probes come of it", async () => {
      const control = async () => (await b!.agent.get<Counters>("/v1/counters"))!.in.control;
      const before = await control();
      const forging = attack(0, 576);
      const began = performance.now();
      await sleep(FLOOD_MS);
      await transfer(a!.host, b!.host, addressOf(b!, 4), BYTES);
      const perSecond = ((await control()) - before) / ((performance.now() - began) / 1000);
      expect(await mtu()).toBe(a!.status.mtu);
      await forging.stop("SIGKILL");
      expect((await a!.agent.status())!.offloads.gso).toBe(true);
      // Once a second three sizes are tried, because somebody hints at it.
      expect(perSecond).toBeGreaterThan(2);
      expect(perSecond).toBeLessThan(10);
    });

    it.each(Object.entries(unreachable))(
      "that a %s is unreachable, as fast as it can: a stream goes on, and GSO batches are still sent",
      async (_, error) => {
        const forging = attack(0, ...error);
        await sleep(FULL_QUEUE_MS);
        await transfer(a!.host, b!.host, addressOf(b!, 4), BYTES);
        await forging.stop("SIGKILL");
        const { healthy, offloads } = (await a!.agent.status())!;
        expect({ healthy, gso: offloads.gso }).toEqual({ healthy: true, gso: true });
        expect(a!.agent.process.output).toContain("a flood of ICMP errors");
      },
      60_000,
    );
  });

  story(`a static peer behind a narrow link, IPv${underlay} underlay`, () => {
    const NARROW = 1400;
    const through = NARROW - (underlay === 4 ? 50 : 70);
    let lab: Lab;
    let [weft, stranger]: Host[] = [];
    let node: Node;
    let kernel: Vtep;

    beforeAll(async () => {
      lab = await Lab.open();
      weft = await lab.host("weft");
      stranger = await lab.host("stranger");
      const far = await lab.host("kernel", { segment: "far" });
      await link(lab, { mtu: NARROW });
      kernel = await kernelVtep(far, { subnet: "10.244.200.0/24", underlay });
      const agent = lab.agent(weft, { underlay, flags: ["--static-peer", staticPeer(kernel)] });
      node = { host: weft, agent, status: await agent.waitHealthy() };
      const { mac, leases } = node.status;
      const endpoint = underlay === 4 ? weft.address : weft.address6;
      await addNeighbours(kernel, { endpoint, mac, subnet: leases[0]! });
    });
    afterAll(() => lab?.close());

    const mtu = async () => (await peersOf(node)).get("kernel")?.mtu;

    it("no MTU comes of errors that quote no frame to it, one comes of those that do", async () => {
      const to = underlay === 4 ? weft!.address : weft!.address6;
      const forging = forge(stranger!, kernel.endpoint, to, 10, 576);
      await sleep(500);
      expect(await mtu()).toBe(node.status.mtu);
      const size = node.status.mtu - 28;
      const { output } = await ping(weft!, kernel.address, { count: 5, size, whole: true });
      expect(output).toMatch(new RegExp(`mtu ?[=:] ?${through}\\b`));
      expect(await mtu()).toBe(through);
      await forging.stop("SIGKILL");
      await transfer(weft!, kernel.host, kernel.address, BYTES);
    });
  });
}
