/** The measurements between two hosts, and the quantities that they yield. */
import { readFileSync } from "node:fs";
import { type IperfOptions, type IperfResult, iperf, ping } from "../../src/lab/measure.js";
import { quantile } from "../statistics.js";
import { busySeconds, processSeconds } from "./cpu.js";
import type { Overlay } from "./overlays.js";

/** Comparison of weft with the kernel: as a factor, as a difference, or none. */
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
  cpuAgents: quantity("of that in the agents", "s/GB", 2, "none"),
  tcp4: quantity("TCP, 4 flows", "Gb/s", 2),
  tcp4Agents: quantity("CPU of the agents for it", "s/GB", 2, "none"),
  udp64: quantity("UDP 64 B delivered", "kpps", 1),
  udp64Lost: quantity("lost", "%", 1, "none"),
  udp64Agents: quantity("CPU of the agents for it", "s/GB", 1, "none"),
  udp1300: quantity("UDP 1300 B delivered", "kpps", 1),
  udp1300Lost: quantity("lost", "%", 1, "none"),
  udp1300Agents: quantity("CPU of the agents for it", "s/GB", 2, "none"),
  rttP50: quantity("RTT p50", "us", 0, "difference"),
  rttP99: quantity("RTT p99", "us", 0, "difference"),
} as const;

export type QuantityName = keyof typeof quantities;
export type Readings = Partial<Record<QuantityName, number>>;
type Work = (overlay: Overlay, seconds: number) => Promise<Readings>;

/** A ping every 2 ms: the network is idle in between. Below 1 ms ping does not wait at all. */
const PINGS_PER_SECOND = 500;
const MOST_PINGS = 10_000;

/**
 * Bytes of iperf3's socket buffers for UDP. weft delivers in bursts, and the kernel's default of 208 KiB
 * is too small for them: iperf3 would count drops of its own socket as lost.
 */
export const UDP_BUFFER = 4 * 1024 * 1024;

/** The reason why this machine cannot provide such a buffer; undefined if it can. */
export function whyNoBuffer(): string | undefined {
  const small = ["rmem_max", "wmem_max"].filter(
    (name) => Number(readFileSync(`/proc/sys/net/core/${name}`, "utf8")) < UDP_BUFFER,
  );
  if (small.length === 0) return undefined;
  const settings = small.map((name) => `net.core.${name}=${UDP_BUFFER}`);
  return `UDP is measured with socket buffers of ${UDP_BUFFER} bytes: run sysctl -w ${settings.join(" ")}`;
}

export const works = {
  tcp1: async (overlay, seconds) => {
    const before = busySeconds();
    const { flow, agentsPerGigabyte } = await carried(overlay, { seconds });
    const gigabytes = flow.bytes / 1e9;
    return {
      tcp1: flow.bitsPerSecond / 1e9,
      cpu: (busySeconds() - before) / gigabytes,
      cpuIperf: flow.iperfCpuSeconds / gigabytes,
      cpuAgents: agentsPerGigabyte,
    };
  },
  tcp4: async (overlay, seconds) => {
    const { flow, agentsPerGigabyte } = await carried(overlay, { seconds, flows: 4 });
    return { tcp4: flow.bitsPerSecond / 1e9, tcp4Agents: agentsPerGigabyte };
  },
  udp64: async (overlay, seconds) => {
    const { rate, lost, agents } = await datagrams(overlay, seconds, 64);
    return { udp64: rate / 1e3, udp64Lost: 100 * lost, udp64Agents: agents };
  },
  udp1300: async (overlay, seconds) => {
    const { rate, lost, agents } = await datagrams(overlay, seconds, 1300);
    return { udp1300: rate / 1e3, udp1300Lost: 100 * lost, udp1300Agents: agents };
  },
  rtt: async ({ a, address }, seconds) => {
    const count = Math.min(seconds * PINGS_PER_SECOND, MOST_PINGS);
    const { rttMs } = await ping(a, address, { count, intervalSeconds: 1 / PINGS_PER_SECOND });
    return { rttP50: 1e3 * quantile(rttMs, 0.5), rttP99: 1e3 * quantile(rttMs, 0.99) };
  },
} satisfies Record<string, Work>;

export type WorkName = keyof typeof works;

/** Sends at full speed; the result is the number of datagrams that arrived per second. */
async function datagrams(overlay: Overlay, seconds: number, length: number) {
  const options = { udp: true, seconds, length, socketBuffer: UDP_BUFFER };
  const { flow, agentsPerGigabyte } = await carried(overlay, options);
  return { rate: flow.datagrams / flow.seconds, lost: flow.lost, agents: agentsPerGigabyte };
}

/** A flow, and CPU seconds of the agents per gigabyte of payload that arrived; none for the kernel. */
async function carried(
  { a, b, address, agents }: Overlay,
  options: IperfOptions,
): Promise<{ readonly flow: IperfResult; readonly agentsPerGigabyte: number }> {
  const worked = () => sum(agents.map(({ process }) => processSeconds(process.pid!)));
  const before = worked();
  const flow = await iperf(a, b, address, options);
  return { flow, agentsPerGigabyte: (worked() - before) / (flow.bytes / 1e9) };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
