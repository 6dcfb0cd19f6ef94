/**
 * The cost of translation: packets of 64 bytes of known connections, translated and not; packets that
 * open translated connections; the choice of a backend alone.
 */
import { parseAddress, parseMac, parsePrefix } from "../src/address.js";
import { type NatRules, NO_NAT, type ServiceRule } from "../src/compile/nat-rules.js";
import { readFlows } from "../src/core/flows.js";
import { Core } from "../src/core/instance.js";
import { Publisher } from "../src/core/publish.js";
import { ipv4, UDP, udp } from "../test/packets.js";
import { nanoseconds } from "./nanoseconds.js";

const OURS = "10.0.1.5";
const FOREIGN = "192.168.1.5";
const SERVICES = 1000;
const BACKENDS = 100;
const PORT = 53;
/** Bytes of a packet, and of a question of `chooseBackends`. */
const SIZE = 64;
const QUESTION = 32;
/** Milliseconds. */
const BETWEEN_BATCHES = 5000;

interface NatRow {
  readonly work: string;
  readonly bytes: number;
  readonly ns: number;
  readonly spread: string;
}

let clock = 0;
const core = await Core.create();
const { layout, view, exports, bytes } = core;
const publisher = new Publisher(core);
const own = {
  vni: 1,
  mac: parseMac("02:00:00:00:00:01"),
  mtu: 1450,
  leases: [parsePrefix("10.0.1.0/24")],
};
const PEER = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.0.2.0/24"],
};

const service = (i: number): ServiceRule => ({
  name: `s${i}`,
  isPort: false,
  protocol: UDP,
  address: parseAddress(`10.96.${i >> 8}.${i & 255}`),
  port: PORT,
  backends: Array.from({ length: BACKENDS }, (_, k) => ({
    address: parseAddress(`10.0.2.${1 + k}`),
    port: 5300 + (i & 255),
    weight: 1,
    isActive: true,
  })),
  byClient: false,
  affinityMs: 0,
});

const RULES: NatRules = {
  ...NO_NAT,
  services: Array.from({ length: SERVICES }, (_, i) => service(i)),
  sources: [
    {
      from: parsePrefix("192.168.0.0/16"),
      to: parsePrefix("10.0.0.0/16"),
      addresses: parsePrefix("10.0.1.128/25"),
      ports: undefined,
    },
  ],
  perSource: 0xffffffff,
};

export function natRows(): NatRow[] {
  publisher.setAddress(parseAddress("10.0.1.1"));
  publisher.publish(own, [PEER]);
  const rows = [known("no rules", OURS, (i) => `10.0.2.${1 + i}`)];
  publisher.publish(own, [PEER], undefined, RULES);
  rows.push(
    known("rules, not translated", OURS, (i) => `10.0.2.${1 + i}`),
    known("to a service", OURS, (i) => `10.96.0.${i}`),
    known("masqueraded", FOREIGN, (i) => `10.0.2.${1 + i}`),
    opening("new flow, not translated", OURS, "10.0.2.9"),
    opening("new flow to a service", OURS, "10.96.0.9"),
    opening("new flow, masqueraded", FOREIGN, "10.0.2.9"),
    choice(),
  );
  return rows;
}

function known(how: string, src: string, dst: (i: number) => string): NatRow {
  const restore = fill(src, dst);
  restore();
  runOut();
  const row = measure(`UDP out, ${how}`, restore);
  expectFlows(src);
  return row;
}

/** Each packet is from a port that none of the last 65,536 had; flows and mappings expire meanwhile. */
function opening(work: string, src: string, dst: string): NatRow {
  const restore = fill(src, () => dst);
  let next = 0;
  const row = measure(work, () => {
    restore();
    clock += BETWEEN_BATCHES;
    core.setClock(clock);
    for (let i = 0; i < layout.BATCH; i++) view.setUint16(slot(i) + 20, 1024 + (next++ % 64512));
  });
  expectDelivered();
  return row;
}

/** A question is an address of 16 bytes, ports, kind. */
function choice(): NatRow {
  const count = 4096;
  const at = layout.SLOTS;
  for (let i = 0; i < count; i++) {
    const question = at + i * QUESTION;
    const number = (i * 7919) % SERVICES;
    bytes.fill(0, question, question + QUESTION);
    bytes.set([10, 96, number >> 8, number & 255], question);
    bytes.set([10, 0, 1, i & 255], question + 16);
    view.setUint32(question + 20, (i * 40503) >>> 0, true);
  }
  const { median, spread } = nanoseconds(() => exports.chooseBackends(at, count, UDP, PORT));
  return {
    work: `choice of a backend, ${SERVICES} services of ${BACKENDS}`,
    bytes: 0,
    ns: Number((median / count).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

function fill(src: string, dst: (i: number) => string): () => void {
  const packets = Array.from({ length: layout.BATCH }, (_, i) => {
    const data = new Uint8Array(SIZE - 28);
    const payload = udp(src, dst(i), data, { sport: 40_000, dport: PORT });
    return ipv4({ src, dst: dst(i), protocol: UDP, payload });
  });
  for (let i = 0; i < layout.BATCH; i++) {
    view.setUint32(layout.LENGTHS + 4 * i, layout.VIRTIO_SIZE + SIZE, true);
  }
  return () => {
    for (let i = 0; i < layout.BATCH; i++) {
      bytes.fill(0, slot(i) - layout.VIRTIO_SIZE, slot(i));
      bytes.set(packets[i]!, slot(i));
    }
  };
}

function expectFlows(src: string): void {
  const flows = readFlows(core, (number) => number).filter((flow) => flow.src === src);
  if (flows.length < layout.BATCH) throw new Error(`${flows.length} flows of ${src}`);
}

function expectDelivered(): void {
  const counters = layout.COUNTERS + layout.OUT * layout.COUNTERS_SIZE;
  const received = view.getBigUint64(counters + layout.COUNTER_RECEIVED, true);
  const delivered = view.getBigUint64(counters + layout.COUNTER_DELIVERED, true);
  // With so many new mappings some find both their sets full of others.
  if (delivered * 100n < received * 99n) {
    throw new Error(`only ${delivered} of ${received} packets passed`);
  }
}

function runOut(): void {
  exports.outbound(0, layout.BATCH);
  exports.finishBatch(layout.OUT);
}

/** The time for restoring between two runs is measured too, and subtracted. */
function measure(work: string, restore: () => void): NatRow {
  const own = nanoseconds(restore).median;
  const { median, spread } = nanoseconds(() => {
    restore();
    runOut();
  });
  return {
    work,
    bytes: SIZE,
    ns: Number(((median - own) / layout.BATCH).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

function slot(i: number): number {
  return layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM;
}
