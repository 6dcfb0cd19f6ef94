/**
 * What one packet costs in the core alone: nanoseconds, with memory.copy of the
 * same bytes beside it. No system call is in these numbers.
 *
 *     npm run bench            a table
 *     npm run bench -- -o json the same as JSON
 */

import { cpus } from "node:os";
import Benchmark from "benchmark";
import { parseAddress, parseMac, parsePrefix } from "../src/address.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import { ipv4, UDP, udp, vxlan } from "../test/packets.js";

const SIZES = [64, 512, 1400];
const PEERS = 1000;

interface Row {
  work: string;
  bytes: number;
  /** Nanoseconds for one packet: the median of the samples, and how far they spread around it. */
  ns: number;
  spread: string;
}

const core = await Core.create();
const { layout, view, exports, bytes } = core;
const asJson = process.argv.includes("json");

/** A thousand peers with a /24 each; packets go to and come from all of them. */
function publishPeers(): void {
  const publisher = new Publisher(core);
  const own = {
    vni: 1,
    mac: parseMac("02:00:00:00:00:01"),
    mtu: 1450,
    leases: [parsePrefix("10.0.1.0/24")],
  };
  publisher.setAddress(parseAddress("10.0.1.1"));
  publisher.publish(
    own,
    Array.from({ length: PEERS }, (_, i) => ({
      name: `n${i}`,
      endpoint: `192.0.${2 + (i >> 8)}.${i & 255}:4789`,
      mac: `02:00:00:00:${(0x10 + (i >> 8)).toString(16)}:${(i & 255).toString(16).padStart(2, "0")}`,
      leases: [lease(i, 0)],
    })),
  );
  exports.prepareReceive();
}

const lease = (i: number, host: number) =>
  host === 0 ? `10.${1 + (i >> 8)}.${i & 255}.0/24` : `10.${1 + (i >> 8)}.${i & 255}.${host}`;

/** Batches of packets as the device gives them; encap spoils them, so each run writes them anew. */
function fillOutbound(size: number): () => void {
  const packets = Array.from({ length: layout.BATCH }, (_, i) =>
    packet("10.0.1.1", peerHost(i), size),
  );
  const length = layout.VIRTIO_SIZE + size;
  for (let i = 0; i < layout.BATCH; i++) {
    const ip = slotOf(i) + layout.HEADROOM;
    bytes.fill(0, ip - layout.VIRTIO_SIZE, ip);
    bytes.set(packets[i]!, ip);
    view.setUint32(layout.LENGTHS + 4 * i, length, true);
  }
  // Only what encap changes is put back: the virtio-net header, TTL and header checksum.
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      const ip = slotOf(i) + layout.HEADROOM;
      view.setFloat64(ip - layout.VIRTIO_SIZE, 0);
      view.setUint16(ip - 2, 0);
      view.setUint32(
        ip + 8,
        packets[i]![8]! * 2 ** 24 +
          packets[i]![9]! * 2 ** 16 +
          packets[i]![10]! * 256 +
          packets[i]![11]!,
      );
    }
  };
}

/** Batches of datagrams from all peers; decap overwrites the Ethernet header, which is written anew. */
function fillInbound(size: number): () => void {
  const datagrams = Array.from({ length: layout.BATCH }, (_, i) =>
    vxlan(packet(peerHost(i), "10.0.1.1", size)),
  );
  for (let i = 0; i < layout.BATCH; i++) {
    const message = layout.RECEIVE + i * layout.MMSGHDR_SIZE;
    const name = layout.RECEIVE_NAMES + i * layout.NAME_SIZE;
    bytes.set(datagrams[i]!, slotOf(i) + layout.HEADROOM - layout.ENCAP_SIZE);
    view.setUint32(message + layout.MMSGHDR_LEN, layout.ENCAP_SIZE + size, true);
    view.setUint16(name, 2, true);
    bytes.set([192, 0, 2 + (peerOf(i) >> 8), peerOf(i) & 255], name + layout.SOCKADDR_IPV4);
  }
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      const ip = slotOf(i) + layout.HEADROOM;
      view.setUint16(ip - 2, 0x0800);
    }
  };
}

const slotOf = (i: number) => layout.SLOTS + i * layout.SLOT_SIZE;
const peerOf = (i: number) => (i * 149) % PEERS;
const peerHost = (i: number) => lease(peerOf(i), 9);

function packet(src: string, dst: string, size: number): Uint8Array {
  return ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(size - 28)) });
}

/** memory.copy of each packet to another place: what moving the bytes alone would cost. */
function copyBatch(size: number): void {
  for (let i = 0; i < layout.BATCH; i++) {
    const from = slotOf(i) + layout.HEADROOM;
    exports.copy(slotOf((i + 1) % layout.BATCH) + 32768, from, size);
  }
}

const rows: Row[] = [];

function measure(work: string, size: number, batch: () => void, upkeep?: () => void): void {
  // What the upkeep between batches costs is measured too, and taken off.
  const own = upkeep ? nanoseconds(upkeep) : { median: 0, spread: 0 };
  const whole = nanoseconds(() => {
    upkeep?.();
    batch();
  });
  rows.push({
    work,
    bytes: size,
    ns: Number(((whole.median - own.median) / layout.BATCH).toFixed(1)),
    spread: `±${((100 * whole.spread) / whole.median).toFixed(0)} %`,
  });
}

function nanoseconds(run: () => void): { median: number; spread: number } {
  const bench = new Benchmark(run, { maxTime: 0.6, minSamples: 20 });
  bench.run({ async: false });
  const sample = [...bench.stats.sample].sort((a, b) => a - b);
  const at = (q: number) => sample[Math.floor((sample.length - 1) * q)]! * 1e9;
  return { median: at(0.5), spread: (at(0.9) - at(0.1)) / 2 };
}

/** A benchmark of packets that were dropped would be a fast one. */
function mustAllPass(direction: number): void {
  const at = layout.COUNTERS + direction * layout.COUNTERS_SIZE;
  const received = view.getBigUint64(at + layout.COUNTER_RECEIVED, true);
  const delivered = view.getBigUint64(at + layout.COUNTER_DELIVERED, true);
  if (received === 0n || received !== delivered)
    throw new Error(`${delivered} of ${received} passed`);
}

publishPeers();
for (const size of SIZES) {
  if (!asJson) process.stderr.write(`measuring ${size} B ...\n`);
  measure(
    "encap",
    size,
    () => {
      exports.outbound(0, layout.BATCH);
      exports.settle(layout.OUT, layout.BATCH);
    },
    fillOutbound(size),
  );
  measure(
    "decap",
    size,
    () => {
      exports.inbound(0, layout.BATCH);
      exports.settle(layout.IN, layout.BATCH);
    },
    fillInbound(size),
  );
  measure("memory.copy", size, () => copyBatch(size));
}
mustAllPass(layout.OUT);
mustAllPass(layout.IN);

if (asJson)
  console.log(JSON.stringify({ cpu: cpus()[0]?.model, node: process.version, rows }, null, 2));
else {
  console.log(
    `core alone, ns per packet, ${PEERS} peers, batches of ${layout.BATCH} (${cpus()[0]?.model}, Node ${process.version})\n`,
  );
  console.log(`${"work".padEnd(12)} ${"bytes".padStart(6)} ${"ns".padStart(8)}  spread`);
  for (const { work, bytes: size, ns, spread } of rows) {
    console.log(
      `${work.padEnd(12)} ${String(size).padStart(6)} ${ns.toFixed(1).padStart(8)}  ${spread}`,
    );
  }
}
