/**
 * Measures whether the worker pauses when its tables are swapped. Batches run in a thread of their own
 * while this one publishes changes, as the agent does; their durations are compared with those of
 * batches without changes.
 *
 *     npm run bench:swap
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { parseAddress, parseMac, parsePrefix } from "../src/address.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import type { Peer } from "../src/peer.js";
import { ipv4, UDP, udp } from "../test/packets.js";
import { describeMachine, machine } from "./machine.js";
import { quantile } from "./statistics.js";
import { table } from "./table.js";

const PEERS = 5000;
const SECONDS = 3;
const SWAP_EVERY_MS = 5;

/** The worker's reply. */
interface Batches {
  /** Duration of each batch, in microseconds. */
  readonly microseconds: Float64Array;
}

const core = await Core.create();
const publisher = new Publisher(core);
const own = {
  vni: 1,
  mac: parseMac("02:00:00:00:00:01"),
  mtu: 1450,
  leases: [parsePrefix("10.0.1.0/24")],
};
const peers: Peer[] = Array.from({ length: PEERS }, (_, i) => ({
  name: `n${i}`,
  endpoint: `192.0.${2 + (i >> 8)}.${i & 255}:4789`,
  mac: `02:00:00:00:${(0x10 + (i >> 8)).toString(16)}:${(i & 255).toString(16).padStart(2, "0")}`,
  leases: [`10.${1 + (i >> 8)}.${i & 255}.0/24`],
}));
const packets = Array.from({ length: core.layout.BATCH }, (_, i) => {
  const [src, dst] = ["10.0.1.1", `10.${2 + (i % 8)}.${i}.9`];
  return ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(36)) });
});
publisher.setAddress(parseAddress("10.0.1.1"));
publisher.publish(own, peers);

const still = await batches(() => {});
let swaps = 0;
const publishing: number[] = [];
const swapped = await batches(() => {
  // One of the peers leaves and comes back.
  const before = performance.now();
  publisher.publish(own, swaps++ % 2 === 0 ? peers.slice(1) : peers);
  publishing.push(performance.now() - before);
});

console.log(`${describeMachine(machine())}; ${PEERS} peers, ${swaps} swaps in ${SECONDS} s\n`);
console.log(
  table([
    ["a batch of 64 packets, us", "batches", "p50", "p99", "p99.9", "longest"],
    row("tables left alone", still),
    row("tables swapped all the time", swapped),
  ]).join("\n"),
);
console.log(
  `\npublishing one change: ${quantile(publishing, 0.5).toFixed(1)} ms of the main thread (median)`,
);

async function batches(meanwhile: () => void): Promise<Float64Array> {
  const { module, memory } = core;
  const worker = new Worker(new URL("swap-worker.mjs", import.meta.url), {
    workerData: { module, memory, packets, seconds: SECONDS },
  });
  const answer = once(worker, "message") as Promise<[Batches]>;
  let done = false;
  void answer.then(() => {
    done = true;
  });
  while (!done) {
    await sleep(SWAP_EVERY_MS);
    if (!done) meanwhile();
  }
  const [{ microseconds }] = await answer;
  await worker.terminate();
  return microseconds;
}

function row(name: string, microseconds: Float64Array): string[] {
  const sorted = microseconds.toSorted();
  const at = (q: number) => sorted[Math.floor((sorted.length - 1) * q)]!.toFixed(1);
  return [name, `${sorted.length}`, at(0.5), at(0.99), at(0.999), at(1)];
}
