/**
 * What the overlay costs between two hosts: weft beside the kernel's own VXLAN,
 * through namespaces joined by a bridge.
 *
 *     npm run bench:net -- [--seconds N] [-o json]
 *
 * All run interleaved, three rounds, and the medians are shown, so that a noisy
 * minute of the machine falls on all of them. veth carries a large packet through
 * unsegmented, which no cable does: so each runs a second time with the offloads
 * of its devices off, where every packet is a packet.
 */
import { parseArgs } from "node:util";
import { whyNoLab } from "../src/lab/able.js";
import { Lab } from "../src/lab/lab.js";
import { iperf, ping } from "../src/lab/measure.js";
import type { Host } from "../src/lab/namespace.js";
import { kernelVtep, teach, turnOffloadsOff } from "../src/lab/vtep.js";

/** Two hosts, and the address of the second on the overlay between them. */
interface Overlay {
  readonly a: Host;
  readonly b: Host;
  readonly address: string;
}

interface Sample {
  /** Single TCP flow, bits per second that arrived. */
  readonly tcpBits: number;
  /** UDP datagrams of 64 payload bytes that arrived, per second. */
  readonly udpRate: number;
  readonly rttP50Us: number;
  readonly rttP99Us: number;
}

type Name = "weft" | "vxlan" | "weft, no offloads" | "vxlan, no offloads";
type Offloads = "default" | "off";

const ROUNDS = 3;
const PINGS = 2_000;
const PING_INTERVAL_SECONDS = 0.0005;
const UDP_BYTES = 64;

const MAKERS: Record<Name, (lab: Lab) => Promise<Overlay>> = {
  weft: (lab) => weft(lab, "default"),
  vxlan: (lab) => vxlan(lab, "default"),
  "weft, no offloads": (lab) => weft(lab, "off"),
  "vxlan, no offloads": (lab) => vxlan(lab, "off"),
};

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    output: { type: "string", short: "o", default: "table" },
  },
});

const why = whyNoLab();
if (why !== undefined) {
  console.error(`${why}: this benchmark needs root and /dev/net/tun`);
  process.exit(1);
}
const seconds = Number(options.seconds);
if (!(seconds >= 1 && seconds <= 600)) {
  console.error(`--seconds ${options.seconds}: give a number from 1 to 600`);
  process.exit(1);
}
const results = await measureAll(seconds);
if (options.output === "json")
  console.log(JSON.stringify({ seconds, rounds: ROUNDS, results }, null, 2));
else console.log(table(results));

async function measureAll(seconds: number): Promise<Record<Name, Sample>> {
  const names = Object.keys(MAKERS) as Name[];
  const samples = new Map<Name, Sample[]>(names.map((name) => [name, []]));
  const labs: Lab[] = [];
  try {
    const overlays = new Map<Name, Overlay>();
    for (const name of names) {
      progress(`setting up ${name}`);
      const lab = await Lab.open();
      labs.push(lab);
      overlays.set(name, await MAKERS[name](lab));
    }
    for (let round = 1; round <= ROUNDS; round++) {
      for (const [name, overlay] of overlays) {
        progress(`round ${round} of ${ROUNDS}: ${name}`);
        samples.get(name)!.push(await measure(overlay, seconds));
      }
    }
  } finally {
    for (const lab of labs) await lab.close();
  }
  return Object.fromEntries([...samples].map(([name, taken]) => [name, middle(taken)])) as Record<
    Name,
    Sample
  >;
}

async function weft(lab: Lab, offloads: Offloads): Promise<Overlay> {
  const [a, b] = [await lab.host("a"), await lab.host("b")];
  const first = lab.agent(a);
  await first.waitHealthy();
  const second = lab.agent(b, { join: [a] });
  await first.waitHealthy({ peers: 1 });
  const { address } = await second.waitHealthy({ peers: 1 });
  if (offloads === "off") {
    for (const host of [a, b]) await turnOffloadsOff(host, ["weft0", "eth0"]);
  }
  return { a, b, address };
}

async function vxlan(lab: Lab, offloads: Offloads): Promise<Overlay> {
  const a = await kernelVtep(await lab.host("a"), { subnet: "10.244.1.0/24", offloads });
  const b = await kernelVtep(await lab.host("b"), { subnet: "10.244.2.0/24", offloads });
  await teach(a, b);
  await teach(b, a);
  return { a: a.host, b: b.host, address: b.address };
}

async function measure({ a, b, address }: Overlay, seconds: number): Promise<Sample> {
  await ping(a, address);
  const { bitsPerSecond: tcpBits } = await iperf(a, b, address, { seconds });
  const udp = await iperf(a, b, address, { udp: true, seconds, length: UDP_BYTES });
  const { rttMs } = await ping(a, address, {
    count: PINGS,
    intervalSeconds: PING_INTERVAL_SECONDS,
  });
  return {
    tcpBits,
    udpRate: udp.datagrams / udp.seconds,
    rttP50Us: 1_000 * quantile(rttMs, 0.5),
    rttP99Us: 1_000 * quantile(rttMs, 0.99),
  };
}

/** The median of each number on its own. */
function middle(samples: readonly Sample[]): Sample {
  const of = (key: keyof Sample) =>
    quantile(
      samples.map((sample) => sample[key]),
      0.5,
    );
  return {
    tcpBits: of("tcpBits"),
    udpRate: of("udpRate"),
    rttP50Us: of("rttP50Us"),
    rttP99Us: of("rttP99Us"),
  };
}

/** Nearest rank. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

function table(results: Record<Name, Sample>): string {
  const head = ["over veth", "TCP Gb/s", "UDP 64 B kpps", "RTT p50 us", "RTT p99 us"];
  const numbers = ({ tcpBits, udpRate, rttP50Us, rttP99Us }: Sample) => [
    (tcpBits / 1e9).toFixed(2),
    (udpRate / 1e3).toFixed(1),
    rttP50Us.toFixed(0),
    rttP99Us.toFixed(0),
  ];
  const ratios = (one: Name, other: Name) => [
    `${one} : ${other}`,
    ...(Object.keys(results[one]) as (keyof Sample)[]).map((key) =>
      (results[one][key] / results[other][key]).toFixed(2),
    ),
  ];
  const rows = [
    head,
    ...Object.entries(results).map(([name, sample]) => [name, ...numbers(sample)]),
    ratios("weft", "vxlan"),
    ratios("weft, no offloads", "vxlan, no offloads"),
  ];
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  "),
    )
    .join("\n");
}

function progress(line: string): void {
  console.error(`bench: ${line}`);
}
