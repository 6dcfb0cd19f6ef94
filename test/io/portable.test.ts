import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { Dataplane } from "../../src/dataplane.js";
import { DgramUnderlay } from "../../src/io/dgram.js";
import { type MemoryDevice, memoryPair } from "../../src/io/memory.js";
import { PortableIo } from "../../src/io/portable.js";
import { icmp, ipv4 } from "./packets.js";

const ICMP = 1;
const MAC = (i: number) => `02:00:00:00:00:0${i}`;
const overlay = (i: number) => `10.244.${i}.1`;

/** A node without root: `host` is the far end of its device. */
interface Node {
  host: MemoryDevice;
  device: MemoryDevice;
  underlay: DgramUnderlay;
  dataplane: Dataplane;
  io: PortableIo;
}

const running: Node[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ io }) => io.stop()));
});

async function pair(): Promise<[Node, Node]> {
  const underlays = [
    await DgramUnderlay.open("127.0.0.1", 0),
    await DgramUnderlay.open("127.0.0.1", 0),
  ];
  const nodes: Node[] = [];
  for (const own of [1, 2]) {
    const other = 3 - own;
    const underlay = underlays[own - 1]!;
    const dataplane = await Dataplane.create({
      vni: 1,
      mac: MAC(own),
      mtu: 1450,
      address: overlay(own),
      leases: [`10.244.${own}.0/24`],
      underlay: underlay.endpoint,
    });
    dataplane.setPeers([
      {
        name: `node${other}`,
        endpoint: underlays[other - 1]!.endpoint,
        mac: MAC(other),
        leases: [`10.244.${other}.0/24`],
      },
    ]);
    const [host, device] = memoryPair();
    const io = new PortableIo({ dataplane, device, underlay });
    io.start();
    nodes.push({ host, device, underlay, dataplane, io });
  }
  running.push(...nodes);
  return nodes as [Node, Node];
}

const next = (host: MemoryDevice) => new Promise<Uint8Array>((resolve) => host.onPacket(resolve));
const ping = (text: string) => ipv4(overlay(1), overlay(2), ICMP, icmp(8, 0, 1, Buffer.from(text)));

describe("the portable path, over real UDP", () => {
  it("a packet sent into one node's device comes out of the other's, unchanged", async () => {
    const [a, b] = await pair();
    const heard = next(b.host);
    const packet = ping("hello");
    a.host.send(packet);
    const arrived = Buffer.from(await heard);
    // A tunnel is one hop, or none: whatever the TTL became, the rest is the same.
    expect(arrived.subarray(12)).toEqual(packet.subarray(12));
    expect(a.dataplane.counters().out.delivered).toBe(1);
    expect(b.dataplane.counters().in.delivered).toBe(1);
  });

  it("an answer the core makes comes back through the device", async () => {
    const [a] = await pair();
    const heard = next(a.host);
    a.host.send(ipv4(overlay(1), "10.244.99.1", ICMP, icmp(8, 0, 1, Buffer.from("nobody"))));
    const answer = await heard;
    expect([answer[9], answer[20]]).toEqual([ICMP, 3]); // destination unreachable
    expect(a.dataplane.counters().out.answered).toBe(1);
  });

  it("time passes in the core as it does outside: answers are limited, not used up", async () => {
    const [a] = await pair();
    let answers = 0;
    a.host.onPacket(() => answers++);
    const unroutable = ipv4(overlay(1), "10.244.99.1", ICMP, icmp(8, 0, 1, Buffer.from("nobody")));
    for (let i = 0; i < 5000; i++) a.host.send(unroutable);
    await once(AbortSignal.timeout(20), "abort");
    const limited = answers;
    expect(limited).toBeLessThan(5000);
    while (answers === limited) {
      a.host.send(unroutable);
      await once(AbortSignal.timeout(5), "abort");
    }
  });

  it("carries what the mesh sends beside the packets, both ways", async () => {
    const [a, b] = await pair();
    b.io.receive((from, bytes) => b.io.send(from, Buffer.from(`${Buffer.from(bytes)} back`)));
    const heard = new Promise<string[]>((resolve) => {
      a.io.receive((from, bytes) => resolve([from, Buffer.from(bytes).toString()]));
    });
    a.io.send(b.underlay.endpoint, Buffer.from("weft there"));
    expect(await heard).toEqual([b.underlay.endpoint, "weft there back"]);
    expect(b.dataplane.counters().in).toMatchObject({ received: 0, control: 1 });
    expect(a.io.takeActive()).toEqual([]);
    const arrived = next(b.host);
    a.host.send(ping("a packet"));
    await arrived;
    expect(a.io.takeActive()).toEqual(["node2"]);
    expect(a.io.takeActive()).toEqual([]);
  });

  it("says when an end is gone, and moves nothing more", async () => {
    const [a] = await pair();
    const ended = once(a.io, "end");
    a.host.close();
    await ended;
    expect(a.dataplane.counters().out.received).toBe(0);
  });

  it("stop is quiet, closes both ends, and may be called again", async () => {
    const [a] = await pair();
    for (const event of ["end", "error"] as const) a.io.on(event, () => expect.unreachable());
    await a.io.stop();
    await a.io.stop();
    a.host.send(ping("late"));
    expect(a.host.lost).toBe(1);
  });
});
