/**
 * Congestion marks of the underlay reach the senders inside: a bridge between the hosts marks what is
 * ECN-capable, as a congested router does, and TCP with ECN tells by its counters that it saw that.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Counters } from "../../src/core/counters.js";
import { Lab } from "../../src/lab/lab.js";
import { ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { addNeighbours, kernelVtep, staticPeer, type Vtep } from "../../src/lab/vtep.js";
import { addressOf, agentsOn, DUAL_STACK, type Node } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const BYTES = 300_000;
const EXPEDITED = 46;

/** The bridge's treatment of VXLAN: nothing, mark what is ECN-capable, or wrongly mark all. */
const BRIDGE = {
  rests: "",
  marks: `udp dport 4789 ip ecn != not-ect ip ecn set ce
    udp dport 4789 ip6 ecn != not-ect ip6 ecn set ce`,
  lies: "udp dport 4789 ip ecn set ce; udp dport 4789 ip6 ecn set ce",
};

const rules = (marks: string) => `
table bridge weft
delete table bridge weft
table bridge weft {
  counter expedited {}
  chain counting {
    type filter hook prerouting priority 0
    udp dport 4789 ip dscp ${EXPEDITED} counter name expedited
    udp dport 4789 ip6 dscp ${EXPEDITED} counter name expedited
  }
  chain marking {
    type filter hook forward priority 0
    ${marks}
  }
}
`;

for (const underlay of [4, 6] as const) {
  story(`congestion marks over an IPv${underlay} underlay`, () => {
    let lab: Lab;
    let weft: Node;
    let other: Node;
    let kernel: Vtep;

    const bridge = (does: keyof typeof BRIDGE) =>
      lab.wire.exec(["nft", "-f", "-"], { input: rules(BRIDGE[does]) });

    beforeAll(async () => {
      lab = await Lab.open();
      await bridge("rests");
      const hosts = [await lab.host("weft"), await lab.host("other")];
      const subnets = { subnet: "10.244.200.0/24", subnet6: "fd00:244:0:200::/64" };
      kernel = await kernelVtep(await lab.host("kernel"), { ...subnets, underlay });
      for (const host of lab.hosts) await host.sysctl("net/ipv4/tcp_ecn", 1);
      const common = [...DUAL_STACK, "--static-peer", staticPeer(kernel)];
      const flagsOf = ({ name }: Host) =>
        name === "other" ? [...common, "--dscp", `${EXPEDITED}`] : common;
      const nodes = await agentsOn(lab, hosts, (host) => ({ underlay, flags: flagsOf(host) }));
      [weft, other] = nodes as [Node, Node];
      for (const { host, status } of nodes) {
        const [subnet = "", subnet6] = status.leases;
        const endpoint = underlay === 6 ? host.address6 : host.address;
        await addNeighbours(kernel, { endpoint, mac: status.mac, subnet, subnet6 });
      }
    });
    afterAll(() => lab?.close());

    for (const family of [4, 6] as const) {
      const places = () => ({
        "a kernel VXLAN device": {
          host: kernel.host,
          address: family === 6 ? kernel.address6! : kernel.address,
        },
        "an agent": { host: weft.host, address: addressOf(weft, family) },
        "another agent": { host: other.host, address: addressOf(other, family) },
      });
      type Name = keyof ReturnType<typeof places>;

      it.each<[Name, Name]>([
        ["an agent", "a kernel VXLAN device"],
        ["a kernel VXLAN device", "an agent"],
        ["an agent", "another agent"],
      ])(`slow IPv${family} TCP from %s to %s`, async (sender, receiver) => {
        await bridge("marks");
        const { [sender]: from, [receiver]: to } = places();
        const before = await deliveredWithMark(from.host);
        await transfer(from.host, to.host, to.address, BYTES);
        expect(await deliveredWithMark(from.host)).toBeGreaterThan(before);
      });

      it(`drop IPv${family} packets that cannot carry them, and no others`, async () => {
        await bridge("lies");
        const { "an agent": to } = places();
        for (const from of [kernel.host, other.host]) {
          const before = await droppedForMark(weft);
          expect((await ping(from, to.address, { count: 2 })).rttMs).toEqual([]);
          expect(await droppedForMark(weft)).toBe(before + 2);
        }
        // ECN-capable both ways: an answer has the TOS of what it answers.
        const capable = ["ping", "-c", "2", "-i", "0.2", "-W", "2", "-Q", "2", to.address];
        for (const from of [kernel.host, other.host]) await from.exec(capable);
      });
    }

    it("leave the DSCP that an agent sets for its own", async () => {
      await bridge("rests");
      expect(await expedited(lab)).toBe(0);
      await ping(weft.host, kernel.address, { count: 2 });
      expect(await expedited(lab)).toBe(0);
      await ping(other.host, kernel.address, { count: 2 });
      expect(await expedited(lab)).toBe(2);
    });
  });
}

/** Segments that TCP of a host sent, and whose receiver said that they came with a mark. */
async function deliveredWithMark(host: Host): Promise<number> {
  const counted = JSON.parse(await host.exec(["nstat", "-a", "-s", "-z", "-j"]));
  return counted.kernel.TcpExtTCPDeliveredCE;
}

async function droppedForMark({ agent }: Node): Promise<number> {
  const counters = await agent.get<Counters>("/v1/counters");
  return counters?.in.dropped["not-ecn-capable"] ?? 0;
}

async function expedited({ wire }: Lab): Promise<number> {
  const { nftables } = JSON.parse(await wire.exec(["nft", "-j", "list", "counters", "bridge"]));
  return nftables.flatMap(({ counter }: { counter?: { packets: number } }) => counter ?? [])[0]
    .packets;
}
