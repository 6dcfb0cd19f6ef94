import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import { addNeighbours, kernelVtep, staticPeer, type Vtep } from "../../src/lab/vtep.js";
import { rounds } from "../rounds.js";
import { addressOf, agentsOn, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { datagrams, transfer } from "./transfer.js";

const LARGE = rounds(20_000_000, 100_000_000);

for (const underlay of [4, 6] as const) {
  story(`kernel VXLAN peers over an IPv${underlay} underlay`, () => {
    let lab: Lab;
    let weft: Node;
    const kernels: Partial<Record<"default" | "off", Vtep>> = {};

    beforeAll(async () => {
      lab = await Lab.open();
      const host = await lab.host("weft");
      const kernel = async (name: string, offloads: "default" | "off", number: number) => {
        const subnet = `10.244.${number}.0/24`;
        const subnet6 = `fd00:244:0:${number}::/64`;
        return kernelVtep(await lab.host(name), { subnet, subnet6, underlay, offloads });
      };
      kernels.default = await kernel("kernel", "default", 200);
      kernels.off = await kernel("plain", "off", 201);
      const peers = Object.values(kernels).map(staticPeer);
      const flags = [...DUAL_STACK, ...peers.flatMap((peer) => ["--static-peer", peer])];
      [weft] = (await agentsOn(lab, [host], () => ({ underlay, flags }))) as [Node];
      const [subnet = "", subnet6] = weft.status.leases;
      const endpoint = underlay === 6 ? host.address6 : host.address;
      for (const it of Object.values(kernels)) {
        await addNeighbours(it, { endpoint, mac: weft.status.mac, subnet, subnet6 });
      }
    });
    afterAll(() => lab?.close());

    for (const offloads of ["default", "off"] as const) {
      describe(`with its offloads ${offloads === "off" ? "off" : "as they are by default"}`, () => {
        for (const family of [4, 6] as const) {
          const ends = () => {
            const kernel = kernels[offloads]!;
            const address = family === 6 ? kernel.address6! : kernel.address;
            return { kernel: kernel.host, address, own: addressOf(weft, family) };
          };

          it(`IPv${family} pings are answered in both directions`, async () => {
            const { kernel, address, own } = ends();
            for (const [from, to] of [
              [weft.host, address],
              [kernel, own],
            ] as const) {
              const { sent, rttMs, output } = await ping(from, to);
              expect(rttMs, output).toHaveLength(sent);
            }
          });

          it(`a large IPv${family} stream arrives unchanged, in both directions`, async () => {
            const { kernel, address, own } = ends();
            await transfer(weft.host, kernel, address, LARGE);
            await transfer(kernel, weft.host, own, LARGE);
          });

          it(`IPv${family} datagrams arrive unchanged, in both directions`, async () => {
            const { kernel, address, own } = ends();
            await datagrams(weft.host, kernel, address);
            await datagrams(kernel, weft.host, own);
          });
        }
      });
    }
  });
}
