/** Measures the network with ping and iperf3. */
import type { Host } from "./namespace.js";
import { CommandFailed } from "./running.js";

export interface PingOptions {
  readonly count?: number;
  readonly intervalSeconds?: number;
  /** Bytes of ICMP payload; the packet is 28 bytes longer, 48 with IPv6. */
  readonly size?: number;
  /** True forbids fragmentation on the path; false also turns path MTU discovery off. */
  readonly whole?: boolean;
}

export interface Pinged {
  readonly sent: number;
  /** Round trip of each answer, in milliseconds. */
  readonly rttMs: readonly number[];
  readonly output: string;
}

export async function ping(from: Host, to: string, options: PingOptions = {}): Promise<Pinged> {
  const { count = 3, intervalSeconds = 0.2, size = 56, whole } = options;
  const argv = ["ping", "-n", "-c", `${count}`, "-i", `${intervalSeconds}`, "-s", `${size}`];
  const fragmenting = whole === undefined ? [] : ["-M", whole ? "do" : "dont"];
  const limitMs = 10_000 + 2_000 * count * intervalSeconds;
  const { stdout, stderr } = await from.run([...argv, "-W", "2", ...fragmenting, to], { limitMs });
  const rttMs = [...stdout.matchAll(/ time=([\d.]+) ms$/gm)].map((match) => Number(match[1]));
  return { sent: count, rttMs, output: stdout + stderr };
}

export interface IperfOptions {
  readonly udp?: boolean;
  readonly seconds?: number;
  /** Parallel flows between the same two addresses. */
  readonly flows?: number;
  /** TCP only: milliseconds without an acknowledgment after which the sender gives up. */
  readonly giveUpMs?: number;
  /** Payload bytes of one UDP datagram. */
  readonly length?: number;
  /** UDP only: bits per second to send; 0 means as fast as possible. */
  readonly bitsPerSecond?: number;
  /**
   * Bytes of the socket buffers of both ends, at most `net.core.rmem_max` and `wmem_max`; by default
   * the kernel's. A small buffer drops datagrams that the network delivered.
   */
  readonly socketBuffer?: number;
}

export interface IperfResult {
  readonly seconds: number;
  /** Payload bytes that arrived. */
  readonly bytes: number;
  readonly bitsPerSecond: number;
  /** UDP only: datagrams that arrived. */
  readonly datagrams: number;
  /** UDP only: the share of the sent datagrams that did not arrive, 0 to 1. */
  readonly lost: number;
  /** CPU seconds of both iperf3 processes, user and system. */
  readonly iperfCpuSeconds: number;
}

/** Sends from one host to `address` of another, and counts what arrived. */
export async function iperf(
  from: Host,
  to: Host,
  address: string,
  options: IperfOptions = {},
): Promise<IperfResult> {
  const {
    udp = false,
    seconds = 2,
    flows = 1,
    giveUpMs,
    length,
    bitsPerSecond = 0,
    socketBuffer,
  } = options;
  const server = to.spawn(["iperf3", "-s", "-1", "--forceflush", "-B", address]);
  try {
    await server.waitForOutput(/Server listening/);
    const argv = ["iperf3", "-c", address, "-J", "--connect-timeout", "5000"];
    argv.push("-t", `${seconds}`, "-P", `${flows}`);
    if (udp) argv.push("-u", "-b", `${bitsPerSecond}`);
    if (giveUpMs !== undefined) argv.push("--snd-timeout", `${giveUpMs}`);
    if (length !== undefined) argv.push("-l", `${length}`);
    if (socketBuffer !== undefined) argv.push("-w", `${socketBuffer}`);
    const client = await from.run(argv, { limitMs: 1_000 * seconds + 30_000 });
    const { start, end, error } = JSON.parse(client.stdout || "{}");
    if (client.code !== 0 || error !== undefined) throw new CommandFailed(argv, client);
    const { seconds: took, bytes } = end.sum_received;
    const datagrams = udp ? Math.round(bytes / start.test_start.blksize) : 0;
    const cpu = end.cpu_utilization_percent;
    return {
      seconds: took,
      bytes,
      bitsPerSecond: (8 * bytes) / took,
      datagrams,
      lost: udp ? 1 - datagrams / end.sum_sent.packets : 0,
      iperfCpuSeconds: (took * (cpu.host_total + cpu.remote_total)) / 100,
    };
  } finally {
    await server.stop("SIGKILL");
  }
}
