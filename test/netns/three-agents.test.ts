import { afterAll, beforeAll, expect, it } from "vitest";
import { pairsOf } from "../../src/demo/pairs.js";
import { Lab } from "../../src/lab/lab.js";
import { iperf, ping } from "../../src/lab/measure.js";
import { rounds } from "../rounds.js";
import { cluster, type Node } from "./cluster.js";
import { story } from "./story.js";
import { transfer } from "./transfer.js";

const TRANSFER_BYTES = rounds(50_000_000, 200_000_000);

story("three agents, each joining the one before", () => {
  let lab: Lab;
  let nodes: Node[];
  let [a, b, c]: Node[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    nodes = await cluster(lab, ["a", "b", "c"]);
    [a, b, c] = nodes;
  });
  afterAll(() => lab?.close());

  it("have three different leases of one network", () => {
    expect(new Set(nodes.map(({ status }) => status.leases[0])).size).toBe(3);
    for (const { status } of nodes) expect(status.network).toEqual(a!.status.network);
  });

  it("answer each other, every pair in both directions", async () => {
    for (const [from, to] of pairsOf(nodes)) {
      const { sent, rttMs, output } = await ping(from.host, to.status.address);
      expect(rttMs, output).toHaveLength(sent);
    }
  });

  it("carry TCP both ways", async () => {
    for (const [from, to] of [
      [a!, c!],
      [c!, a!],
    ] as const) {
      const { bytes } = await iperf(from.host, to.host, to.status.address, { seconds: 1 });
      expect(bytes).toBeGreaterThan(0);
    }
  });

  it("carry UDP, in small datagrams and in ones that must be fragmented", async () => {
    for (const length of [64, 1_400, 8_000]) {
      const flow = { udp: true, seconds: 1, length, bitsPerSecond: 5e6 };
      const { datagrams, lost } = await iperf(a!.host, b!.host, b!.status.address, flow);
      expect(datagrams).toBeGreaterThan(0);
      expect(lost).toBeLessThan(0.1);
    }
  });

  it("let a whole packet of exactly the MTU through, and not one byte more", async () => {
    const { mtu } = JSON.parse(await a!.host.exec(["ip", "-j", "link", "show", "weft0"]))[0];
    expect(mtu).toBe(1450);
    const whole = { count: 1, whole: true };
    expect(
      (await ping(a!.host, b!.status.address, { ...whole, size: mtu - 28 })).rttMs,
    ).toHaveLength(1);
    expect(
      (await ping(a!.host, b!.status.address, { ...whole, size: mtu - 27 })).rttMs,
    ).toHaveLength(0);
  });

  it("let a packet that may be fragmented be bigger than the MTU", async () => {
    const { rttMs } = await ping(a!.host, b!.status.address, { count: 1, size: 4_000 });
    expect(rttMs).toHaveLength(1);
  });

  it("show their hops to traceroute", async () => {
    const argv = ["traceroute", "-n", "-q", "1", "-w", "2", "-m", "5", b!.status.address];
    const hops = (await a!.host.exec(argv)).matchAll(/^ *\d+ {2}(\S+)/gm);
    expect([...hops].map(([, hop]) => hop)).toEqual([a!.status.address, b!.status.address]);
  });

  it("carry a large stream unchanged", async () => {
    await transfer(a!.host, c!.host, c!.status.address, TRANSFER_BYTES);
  });
});
