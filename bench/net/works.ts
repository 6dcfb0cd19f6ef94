/** What two hosts are made to do, and the quantities that come of it. */
import { iperf, ping } from "../../src/lab/measure.js";
import { quantile } from "../statistics.js";
import { busySeconds } from "./cpu.js";
import type { Overlay } from "./overlays.js";

/** How weft stands beside the kernel: as a factor, as what it adds, or not at all. */
type Comparison = "ratio" | "difference" | "none";

export interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  readonly compare: Comparison;
}

const quantity = (
  title: string,
  unit: string,
  digits: number,
  compare: Comparison = "ratio",
): Quantity => ({ title, unit, digits, compare });

export const quantities = {
  tcp1: quantity("TCP, 1 flow", "Gb/s", 2),
  cpu: quantity("CPU for it, whole machine", "s/GB", 2),
  cpuIperf: quantity("of that in iperf3 itself", "s/GB", 2),
  tcp4: quantity("TCP, 4 flows", "Gb/s", 2),
  udp64: quantity("UDP 64 B delivered", "kpps", 1),
  udp64Lost: quantity("lost", "%", 1, "none"),
  udp1300: quantity("UDP 1300 B delivered", "kpps", 1),
  udp1300Lost: quantity("lost", "%", 1, "none"),
  rttP50: quantity("RTT p50", "us", 0, "difference"),
  rttP99: quantity("RTT p99", "us", 0, "difference"),
} as const;

export type QuantityName = keyof typeof quantities;
export type Readings = Partial<Record<QuantityName, number>>;
type Work = (overlay: Overlay, seconds: number) => Promise<Readings>;

/** A ping every 2 ms: the network falls asleep in between. Below 1 ms ping does not wait at all. */
const PINGS_PER_SECOND = 500;
const MOST_PINGS = 10_000;

export const works = {
  tcp1: async ({ a, b, address }, seconds) => {
    const before = busySeconds();
    const flow = await iperf(a, b, address, { seconds });
    const gigabytes = flow.bytes / 1e9;
    return {
      tcp1: flow.bitsPerSecond / 1e9,
      cpu: (busySeconds() - before) / gigabytes,
      cpuIperf: flow.iperfCpuSeconds / gigabytes,
    };
  },
  tcp4: async ({ a, b, address }, seconds) => {
    const { bitsPerSecond } = await iperf(a, b, address, { seconds, flows: 4 });
    return { tcp4: bitsPerSecond / 1e9 };
  },
  udp64: async (overlay, seconds) => {
    const { rate, lost } = await datagrams(overlay, seconds, 64);
    return { udp64: rate / 1e3, udp64Lost: 100 * lost };
  },
  udp1300: async (overlay, seconds) => {
    const { rate, lost } = await datagrams(overlay, seconds, 1300);
    return { udp1300: rate / 1e3, udp1300Lost: 100 * lost };
  },
  rtt: async ({ a, address }, seconds) => {
    const count = Math.min(seconds * PINGS_PER_SECOND, MOST_PINGS);
    const { rttMs } = await ping(a, address, { count, intervalSeconds: 1 / PINGS_PER_SECOND });
    return { rttP50: 1e3 * quantile(rttMs, 0.5), rttP99: 1e3 * quantile(rttMs, 0.99) };
  },
} satisfies Record<string, Work>;

export type WorkName = keyof typeof works;

/** Sent as fast as the sender can; those that arrived, per second. */
async function datagrams({ a, b, address }: Overlay, seconds: number, length: number) {
  const flow = await iperf(a, b, address, { udp: true, seconds, length });
  return { rate: flow.datagrams / flow.seconds, lost: flow.lost };
}
