import { afterAll, beforeAll, expect, it } from "vitest";
import type { AgentStatus } from "../../src/lab/agent.js";
import { BridgeCapture } from "../../src/lab/capture.js";
import { Lab } from "../../src/lab/lab.js";
import { iperf, ping } from "../../src/lab/measure.js";
import type { Host } from "../../src/lab/namespace.js";
import { addNeighbours, kernelVtep, staticPeer, type Vtep } from "../../src/lab/vtep.js";
import { story } from "./story.js";

story("a kernel VXLAN device, set up as flannel does it, is a peer", () => {
  let lab: Lab;
  let weft: Host;
  let status: AgentStatus;
  let kernel: Vtep;

  beforeAll(async () => {
    lab = await Lab.open();
    weft = await lab.host("weft");
    kernel = await kernelVtep(await lab.host("kernel"), { subnet: "10.244.200.0/24" });
    const agent = lab.agent(weft, { flags: ["--static-peer", staticPeer(kernel)] });
    status = await agent.waitHealthy();
    await addNeighbours(kernel, {
      endpoint: weft.address,
      mac: status.mac,
      subnet: status.leases[0]!,
    });
  });
  afterAll(() => lab?.close());

  it("with the offloads a kernel device has by default", async () => {
    const features = await kernel.host.exec(["ethtool", "-k", kernel.device]);
    expect(features).toMatch(/^tx-checksumming: on/m);
    expect(features).toMatch(/^tcp-segmentation-offload: on/m);
  });

  it("ping is answered in both directions, and tshark reads the wire as VXLAN", async () => {
    const capture = await BridgeCapture.start(lab, weft);
    for (const [from, to] of [
      [weft, kernel.address],
      [kernel.host, status.address],
    ] as const) {
      const { sent, rttMs, output } = await ping(from, to);
      expect(rttMs, output).toHaveLength(sent);
    }
    const packets = await capture.stop();
    const there = {
      vni: 1,
      outer: [weft.address, kernel.endpoint],
      macs: [status.mac, kernel.mac],
      inner: [status.address, kernel.address],
      protocol: 1,
    };
    const back = {
      vni: 1,
      outer: [kernel.endpoint, weft.address],
      macs: [kernel.mac, status.mac],
      inner: [kernel.address, status.address],
      protocol: 1,
    };
    for (const packet of packets) expect([there, back]).toContainEqual(packet);
    expect(packets.filter(({ outer }) => outer[0] === weft.address)).toHaveLength(6);
    expect(packets.filter(({ outer }) => outer[0] === kernel.endpoint)).toHaveLength(6);
  });

  it("TCP flows in both directions", async () => {
    const there = await iperf(weft, kernel.host, kernel.address, { seconds: 1 });
    expect(there.bytes).toBeGreaterThan(1_000_000);
    const back = await iperf(kernel.host, weft, status.address, { seconds: 1 });
    expect(back.bytes).toBeGreaterThan(1_000_000);
  });

  it("UDP flows in both directions", async () => {
    const flow = { udp: true, seconds: 1, length: 1_000, bitsPerSecond: 5e6 };
    expect((await iperf(weft, kernel.host, kernel.address, flow)).lost).toBeLessThan(0.1);
    expect((await iperf(kernel.host, weft, status.address, flow)).lost).toBeLessThan(0.1);
  });

  it("whole packets of exactly the MTU pass in both directions", async () => {
    const whole = { count: 1, whole: true, size: 1_422 };
    expect((await ping(weft, kernel.address, whole)).rttMs).toHaveLength(1);
    expect((await ping(kernel.host, status.address, whole)).rttMs).toHaveLength(1);
  });
});
