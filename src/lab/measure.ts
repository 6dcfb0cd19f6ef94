/** Asking the network questions with the tools everyone trusts: ping and iperf3. */
import type { Host } from "./namespace.js";
import { CommandFailed } from "./running.js";

export interface PingOptions {
  readonly count?: number;
  readonly intervalSeconds?: number;
  /** ICMP payload bytes: the IPv4 packet is 28 bytes longer. */
  readonly size?: number;
  /** Forbid fragmenting on the way. */
  readonly whole?: boolean;
}

export interface Pinged {
  readonly sent: number;
  /** Round trip of each answer, in milliseconds. */
  readonly rttMs: readonly number[];
  readonly output: string;
}

export async function ping(from: Host, to: string, options: PingOptions = {}): Promise<Pinged> {
  const { count = 3, intervalSeconds = 0.2, size = 56, whole = false } = options;
  const argv = ["ping", "-n", "-c", `${count}`, "-i", `${intervalSeconds}`, "-s", `${size}`];
  const limitMs = 10_000 + 2_000 * count * intervalSeconds;
  const { stdout, stderr } = await from.run(
    [...argv, "-W", "2", ...(whole ? ["-M", "do"] : []), to],
    { limitMs },
  );
  const rttMs = [...stdout.matchAll(/ time=([\d.]+) ms$/gm)].map((match) => Number(match[1]));
  return { sent: count, rttMs, output: stdout + stderr };
}

export interface FlowOptions {
  readonly udp?: boolean;
  readonly seconds?: number;
  /** Payload bytes of one UDP datagram. */
  readonly length?: number;
  /** Bits per second to send; 0 means as fast as it goes. TCP always does. */
  readonly bitsPerSecond?: number;
}

export interface Flow {
  readonly seconds: number;
  /** What arrived. */
  readonly bytes: number;
  readonly bitsPerSecond: number;
  /** UDP only: datagrams that arrived. */
  readonly datagrams: number;
}

/** One flow from one host to another, through `address` of the other. Counts what arrived. */
export async function iperf(
  from: Host,
  to: Host,
  address: string,
  options: FlowOptions = {},
): Promise<Flow> {
  const { udp = false, seconds = 2, length, bitsPerSecond = 0 } = options;
  const server = to.spawn(["iperf3", "-s", "-1", "--forceflush", "-B", address]);
  try {
    await server.says(/Server listening/);
    const kind = udp ? ["-u", "-b", `${bitsPerSecond}`] : [];
    const size = length === undefined ? [] : ["-l", `${length}`];
    const argv = [
      "iperf3",
      "-c",
      address,
      "-J",
      "--connect-timeout",
      "5000",
      "-t",
      `${seconds}`,
      ...kind,
      ...size,
    ];
    const client = await from.run(argv, { limitMs: 1_000 * seconds + 30_000 });
    const { end, error } = JSON.parse(client.stdout || "{}");
    if (client.code !== 0 || error !== undefined) throw new CommandFailed(argv, client);
    if (!udp) {
      const { seconds: took, bytes: arrived, bits_per_second: rate } = end.sum_received;
      return { seconds: took, bytes: arrived, bitsPerSecond: rate, datagrams: 0 };
    }
    // iperf3 3.12 puts the receiver's losses beside the sender's counts
    const { seconds: took, packets, lost_packets: lost, bytes: sent } = end.sum;
    const datagrams = packets - lost;
    const arrived = packets === 0 ? 0 : (sent / packets) * datagrams;
    return { seconds: took, bytes: arrived, bitsPerSecond: (arrived * 8) / took, datagrams };
  } finally {
    await server.stop("SIGKILL");
  }
}
