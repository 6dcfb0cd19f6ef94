/**
 * The cost of one packet in the core alone: nanoseconds, beside memory.copy of the same bytes. The
 * numbers include no system call.
 *
 *     npm run bench              a table, kept in bench/results/core.md and core.json
 *     npm run bench -- -o json   the same as JSON
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseAddress, parseEndpoint, parseMac, parsePrefix } from "../src/address.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  cmsgSpace,
  IP_TOS,
  IPPROTO_IP,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_LEN,
  MMSGHDR_SIZE,
  SOL_UDP,
  UDP_GRO,
} from "../src/linux.js";
import { writeSockaddr } from "../src/sockaddr.js";
import { ipv4, TCP, tcp, UDP, udp, vxlan } from "../test/packets.js";
import { aclRows } from "./acl.js";
import { captureRows } from "./capture.js";
import { flowRows } from "./flows.js";
import { lpmRows } from "./lpm.js";
import { describeMachine, machine } from "./machine.js";
import { inWords, nanoseconds } from "./nanoseconds.js";
import { natRows } from "./nat.js";
import { table } from "./table.js";

const PEERS = 1000;
const SIZES = [64, 512, 1400];
const VIRTIO_TCPV4 = 1;
/** A TCP super-packet as the kernel returns it: 64 KiB less the bytes that fill no segment. */
const MSS = 1398;
/** Bytes of each control message. */
const CMSG_SPACE = cmsgSpace(4);
const SEGMENTS = 44;

interface Row {
  readonly work: string;
  readonly bytes: number;
  /** Nanoseconds per packet: the median of the samples, and their spread. */
  readonly ns: number;
  readonly spread: string;
}

const { values: given } = parseArgs({
  options: { output: { type: "string", short: "o", default: "table" } },
});
const core = await Core.create();
const { layout, view, exports, bytes } = core;
const rows: Row[] = [];

publishPeers();
for (const size of SIZES) {
  progress(`packets of ${size} bytes`);
  fillDevice(size);
  exports.outbound(0, layout.BATCH);
  measure("encap", size, layout.BATCH, () => exports.encapAll(layout.BATCH));
  exports.finishBatch(layout.OUT);

  fillWire(size);
  exports.inbound(0, layout.BATCH);
  exports.finishBatch(layout.IN);
  const restoreDatagrams = fillWire(size);
  restoreDatagrams();
  measure("decap", size, layout.BATCH, () => exports.decapAll(layout.BATCH));

  const restorePackets = fillDevice(size);
  measure("whole way out", size, layout.BATCH, runOut, restorePackets);
  const restore = fillWire(size);
  measure("whole way in", size, layout.BATCH, runIn, restore);
  measure("checksum", size, 1, () => exports.sum(slot(0), size));
  measure("memory.copy", size, layout.BATCH, () => copyBatch(size));
}
mustAllPass(layout.OUT);
mustAllPass(layout.IN);

progress("64 KiB at once");
const whole = 40 + SEGMENTS * MSS;
measure("segment", whole, 1, runSuperPacket, fillSuperPacket());
measure("coalesce", whole, 1, runGsoBatch, fillGsoBatch());
measure("memory.copy", whole, 1, () => exports.copy(slot(1), slot(0), whole));

progress("flows");
rows.push(...flowRows());

progress("translation");
rows.push(...natRows());

progress("captures");
rows.push(...captureRows());

progress("access lists");
rows.push(...(await aclRows()));

progress("a full table of routes");
rows.push(...lpmRows());

report();

// ------------------------------------------------------------------- the work

function runOut(): void {
  exports.outbound(0, layout.BATCH);
  exports.finishBatch(layout.OUT);
}

function runIn(): void {
  exports.inbound(0, layout.BATCH);
  exports.finishBatch(layout.IN);
}

function runSuperPacket(): void {
  exports.outbound(0, 1);
  exports.finishBatch(layout.OUT);
}

function runGsoBatch(): void {
  exports.inbound(0, 1);
  exports.finishBatch(layout.IN);
}

/** Copies each packet to another address: the cost of moving its bytes alone. */
function copyBatch(size: number): void {
  for (let i = 0; i < layout.BATCH; i++) {
    exports.copy(slot((i + 1) % layout.BATCH) + 32768, slot(i), size);
  }
}

// ---------------------------------------------------------------- the input

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
      endpoint: endpointOf(i),
      mac: `02:00:00:00:${(0x10 + (i >> 8)).toString(16)}:${(i & 255).toString(16).padStart(2, "0")}`,
      leases: [`10.${1 + (i >> 8)}.${i & 255}.0/24`],
    })),
  );
  exports.prepareReceive();
  const can = layout.CAN_GSO | layout.CAN_COALESCE_TCP | layout.CAN_COALESCE_UDP;
  view.setUint32(layout.OFFLOADS, can, true);
}

/** Packets from the device. Returns a function that restores the few bytes that the way out changes. */
function fillDevice(size: number): () => void {
  for (let i = 0; i < layout.BATCH; i++) {
    bytes.fill(0, slot(i) - layout.VIRTIO_SIZE, slot(i));
    bytes.set(packet("10.0.1.1", peerHost(i), size), slot(i));
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + size, true);
  }
  const ttlAndChecksum = Array.from({ length: layout.BATCH }, (_, i) =>
    view.getUint32(slot(i) + 8, true),
  );
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      view.setFloat64(slot(i) - layout.VIRTIO_SIZE, 0);
      view.setUint16(slot(i) - 2, 0);
      view.setUint32(slot(i) + 8, ttlAndChecksum[i]!, true);
    }
  };
}

/** Datagrams from all peers. Returns a function that restores the EtherType that the way in overwrites. */
function fillWire(size: number): () => void {
  for (let i = 0; i < layout.BATCH; i++) {
    bytes.set(vxlan(packet(peerHost(i), "10.0.1.1", size)), slot(i) - layout.ENCAP_SIZE);
    receive(i, layout.ENCAP_SIZE + size, peerOf(i));
  }
  return () => {
    for (let i = 0; i < layout.BATCH; i++) view.setUint16(slot(i) - 2, 0x0800);
  };
}

/** Writes message `i` as recvmmsg does; `size` is that of the datagrams that the kernel gathered. */
function receive(i: number, length: number, peer: number, size = 0): void {
  const message = layout.RECEIVE + i * MMSGHDR_SIZE;
  const name = layout.RECEIVE_NAMES + i * layout.NAME_SIZE;
  view.setUint32(message + MMSGHDR_LEN, length, true);
  const isGsoBatch = size > 0;
  if (isGsoBatch) tell(i, 0, { level: SOL_UDP, type: UDP_GRO, bytes: 4, data: size });
  tell(i, isGsoBatch ? 1 : 0, { level: IPPROTO_IP, type: IP_TOS, bytes: 1, data: 0 });
  const controls = BigInt((isGsoBatch ? 2 : 1) * CMSG_SPACE);
  view.setBigUint64(message + MMSGHDR_CONTROLLEN, controls, true);
  writeSockaddr(new DataView(view.buffer, name), parseEndpoint(endpointOf(peer)));
}

/** Writes a control message: UDP_GRO or IP_TOS. */
function tell(
  i: number,
  place: number,
  { level, type, bytes, data }: Record<"level" | "type" | "bytes" | "data", number>,
): void {
  const control = layout.RECEIVE_CONTROLS + i * layout.CMSG_ROOM + place * CMSG_SPACE;
  view.setBigUint64(control, BigInt(CMSG_DATA + bytes), true);
  view.setUint32(control + CMSG_LEVEL, level, true);
  view.setUint32(control + CMSG_TYPE, type, true);
  view.setUint32(control + CMSG_DATA, data, true);
}

function endpointOf(peer: number): string {
  return `192.0.${2 + (peer >> 8)}.${peer & 255}:4789`;
}

/** One TCP super-packet. */
function fillSuperPacket(): () => void {
  const data = new Uint8Array(SEGMENTS * MSS);
  const dst = peerHost(0);
  const super_ = ipv4({ src: "10.0.1.1", dst, protocol: TCP, payload: tcp("10.0.1.1", dst, data) });
  bytes.set(super_, slot(0));
  view.setUint32(layout.LENGTHS, layout.VIRTIO_SIZE + super_.length, true);
  const header = slot(0) - layout.VIRTIO_SIZE;
  const ttlAndChecksum = view.getUint32(slot(0) + 8, true);
  return () => {
    view.setUint8(header, 1);
    view.setUint8(header + 1, VIRTIO_TCPV4);
    view.setUint16(header + 4, MSS, true);
    view.setUint32(slot(0) + 8, ttlAndChecksum, true);
  };
}

/** The same as a GSO batch of datagrams. Returns a function that restores the head with its headers. */
function fillGsoBatch(): () => void {
  const src = peerHost(0);
  const parts = Array.from({ length: SEGMENTS }, (_, i) => {
    const segment = tcp(src, "10.0.1.1", new Uint8Array(MSS), { sequence: i * MSS });
    return vxlan(ipv4({ src, dst: "10.0.1.1", protocol: TCP, payload: segment }));
  });
  const gsoBatch = Buffer.concat(parts);
  const start = slot(0) - layout.ENCAP_SIZE;
  const size = parts[0]!.length;
  bytes.set(gsoBatch, start);
  return () => {
    receive(0, gsoBatch.length, peerOf(0), size);
    bytes.set(gsoBatch.subarray(0, 64), start);
    for (let i = 1; i < SEGMENTS; i++) view.setUint16(start + i * size + 20, 0x0800);
  };
}

function slot(i: number): number {
  return layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
}

function peerOf(i: number): number {
  return (i * 149) % PEERS;
}

function peerHost(i: number): string {
  return `10.${1 + (peerOf(i) >> 8)}.${peerOf(i) & 255}.9`;
}

function packet(src: string, dst: string, size: number): Uint8Array {
  return ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(size - 28)) });
}

// -------------------------------------------------------------------- measuring

/** The time for restoring between two runs is measured too, and subtracted. */
function measure(
  work: string,
  size: number,
  packets: number,
  run: () => void,
  upkeep?: () => void,
) {
  const own = upkeep ? nanoseconds(upkeep).median : 0;
  const { median, spread } = nanoseconds(() => {
    upkeep?.();
    run();
  });
  rows.push({
    work,
    bytes: size,
    ns: Number(((median - own) / packets).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  });
}

/** Throws if packets were dropped: that would be fast. */
function mustAllPass(direction: number): void {
  const at = layout.COUNTERS + direction * layout.COUNTERS_SIZE;
  const received = view.getBigUint64(at + layout.COUNTER_RECEIVED, true);
  const delivered = view.getBigUint64(at + layout.COUNTER_DELIVERED, true);
  if (received === 0n || received !== delivered) {
    throw new Error(`only ${delivered} of ${received} packets passed`);
  }
}

function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

function report(): void {
  const about = machine();
  const result = { date: new Date().toISOString(), ...about, peers: PEERS, rows };
  const json = `${JSON.stringify(result, null, 2)}\n`;
  const page = [
    "# The core alone",
    "",
    "Made by `npm run bench`; do not edit. Nanoseconds for one packet or lookup, median of the",
    `samples; ${PEERS} peers, batches of ${layout.BATCH}. No system call is in these numbers.`,
    "",
    `- ${result.date.slice(0, 10)}, ${describeMachine(about)}`,
    "",
    ...table([
      ["work", "bytes", "ns", "spread"],
      ...rows.map((row) => [row.work, `${row.bytes || ""}`, inWords(row.ns), row.spread]),
    ]),
    "",
  ].join("\n");
  mkdirSync(new URL("results/", import.meta.url), { recursive: true });
  writeFileSync(new URL("results/core.json", import.meta.url), json);
  writeFileSync(new URL("results/core.md", import.meta.url), page);
  process.stdout.write(given.output === "json" ? json : page);
}
