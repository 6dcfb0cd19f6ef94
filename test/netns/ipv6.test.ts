import { afterAll, beforeAll, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { rounds } from "../rounds.js";
import { addressOf, cluster, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { datagrams, transfer } from "./transfer.js";

const BYTES = rounds(10_000_000, 50_000_000);

for (const [underlay, mtu] of [
  [4, 1450],
  [6, 1430],
] as const) {
  story(`a network of both families over an IPv${underlay} underlay`, () => {
    let lab: Lab;
    let nodes: Node[];
    let [a, b]: Node[] = [];

    beforeAll(async () => {
      lab = await Lab.open();
      nodes = await cluster(lab, ["a", "b"], { underlay, flags: DUAL_STACK });
      [a, b] = nodes;
    });
    afterAll(() => lab?.close());

    it("each node leases a subnet of each, and has the first address of each", async () => {
      for (const { status } of nodes) {
        const [lease4 = "", lease6 = ""] = status.leases;
        expect(lease4).toMatch(/^10\.244\.\d+\.0\/24$/);
        expect(lease6).toMatch(/^fd00:244:0:[0-9a-f:]+\/64$/);
        expect(status.addresses).toEqual([
          lease4.replace("0/24", "1"),
          lease6.replace("::/64", "::1"),
        ]);
        expect(status.mtu).toBe(mtu);
      }
      const leases = nodes.flatMap(({ status }) => status.leases);
      expect(new Set(leases).size).toBe(4);
    });

    for (const family of [4, 6] as const) {
      it(`IPv${family} pings are answered, up to packets of exactly the MTU`, async () => {
        const largest = mtu - (family === 4 ? 28 : 48);
        for (const [from, to] of [
          [a!, b!],
          [b!, a!],
        ] as const) {
          for (const size of [56, largest]) {
            const { sent, rttMs, output } = await ping(from.host, addressOf(to, family), {
              size,
              whole: true,
            });
            expect(rttMs, output).toHaveLength(sent);
          }
        }
      });

      it(`a stream over IPv${family} arrives unchanged, in both directions`, async () => {
        await transfer(a!.host, b!.host, addressOf(b!, family), BYTES);
        await transfer(b!.host, a!.host, addressOf(a!, family), BYTES);
      });

      it(`IPv${family} datagrams arrive unchanged, in both directions`, async () => {
        await datagrams(a!.host, b!.host, addressOf(b!, family));
        await datagrams(b!.host, a!.host, addressOf(a!, family));
      });
    }

    it("traceroute shows the hop", async () => {
      const argv = ["traceroute", "-6", "-n", "-q", "1", "-w", "2", "-m", "5", addressOf(b!, 6)];
      const hops = (await a!.host.exec(argv)).matchAll(/^ *\d+ {2}(\S+)/gm);
      expect([...hops].map(([, hop]) => hop)).toEqual([addressOf(a!, 6), addressOf(b!, 6)]);
    });

    it("an address of the network that nobody leases is answered as unreachable", async () => {
      const { rttMs, output } = await ping(a!.host, "fd00:244:0:ffff::1", { count: 2 });
      expect(rttMs).toHaveLength(0);
      expect(output).toMatch(/unreachable|No route/i);
    });
  });
}
