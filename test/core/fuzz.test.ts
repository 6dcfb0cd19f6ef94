/**
 * A million hostile packets through the very batches the agent runs. Nothing
 * may trap, nothing outside the buffers may change, and every packet must end
 * in exactly one counter.
 */
import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { parseAddress, parseMac, parsePrefix } from "../../src/address.js";
import { readCounters } from "../../src/core/counters.js";
import { Core } from "../../src/core/instance.js";
import { Publisher } from "../../src/core/publish.js";
import { reasonNames } from "../../src/core/reasons.js";
import { echo, ICMP, ipv4, random, seedOfRun, TCP, tcp, UDP, udp, vxlan } from "../packets.js";

const PACKETS_EACH_WAY = Number(process.env.WEFT_FUZZ_PACKETS ?? 1_000_000);
const GUARD_BYTE = 0xa5;

const seed = seedOfRun("fuzz");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;

const OURS = ["10.244.1.1", "10.244.1.77"];
const THEIRS = ["10.244.2.1", "10.244.3.200", "10.244.2.255"];
const ODD = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.244.9.9", "192.0.2.1"];
const address = (likely: readonly string[]) => (rnd() < 0.9 ? pick(likely) : pick(ODD));

/** A sound packet, most of the time soon to be made unsound. */
function packet(from: readonly string[], to: readonly string[]): Uint8Array {
  const src = address(from);
  const dst = address(to);
  const data = new Uint8Array(rnd() < 0.05 ? below(9000) : below(200));
  const partial = rnd() < 0.3;
  const [protocol, payload] = pick<() => [number, Uint8Array]>([
    () => [UDP, udp(src, dst, data, { partial })],
    () => [TCP, tcp(src, dst, data, { partial })],
    () => [ICMP, echo(data, { type: pick([0, 3, 8, 11]) })],
    () => [below(256), data],
  ])();
  const options = new Uint8Array(rnd() < 0.2 ? below(11) * 4 : 0).map(() =>
    pick([0, 1, 7, 0x83, below(256)]),
  );
  return ipv4({
    src,
    dst,
    protocol,
    payload,
    options,
    ttl: pick([0, 1, 2, 64, 255]),
    df: rnd() < 0.3,
    mf: rnd() < 0.1,
    offset: rnd() < 0.1 ? below(8192) : 0,
  });
}

/** Bits flipped, bytes cut off or added. */
function damage(bytes: Uint8Array): Uint8Array {
  if (rnd() < 0.4) return bytes;
  let damaged = Uint8Array.from(bytes);
  for (let i = below(4); i >= 0 && damaged.length > 0; i--) {
    const reach = rnd() < 0.8 ? Math.min(damaged.length, 64) : damaged.length;
    damaged[below(reach)] = pick([0, 0xff, below(256)]);
  }
  if (rnd() < 0.3) damaged = damaged.slice(0, below(damaged.length + 1));
  if (rnd() < 0.1) damaged = Uint8Array.from([...damaged, ...new Uint8Array(below(32))]);
  return damaged;
}

/** Making packets costs far more than running them: a stock of them, each run often and changed a bit. */
const STOCK = 4096;

describe("fuzz", () => {
  let core: Core;
  let guards: [number, number][];

  beforeAll(async () => {
    core = await Core.create();
    const { layout } = core;
    guards = [
      layout.GUARD_0,
      layout.GUARD_1,
      layout.GUARD_2,
      layout.GUARD_3,
      layout.GUARD_4,
      layout.GUARD_5,
      layout.GUARD_6,
    ].map((at) => [at, at + layout.GUARD_SIZE]);
    guards.push([layout.END, layout.END + layout.GUARD_SIZE], [0, layout.CONTROL]);
    const publisher = new Publisher(core);
    publisher.setAddress(parseAddress("10.244.1.1"));
    publisher.publish(
      {
        vni: 1,
        mac: parseMac("02:00:00:00:00:01"),
        mtu: 1450,
        leases: [parsePrefix("10.244.1.0/24")],
      },
      [
        {
          name: "b",
          endpoint: "192.0.2.2:4789",
          mac: "02:00:00:00:00:02",
          leases: ["10.244.2.0/24"],
        },
        {
          name: "c",
          endpoint: "192.0.2.3:4789",
          mac: "02:00:00:00:00:03",
          leases: ["10.244.3.0/24"],
        },
      ],
    );
    core.exports.prepareReceive();
    for (const [from, to] of guards) core.bytes.fill(GUARD_BYTE, from, to);
  });

  const guardsHold = () =>
    guards.every(([from, to]) =>
      core.bytes.subarray(from, to).every((byte) => byte === GUARD_BYTE),
    );
  const untouched = () => {
    const { TABLES, COPY_SIZE } = core.layout;
    return createHash("sha256")
      .update(core.bytes.slice(TABLES, TABLES + 2 * COPY_SIZE))
      .digest("hex");
  };

  /** The room of a slot that a packet of `length` bytes at `start` may never write into. */
  function slotHolds(i: number, start: number, length: number): boolean {
    const { layout, bytes } = core;
    const slot = layout.SLOTS + i * layout.SLOT_SIZE;
    const before = bytes.subarray(
      slot,
      Math.min(start, slot + layout.HEADROOM - layout.ENCAP_SIZE),
    );
    const after = bytes.subarray(start + length, start + length + 64);
    return before.every((b) => b === GUARD_BYTE) && after.every((b) => b === GUARD_BYTE);
  }

  function fillSlot(i: number, start: number, bytes: Uint8Array): void {
    const slot = core.layout.SLOTS + i * core.layout.SLOT_SIZE;
    core.bytes.fill(GUARD_BYTE, slot, start);
    core.bytes.set(bytes, start);
    core.bytes.fill(GUARD_BYTE, start + bytes.length, start + bytes.length + 64);
  }

  /** Runs a batch the way the I/O loop does, failing some of what it is asked to send. */
  function run(
    direction: number,
    step: (from: number, count: number) => number,
    count: number,
  ): void {
    const { layout, view, exports } = core;
    for (let at = 0; at < count; ) {
      at = step(at, count);
      const datagrams = view.getUint32(layout.WIRE_COUNT, true);
      if (datagrams > layout.MAX_WIRE) throw new Error(`${datagrams} datagrams`);
      for (let i = 0; i < datagrams; ) {
        inMemory(layout.WIRE + i * layout.MMSGHDR_SIZE);
        i = rnd() < 0.01 ? exports.sendFailed(i, reasonNames.indexOf("send-failed")) : i + 1;
      }
      const writes = view.getUint32(layout.DEVICE_COUNT, true);
      for (let i = 0; i < writes; i++) {
        const entry = layout.DEVICE + i * layout.DEVICE_SIZE;
        exports.finishWrite(view.getUint32(entry, true), view.getUint32(entry + 4, true));
        if (rnd() < 0.01) exports.writeFailed(i, reasonNames.indexOf("device-failed"));
      }
    }
    exports.settle(direction, count);
  }

  /** What the kernel would be told to read lies in the buffers. */
  function inMemory(message: number): void {
    const { layout, view } = core;
    const iovecs = Number(view.getBigUint64(message + layout.MMSGHDR_IOV, true));
    const count = Number(view.getBigUint64(message + layout.MMSGHDR_IOVLEN, true));
    for (let i = 0; i < count; i++) {
      const start = Number(view.getBigUint64(iovecs + i * layout.IOVEC_SIZE, true));
      const length = Number(
        view.getBigUint64(iovecs + i * layout.IOVEC_SIZE + layout.IOVEC_LEN, true),
      );
      if (start < layout.WIRE || start + length > layout.END || length > 65535) {
        throw new Error(`an iovec of ${length} bytes at ${start}`);
      }
    }
  }

  function total(direction: "out" | "in"): number {
    const { delivered, answered, dropped } = readCounters(core)[direction];
    return delivered + answered + Object.values(dropped).reduce((sum, n) => sum + n, 0);
  }

  it(`from the device: ${PACKETS_EACH_WAY} packets`, { timeout: 300_000 }, () => {
    const { layout, view, exports } = core;
    const tables = untouched();
    const stock = Array.from({ length: STOCK }, () => {
      const header = new Uint8Array(layout.VIRTIO_SIZE).map(() => (rnd() < 0.5 ? 0 : below(64)));
      const bytes = damage(packet(OURS, [...THEIRS, "10.244.1.88"]));
      if (rnd() < 0.4) header.fill(0);
      else if (rnd() < 0.7) header[1] = 0;
      return Uint8Array.from([...header, ...bytes]).slice(0, rnd() < 0.01 ? below(12) : undefined);
    });
    let done = 0;
    while (done < PACKETS_EACH_WAY) {
      const count = Math.min(1 + below(layout.BATCH), PACKETS_EACH_WAY - done);
      const lengths: number[] = [];
      for (let i = 0; i < count; i++) {
        const bytes = pick(stock);
        if (bytes.length > 20)
          bytes[below(Math.min(bytes.length, 60))]! ^= rnd() < 0.05 ? 1 << below(8) : 0;
        const start = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM - layout.VIRTIO_SIZE;
        fillSlot(i, start, bytes);
        view.setUint32(layout.LENGTHS + i * 4, bytes.length, true);
        lengths.push(bytes.length);
      }
      core.setClock(done / 1000);
      run(layout.OUT, exports.outbound, count);
      for (let i = 0; i < count; i++) {
        const start = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM - layout.VIRTIO_SIZE;
        if (!slotHolds(i, start, lengths[i]!)) throw new Error(`packet ${done + i} wrote outside`);
      }
      done += count;
    }
    expect(guardsHold()).toBe(true);
    expect(untouched()).toBe(tables);
    expect(readCounters(core).out.received).toBe(PACKETS_EACH_WAY);
    expect(total("out")).toBe(PACKETS_EACH_WAY);
    reached("out", [
      "truncated",
      "not-ipv4",
      "bad-header",
      "bad-checksum",
      "martian-source",
      "martian-destination",
      "bad-offload",
      "no-route",
      "no-host",
      "ttl-exceeded",
      "too-big",
      "send-failed",
    ]);
  });

  it(`from the wire: ${PACKETS_EACH_WAY} datagrams`, { timeout: 300_000 }, () => {
    const { layout, view, exports } = core;
    const tables = untouched();
    const stock = Array.from({ length: STOCK }, () => {
      const inner = damage(packet(THEIRS, OURS));
      const whole = vxlan(inner, {
        vni: rnd() < 0.95 ? 1 : below(2 ** 24),
        flags: rnd() < 0.95 ? 8 : below(256),
        etherType: rnd() < 0.95 ? 0x0800 : below(65536),
      });
      return rnd() < 0.02 ? whole.slice(0, below(43)) : whole;
    });
    const senders = ["192.0.2.2", "192.0.2.3", "192.0.2.2", "192.0.2.3", "198.51.100.1"].map(
      (text) => Buffer.from(text.split(".").map(Number)),
    );
    let done = 0;
    while (done < PACKETS_EACH_WAY) {
      const count = Math.min(1 + below(layout.BATCH), PACKETS_EACH_WAY - done);
      const lengths: number[] = [];
      for (let i = 0; i < count; i++) {
        const bytes = pick(stock);
        if (bytes.length > 0 && rnd() < 0.05)
          bytes[below(Math.min(bytes.length, 80))]! ^= 1 << below(8);
        const start = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM - layout.ENCAP_SIZE;
        fillSlot(i, start, bytes);
        view.setUint32(
          layout.RECEIVE + i * layout.MMSGHDR_SIZE + layout.MMSGHDR_LEN,
          bytes.length,
          true,
        );
        const name = layout.RECEIVE_NAMES + i * layout.NAME_SIZE;
        view.setUint16(name, rnd() < 0.99 ? 2 : 10, true);
        core.bytes.set(pick(senders), name + layout.SOCKADDR_IPV4);
        lengths.push(bytes.length);
      }
      run(layout.IN, exports.inbound, count);
      for (let i = 0; i < count; i++) {
        const start = layout.SLOTS + i * layout.SLOT_SIZE + layout.HEADROOM - layout.ENCAP_SIZE;
        if (!slotHolds(i, start, lengths[i]!))
          throw new Error(`datagram ${done + i} wrote outside`);
      }
      done += count;
    }
    expect(guardsHold()).toBe(true);
    expect(untouched()).toBe(tables);
    expect(readCounters(core).in.received).toBe(PACKETS_EACH_WAY);
    expect(total("in")).toBe(PACKETS_EACH_WAY);
    reached("in", [
      "truncated",
      "not-ipv4",
      "bad-header",
      "bad-checksum",
      "martian-source",
      "martian-destination",
      "not-vxlan",
      "wrong-vni",
      "unknown-peer",
      "spoofed-source",
      "not-local",
      "device-failed",
    ]);
  });

  /** A fuzz that never got past the first check proves nothing: every reason was met, and some got through. */
  function reached(direction: "out" | "in", reasons: string[]): void {
    const counters = readCounters(core)[direction];
    expect(counters.delivered).toBeGreaterThan(PACKETS_EACH_WAY / 100);
    expect(Object.keys(counters.dropped)).toEqual(expect.arrayContaining(reasons));
  }
});
