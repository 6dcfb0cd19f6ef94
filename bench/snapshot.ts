/**
 * The size of a snapshot of a dataplane, and the time to take and to restore it; the cost of keeping
 * connections for the agent's main thread (`weft up --keep-flows`).
 *
 *     npm run bench:snapshot
 */
import { FlowCopier } from "../src/core/kept-flows.js";
import { Dataplane } from "../src/index.js";
import { Host, read } from "../test/core/host.js";
import { ipv4, UDP, udp } from "../test/packets.js";
import { describeMachine, machine } from "./machine.js";
import { quantile } from "./statistics.js";
import { table } from "./table.js";

const CONNECTIONS = [0, 1000, 10_000, 30_000];
const TIMES = 9;

async function dataplaneWith(connections: number): Promise<Dataplane> {
  const dp = await Dataplane.create({
    vni: 1,
    mac: "02:00:00:00:00:01",
    mtu: 1450,
    address: "10.244.1.1",
    leases: ["10.244.1.0/24"],
    underlay: "192.0.2.1:4789",
  });
  const b = { name: "b", endpoint: "192.0.2.2:4789", mac: "02:00:00:00:00:02" };
  dp.setPeers([{ ...b, leases: ["10.244.2.0/24"] }]);
  for (let i = 0; i < connections; i++) dp.fromDevice(packet(i));
  return dp;
}

/** The first packet of a connection of its own. */
function packet(i: number): Uint8Array {
  const [src, dst] = ["10.244.1.1", "10.244.2.1"];
  const payload = udp(src, dst, new Uint8Array(8), { sport: 1024 + i, dport: 53 });
  return ipv4({ src, dst, protocol: UDP, payload });
}

/** Milliseconds in all, and the longest for which the main thread did nothing else. */
async function keep(copier: FlowCopier): Promise<{ all: number; longest: number; bytes: number }> {
  const began = performance.now();
  let [last, longest, isOver] = [began, 0, false];
  const watch = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(watch);
  };
  setImmediate(watch);
  const { records } = await copier.copy(0);
  isOver = true;
  watch();
  return { all: performance.now() - began, longest, bytes: records.length };
}

function medianOf(work: () => void): number {
  const times = Array.from({ length: TIMES }, () => {
    const before = performance.now();
    work();
    return performance.now() - before;
  });
  return quantile(times, 0.5);
}

const rows: string[][] = [["connections", "bytes", "taken in ms", "restored in ms"]];
for (const connections of CONNECTIONS) {
  const dp = await dataplaneWith(connections);
  const taken = dp.snapshot();
  const take = medianOf(() => dp.snapshot());
  const restore = medianOf(() => dp.restore(taken));
  const found = dp.flows().length.toLocaleString("en");
  rows.push([found, taken.length.toLocaleString("en"), take.toFixed(1), restore.toFixed(1)]);
}
const kept: string[][] = [["connections", "bytes kept", "copied in ms", "longest pause in ms"]];
for (const connections of CONNECTIONS) {
  const host = await Host.create();
  for (let i = 0; i < connections; i++) host.send([read(packet(i))]);
  const copier = new FlowCopier(host.core);
  const runs: Awaited<ReturnType<typeof keep>>[] = [];
  for (let i = 0; i < TIMES; i++) runs.push(await keep(copier));
  const of = (value: "all" | "longest" | "bytes") => runs.map((run) => run[value]);
  const [all, longest, bytes] = [of("all"), of("longest"), of("bytes")].map((values) =>
    quantile(values, 0.5),
  ) as [number, number, number];
  const found = bytes / 256;
  kept.push([
    found.toLocaleString("en"),
    bytes.toLocaleString("en"),
    all.toFixed(1),
    longest.toFixed(1),
  ]);
}
console.log(describeMachine(machine()));
for (const one of [rows, kept]) console.log(`\n${table(one).join("\n")}`);
