import { afterAll, beforeAll, expect, it } from "vitest";
import { BridgeCapture } from "../../src/lab/capture.js";
import { Lab } from "../../src/lab/lab.js";
import { link } from "../../src/lab/link.js";
import { iperf, ping } from "../../src/lab/measure.js";
import { addNeighbours, kernelVtep, type Vtep } from "../../src/lab/vtep.js";
import { story } from "./story.js";

story("the lab itself: two kernel VTEPs, as flannel sets them up, are joined by its bridge", () => {
  let lab: Lab;
  let [a, b]: Vtep[] = [];

  beforeAll(async () => {
    lab = await Lab.open();
    a = await kernelVtep(await lab.host("a"), { subnet: "10.244.1.0/24" });
    b = await kernelVtep(await lab.host("b"), { subnet: "10.244.2.0/24", offloads: "off" });
    await addNeighbours(a, b);
    await addNeighbours(b, a);
  });
  afterAll(() => lab?.close());

  it("they answer each other", async () => {
    const { sent, rttMs, output } = await ping(a!.host, b!.address);
    expect(rttMs, output).toHaveLength(sent);
  });

  it("tshark decodes what they send", async () => {
    const capture = await BridgeCapture.start(lab, a!.host);
    await ping(b!.host, a!.address, { count: 1 });
    const question = {
      vni: 1,
      outer: [b!.endpoint, a!.endpoint],
      macs: [b!.mac, a!.mac],
      inner: [b!.address, a!.address],
      protocol: 1,
    };
    const swap = <T>([x, y]: T[]) => [y, x];
    const answer = {
      ...question,
      outer: swap(question.outer),
      macs: swap(question.macs),
      inner: swap(question.inner),
    };
    expect(await capture.stop()).toEqual([question, answer]);
  });

  it("bytes arrive over TCP and UDP", async () => {
    const tcp = await iperf(a!.host, b!.host, b!.address, { seconds: 1 });
    expect(tcp.bytes).toBeGreaterThan(0);
    const udp = await iperf(b!.host, a!.host, a!.address, {
      udp: true,
      seconds: 1,
      bitsPerSecond: 1e6,
    });
    expect(udp.datagrams).toBeGreaterThan(0);
  });

  it("a flow has the socket buffers that it asks for, or fails", async () => {
    const flow = { udp: true, seconds: 1, bitsPerSecond: 1e6 };
    const [from, to, address] = [a!.host, b!.host, b!.address] as const;
    const { datagrams } = await iperf(from, to, address, { ...flow, socketBuffer: 65_536 });
    expect(datagrams).toBeGreaterThan(0);
    await expect(iperf(from, to, address, { ...flow, socketBuffer: 2 ** 29 })).rejects.toThrow(
      "socket buffer size not set correctly",
    );
  });

  it("a packet bigger than the overlay's MTU may not pass whole", async () => {
    const whole = { count: 1, whole: true };
    expect((await ping(a!.host, b!.address, { ...whole, size: 1422 })).rttMs).toHaveLength(1);
    expect((await ping(a!.host, b!.address, { ...whole, size: 1423 })).rttMs).toHaveLength(0);
  });
});

story("the link between the two segments of a lab", () => {
  const NARROW = 1400;
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab?.close());

  it("carries both families, and says how much fits", async () => {
    const near = await lab.host("near-host");
    const far = await lab.host("far-host", { segment: "far" });
    await link(lab, { mtu: NARROW });
    for (const [address, header] of [
      [far.address, 28],
      [far.address6, 48],
    ] as const) {
      const fits = { count: 1, whole: true, size: NARROW - header };
      expect((await ping(near, address, fits)).rttMs).toHaveLength(1);
      const { rttMs, output } = await ping(near, address, { ...fits, size: fits.size + 1 });
      expect(rttMs).toHaveLength(0);
      expect(output).toMatch(new RegExp(`mtu ?[=:] ?${NARROW}\\b`));
    }
  });
});
