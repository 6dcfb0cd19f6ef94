/**
 * A million hostile packets each way through the very batches the agent runs.
 * Nothing may trap, nothing outside the buffers may change, no byte may leave
 * that did not come or was not made for it, and every packet must end in
 * exactly one counter, and be captured once.
 */
import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { parseAddress, parseEndpoint, parsePrefix } from "../../src/address.js";
import type { NatRules } from "../../src/compile/nat-rules.js";
import { Capture } from "../../src/core/capture.js";
import { countFlows } from "../../src/core/flows.js";
import { takeControl } from "../../src/core/mailbox.js";
import {
  ANSWERABLE,
  DEVICE_BUFFER_FULL,
  DEVICE_FAILED,
  type Reason,
  reasonNames,
  SEND_BUFFER_FULL,
  SEND_FAILED,
} from "../../src/core/reasons.js";
import {
  CMSG_LEVEL,
  IOVEC_LEN,
  IOVEC_SIZE,
  MMSGHDR_CONTROLLEN,
  MMSGHDR_IOV,
  MMSGHDR_IOVLEN,
  MMSGHDR_SIZE,
} from "../../src/linux.js";
import { writeSockaddr } from "../../src/sockaddr.js";
import {
  authentication,
  type Extension,
  echo,
  echo6,
  fragmentHeader,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  optionsHeader,
  partsOf,
  random,
  routingHeader,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { rounds } from "../rounds.js";
import { AclHost } from "./acl-host.js";
import { expectSoundFlows } from "./flow-invariant.js";
import { B, C, GSO, type Host, NEEDS_CSUM, type Received, read } from "./host.js";

const PACKETS_EACH_WAY = rounds(250_000, 2_000_000);
const GUARD_BYTE = 0xa5;
/** Bytes behind each packet that are looked at after every batch; the rest of its slot at the end. */
const BEHIND = 64;
const PATTERN = Buffer.alloc(BEHIND, GUARD_BYTE);

const seed = seedOfRun("fuzz");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;

type Family = 4 | 6;
const OURS = { 4: ["10.244.1.1", "10.244.1.77"], 6: ["fd00:0:0:1::1", "fd00:0:0:1::77"] };
const THEIRS = {
  4: ["10.244.2.1", "10.244.3.200", "10.244.2.255"],
  6: ["fd00:0:0:2::1", "fd00:0:0:3::200", "fd00:0:0:2:ffff::"],
};
const ODD = {
  4: ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.244.9.9", "192.0.2.1"],
  6: ["::", "::1", "fe80::1", "ff02::1", "::ffff:a0a:a0a", "fd00:0:0:9::9", "2001:db8::1"],
};
const address = (likely: readonly string[], family: Family) =>
  rnd() < 0.95 ? pick(likely) : pick(ODD[family]);

const MSS = [2, 4, 0xff, 0xff];
const words = (most: number, kinds: readonly number[]) =>
  Uint8Array.from({ length: below(most + 1) * 4 }, () => pick([...kinds, below(256)]));

function tcpOptions(): Uint8Array {
  if (rnd() < 0.5) return new Uint8Array(0);
  return rnd() < 0.5 ? Uint8Array.from([...MSS, 1, 1, 1, 1]) : words(10, [0, 1, 2, 3, 4]);
}

/** A sound packet, most of the time soon to be made unsound. */
function packet(
  from: typeof OURS,
  to: typeof OURS,
  size = rnd() < 0.05 ? below(9000) : below(200),
): Uint8Array {
  const family = rnd() < 0.5 ? 4 : 6;
  const src = address(from[family], family);
  const dst = address(to[family], family);
  const data = new Uint8Array(size);
  const partial = rnd() < 0.3;
  const flags = pick([0x10, 0x18, 2, below(256)]);
  const [protocol, payload] = pick<() => [number, Uint8Array]>([
    () => [UDP, udp(src, dst, data, { partial, sum: rnd() < 0.9 })],
    () => [TCP, tcp(src, dst, data, { partial, flags, options: tcpOptions() })],
    () =>
      family === 4
        ? [ICMP, echo(data, { type: pick([0, 3, 8, 11]) })]
        : [ICMPV6, echo6(src, dst, data, { type: pick([1, 3, 128, 137]) })],
    () => [below(256), data],
  ])();
  const hops = pick([0, 1, 2, 64, 64, 64, 255]);
  const tos = pick([0, 0, 1, 2, 3, below(256)]);
  if (family === 6) {
    const extensions = rnd() < 0.4 ? Array.from({ length: below(11) }, extension) : [];
    return ipv6({ src, dst, protocol, payload, trafficClass: tos, hopLimit: hops, extensions });
  }
  return ipv4({
    src,
    dst,
    protocol,
    payload,
    options: rnd() < 0.2 ? words(10, [0, 1, 1, 1, 7, 0x83, 0x89]) : new Uint8Array(0),
    tos,
    ttl: hops,
    df: rnd() < 0.3,
    mf: rnd() < 0.1,
    offset: rnd() < 0.1 ? below(8192) : 0,
  });
}

const extension = (): Extension =>
  pick<() => Extension>([
    () => optionsHeader(pick([0, 43, 60]), below(3)),
    () => authentication(below(4)),
    () => routingHeader(pick([0, 2, 4]), below(3)),
    () => fragmentHeader(rnd() < 0.5 ? 0 : below(8192), rnd() < 0.5),
  ])();

/** Bits flipped, bytes cut off or added. */
function damage(bytes: Uint8Array): Uint8Array {
  if (rnd() < 0.5) return bytes;
  let damaged = Uint8Array.from(bytes);
  for (let i = below(4); i >= 0 && damaged.length > 0; i--) {
    const reach = rnd() < 0.8 ? Math.min(damaged.length, 80) : damaged.length;
    damaged[below(reach)] = pick([0, 0xff, below(256)]);
  }
  if (rnd() < 0.3) damaged = damaged.slice(0, below(damaged.length + 1));
  if (rnd() < 0.1) damaged = Uint8Array.from([...damaged, ...new Uint8Array(below(32))]);
  return damaged;
}

/** What the device says of a packet: the truth, or something near it, or anything. */
function fromDevice(): Uint8Array {
  const isLarge = rnd() < 0.04;
  const bytes = packet(
    OURS,
    { 4: [...THEIRS[4], "10.244.1.88"], 6: [...THEIRS[6], "fd00:0:0:1::88"] },
    isLarge ? below(rnd() < 0.1 ? 65400 : 9000) : undefined,
  );
  const { isIPv4, transport, protocol } = partsOf(bytes);
  const tcpType = isIPv4 ? GSO.TCPV4 : GSO.TCPV6;
  const truth = {
    flags: NEEDS_CSUM,
    gsoType: isLarge ? (protocol === TCP ? tcpType : GSO.UDP_L4) : GSO.NONE,
    gsoSize: isLarge ? pick([64, 100, 536, 1300, 1400]) : 0,
    start: transport,
    offset: protocol === TCP ? 16 : 6,
  };
  if (rnd() < 0.2) truth.gsoType = pick([0, 1, 3, 4, 5, 0x80, 0x81, 0x84, below(256)]);
  if (rnd() < 0.2) truth.gsoSize = pick([0, 1, 7, 1410, 65535, below(65536)]);
  if (rnd() < 0.2) truth.start = pick([0, transport + 1, bytes.length, 65535, below(65536)]);
  if (rnd() < 0.2) truth.offset = pick([0, 1, bytes.length, 65535, below(65536)]);
  if (!isLarge && rnd() < 0.6) return read(damage(bytes));
  return read(damage(bytes), truth).slice(0, rnd() < 0.01 ? below(12) : undefined);
}

const SENDERS = [B.endpoint, C.endpoint, "198.51.100.1:4789", "[2001:db8::99]:4789"];

/** Ours, or another peer's, to be relayed. */
const destinations = () => (rnd() < 0.7 ? OURS : THEIRS);

/** What the mesh sends beside the packets, or something near it. */
function controlDatagram(): Received {
  const bytes = new Uint8Array(pick([4, 7, 8, 9, 100, 511, 512, 513]));
  bytes.set(Buffer.from("weft"));
  return { from: pick(SENDERS), bytes };
}

/** One datagram, sound or not. */
function datagram(): Received {
  const to = destinations();
  // Some that the next way may not take.
  const size = to === THEIRS && rnd() < 0.2 ? 1350 + below(200) : undefined;
  const inner = damage(packet(THEIRS, to, size));
  const whole = vxlan(inner.length > 0 ? inner : new Uint8Array(1), {
    vni: rnd() < 0.97 ? 1 : below(2 ** 24),
    flags: rnd() < 0.97 ? 8 : below(256),
    ...(rnd() < 0.97 ? {} : { etherType: below(65536) }),
  });
  return { from: senderOf(inner), bytes: rnd() < 0.02 ? whole.slice(0, below(43)) : whole };
}

/** Most of the time the peer that such a packet comes from. */
function senderOf(inner: Uint8Array): string {
  if (rnd() < 0.1) return pick(SENDERS);
  const third = inner[0]! >> 4 === 4 ? inner[14] : inner[15];
  return third === 3 ? C.endpoint : B.endpoint;
}

/** Datagrams of a stream as the kernel gathers them, with a size that may be a lie. */
function gsoBatch(): Received {
  const family = rnd() < 0.5 ? 4 : 6;
  const [src, dst] = [pick(THEIRS[family]), pick(destinations()[family])];
  const data = new Uint8Array(pick([1, 10, 100, 100, 1000]));
  const isTcp = rnd() < 0.6;
  const sport = below(4);
  let sequence = below(2 ** 32);
  const datagrams = Array.from({ length: 1 + below(70) }, () => {
    const payload = isTcp
      ? tcp(src, dst, data, { sport, sequence, partial: rnd() < 0.3 })
      : udp(src, dst, data, { sport, partial: rnd() < 0.3 });
    sequence = (sequence + data.length) % 2 ** 32;
    const protocol = isTcp ? TCP : UDP;
    const inner = (family === 4 ? ipv4 : ipv6)({ src, dst, protocol, payload });
    if (rnd() < 0.03) inner[below(inner.length)]! ^= 1 << below(8);
    return vxlan(inner);
  });
  const room = Math.max(1, Math.floor(65000 / datagrams[0]!.length));
  const whole = Buffer.concat(datagrams.slice(0, room));
  const bytes = new Uint8Array(whole.subarray(0, whole.length - (rnd() < 0.3 ? below(60) : 0)));
  const from = senderOf(datagrams[0]!.subarray(22));
  if (rnd() < 0.8) return { from, bytes, size: datagrams[0]!.length };
  const lies = [0, 1, 21, 22, 23, 1000, bytes.length, bytes.length + 1, 2 ** 31, 2 ** 32 - 1];
  return { from, bytes, size: pick([...lies, below(70000)]) };
}

/** One datagram around a UDP super-packet, as a Linux peer without offloads in its way sends it. */
function superPacket(): Received {
  const family = rnd() < 0.5 ? 4 : 6;
  const [src, dst] = [pick(THEIRS[family]), pick(destinations()[family])];
  const payload = udp(src, dst, new Uint8Array(1 + below(9000)), { partial: rnd() < 0.7 });
  const inner = (family === 4 ? ipv4 : ipv6)({ src, dst, protocol: UDP, payload });
  return { from: senderOf(inner), bytes: vxlan(inner), size: pick([1, 100, 536, 1400]) };
}

const familyOf = (family: Family) => {
  const a = (four: string, six: string) => (family === 4 ? four : six);
  const backend = (address: string, port: number) => ({
    address: parseAddress(address),
    port,
    weight: 1,
    isActive: true,
  });
  const any = parsePrefix(a("0.0.0.0/0", "::/0"));
  return {
    services: [TCP, UDP].flatMap((protocol) => [
      {
        name: `far ${protocol}`,
        isPort: false,
        protocol,
        address: parseAddress(THEIRS[family][1]!),
        port: 2000,
        backends: [backend(THEIRS[family][0]!, 2001), backend(OURS[family][1]!, 2000)],
        byClient: protocol === TCP,
        affinityMs: 0,
      },
      {
        name: `port ${protocol}`,
        isPort: true,
        protocol,
        address: parseAddress(OURS[family][1]!),
        port: 2000,
        backends: [backend(a("10.244.3.1", "fd00:0:0:3::1"), 80)],
        byClient: false,
        affinityMs: 0,
      },
    ]),
    netmaps: [
      {
        inside: parsePrefix(a("10.77.0.88/32", "fd77::88/128")),
        overlay: parsePrefix(a("10.244.1.88/32", "fd00:0:0:1::88/128")),
      },
    ],
    egress: [
      {
        from: parsePrefix(a("10.244.0.0/16", "fd00::/48")),
        to: parsePrefix(a("10.244.9.0/24", "fd00:0:0:9::/64")),
        via: { self: true as const },
        address: parseAddress(a("192.0.2.250", "2001:db8::250")),
      },
    ],
    sources: [
      {
        from: parsePrefix(a("10.244.1.77/32", "fd00:0:0:1::77/128")),
        to: any,
        addresses: parsePrefix(a("10.244.1.128/28", "fd00:0:0:1::80/124")),
        ports: undefined,
      },
    ],
  };
};
/** Some of each kind. */
const TRANSLATION: NatRules = [familyOf(4), familyOf(6)].reduce<NatRules>(
  (all, one) => ({
    services: [...all.services, ...one.services],
    netmaps: [...all.netmaps, ...one.netmaps],
    egress: [...all.egress, ...one.egress],
    sources: [...all.sources, ...one.sources],
    perSource: all.perSource,
  }),
  { services: [], netmaps: [], egress: [], sources: [], perSource: 100 },
);

/** Making packets costs far more than running them: a stock of them, each run often and changed a bit. */
/** A table so small that flows drive each other out. */
const FLOWS = 1024;
/** How often the rules change meanwhile. */
const RULES_CHANGE = 0.0002;
const STOCK = 4096;
const GSO_BATCHES = 256;

describe.each([
  ["without translation", undefined],
  ["with translation", TRANSLATION],
])("fuzz %s", (_, nat) => {
  let policed: AclHost;
  let host: Host;
  let memory: Buffer;
  let guards: [number, number][];
  /** How far into each slot anything ever came. */
  let reach: number[];
  /** Of SENDERS, as the kernel gives them. */
  let sockaddrs: Uint8Array[];

  beforeAll(async () => {
    policed = await AclHost.create({ flows: FLOWS });
    host = policed.host;
    publishRules();
    const { core, layout } = host;
    memory = Buffer.from(core.memory.buffer);
    guards = [
      layout.GUARD_0,
      layout.GUARD_1,
      layout.GUARD_2,
      layout.GUARD_3,
      layout.GUARD_4,
      layout.GUARD_5,
      layout.GUARD_6,
      layout.GUARD_7,
      layout.GUARD_8,
      layout.GUARD_9,
      layout.GUARD_10,
      layout.GUARD_11,
      layout.FLOWS + FLOWS * layout.FLOW_SIZE,
    ].map((at) => [at, at + layout.GUARD_SIZE]);
    guards.push([0, layout.CONTROL]);
    for (const [from, to] of guards) memory.fill(GUARD_BYTE, from, to);
    memory.fill(GUARD_BYTE, layout.SLOTS, layout.GUARD_7);
    reach = Array.from({ length: layout.BATCH }, (_, i) => slot(i));
    sockaddrs = SENDERS.map((text) => {
      const bytes = new Uint8Array(layout.NAME_SIZE);
      writeSockaddr(new DataView(bytes.buffer), parseEndpoint(text));
      return bytes;
    });
  });

  /** Nearly all is allowed, and so held against its state. */
  const publishRules = () =>
    policed.rules(
      [{ action: "deny", protocols: [200 + below(50)] }, { action: "allow" }],
      [{ action: "deny", sourcePorts: [{ from: 3, to: 3 }] }, { action: "allow" }],
      nat,
    );

  const slot = (i: number) => host.layout.SLOTS + i * host.layout.SLOT_SIZE;
  const isGuard = (from: number, to: number) =>
    memory.subarray(from, to).every((byte) => byte === GUARD_BYTE);
  const isGuardBehind = (at: number) => PATTERN.compare(memory, at, at + BEHIND) === 0;

  function expectGuards(): void {
    expect(guards.filter(([from, to]) => !isGuard(from, to))).toEqual([]);
    for (const [i, end] of reach.entries()) {
      if (!isGuard(end, slot(i + 1))) throw new Error(`slot ${i} was written beyond ${end}`);
    }
  }

  const digestOfTables = () => {
    const { TABLES, COPY_SIZE } = host.layout;
    const tables = memory.subarray(TABLES, TABLES + 2 * COPY_SIZE);
    return createHash("sha256").update(Uint8Array.from(tables)).digest("hex");
  };

  /** Puts bytes that came into their slot, with guards behind them. */
  function fillSlot(i: number, start: number, bytes: Uint8Array): void {
    memory.set(bytes, start);
    const end = start + bytes.length;
    memory.fill(GUARD_BYTE, end, end + BEHIND);
    reach[i] = Math.max(reach[i]!, end);
  }

  /** Neither behind the packet nor before the headers it may get was anything written. */
  function checkSlot(i: number, end: number): void {
    const { HEADROOM, ENCAP_SIZE } = host.layout;
    const before = HEADROOM - ENCAP_SIZE;
    if (
      PATTERN.compare(memory, slot(i), slot(i) + before, 0, before) !== 0 ||
      !isGuardBehind(end)
    ) {
      throw new Error(`slot ${i} was written outside the packet's own room`);
    }
  }

  /** Addresses and lengths are u64 of which the upper half is 0: HOST_BASE is. */
  const pointer = (at: number) => {
    if (memory.readUInt32LE(at + 4) !== 0) throw new Error("a pointer out of this world");
    return memory.readUInt32LE(at);
  };

  /** What the kernel would be told to read was made, or came in: `starts` and `ends` of each slot's bytes. */
  function checkSlices(
    iovecs: number,
    count: number,
    made: [number, number][],
    ends: number[],
  ): number {
    const { layout } = host;
    let total = 0;
    for (let at = iovecs; at < iovecs + count * IOVEC_SIZE; at += IOVEC_SIZE) {
      const start = pointer(at);
      const length = pointer(at + IOVEC_LEN);
      total += length;
      const i = Math.floor((start - layout.SLOTS) / layout.SLOT_SIZE);
      const isMade = made.some(([from, to]) => start >= from && start + length <= to);
      const isOurs = i >= 0 && start >= host.messageStart(i) && start + length <= (ends[i] ?? 0);
      if (!isMade && !isOurs) throw new Error(`an iovec of ${length} bytes at ${start}`);
    }
    return total;
  }

  /** What the I/O loop does after a pass, failing some of it. */
  function sendAndWrite(ends: number[]): void {
    const { layout, core } = host;
    const { exports, view } = core;
    const headers: [number, number] = [
      layout.WIRE_IOVECS + layout.MAX_SEGMENTS * 2 * IOVEC_SIZE,
      layout.GUARD_5,
    ];
    const answers: [number, number] = [
      layout.DEVICE_IOVECS + layout.MAX_PACKETS * layout.MAX_SLICES * IOVEC_SIZE,
      layout.GUARD_6,
    ];
    for (let i = 0; i < view.getUint32(layout.WIRE_COUNT, true); i++) {
      if (i >= layout.MAX_SEGMENTS) throw new Error("more messages than there is room for");
      const message = layout.WIRE + i * MMSGHDR_SIZE;
      const slices = pointer(message + MMSGHDR_IOVLEN);
      if (slices > 2 * layout.MAX_GSO) throw new Error(`${slices} slices in a message`);
      const iovecs = pointer(message + MMSGHDR_IOV);
      const bytes = checkSlices(iovecs, slices, [answers, headers], ends);
      if (bytes > 65507) throw new Error(`a message of ${bytes} bytes`);
      if (rnd() < 0.01) {
        if (exports.isGsoBatch(i)) exports.splitGsoBatches(i);
        else exports.sendFailed(i, pick([SEND_FAILED, SEND_BUFFER_FULL]));
      }
    }
    const writes = view.getUint32(layout.DEVICE_COUNT, true);
    if (writes > layout.MAX_PACKETS) throw new Error(`${writes} writes`);
    for (let i = 0; i < writes; i++) {
      const slices = view.getUint32(layout.DEVICE + i * layout.WRITE_SIZE, true);
      if (slices > layout.MAX_SLICES) throw new Error(`${slices} slices in a write`);
      const iovecs = layout.DEVICE_IOVECS + i * layout.MAX_SLICES * IOVEC_SIZE;
      // A super-packet for a device that takes none is cut with headers made where the wire has room.
      const bytes = checkSlices(iovecs, slices, [answers, headers], ends);
      if (bytes > layout.VIRTIO_SIZE + layout.MAX_PACKET) throw new Error(`a write of ${bytes}`);
      if (slices === 1) exports.finishWrite(pointer(iovecs), pointer(iovecs + IOVEC_LEN));
      if (rnd() < 0.01) exports.writeFailed(i, pick([DEVICE_FAILED, DEVICE_BUFFER_FULL]));
    }
  }

  /** No kernel writes such control messages; their lengths lead nowhere all the same. */
  function garbleControls(i: number): void {
    const { layout, core } = host;
    const at = layout.RECEIVE_CONTROLS + i * layout.CMSG_ROOM;
    for (let k = 0; k < layout.CMSG_ROOM; k++) if (rnd() < 0.2) memory[at + k] = below(256);
    core.view.setBigUint64(
      layout.RECEIVE + i * MMSGHDR_SIZE + MMSGHDR_CONTROLLEN,
      BigInt(pick([0, 1, 15, 16, 17, 24, 47, 48, 49, 2 ** 32])),
      true,
    );
  }

  /** An error message of the underlay, half of it noise. */
  function hearError(): void {
    const { layout, core } = host;
    core.exports.prepareError();
    for (let i = 0; i < layout.ERROR_CONTROL_SIZE; i++)
      memory[layout.ERROR_CONTROL + i] = below(256);
    memory[layout.ERROR_CONTROL + 20] = pick([0, 1, 2, 3]);
    memory.set(pick(sockaddrs), layout.ERROR_NAME);
    memory.writeUInt32LE(pick([0, 16, 48, 250, 2 ** 32 - 1]), layout.ERROR_CONTROL);
    memory.writeUInt32LE(0, layout.ERROR_CONTROL + 4);
    memory.set([0, 0, 0, 0, 11, 0, 0, 0, 90], layout.ERROR_CONTROL + CMSG_LEVEL);
    core.view.setBigUint64(
      layout.ERROR_MESSAGE + MMSGHDR_CONTROLLEN,
      BigInt(pick([0, 31, 32, 48, 256, 2 ** 32 - 1])),
      true,
    );
    core.exports.beginBatch();
    core.exports.noteError();
    core.exports.finishBatch(layout.OUT);
  }

  /** Somebody looks on who is mostly too slow; gives how to look, and how many packets there were in the end. */
  function lookOn() {
    const meanings = { peer: () => undefined, rule: () => undefined, epoch: () => 0 };
    const capture = Capture.start(host.core, { snaplen: host.layout.MAX_PACKET }, meanings);
    let taken = 0;
    const look = (most?: number) => {
      taken += capture.take(most).length;
    };
    const end = () => {
      look();
      capture.stop();
      return taken + capture.lost;
    };
    return { look, end };
  }

  function total(direction: "out" | "in"): number {
    const { delivered, answered, answeredBy, dropped } = host.counters()[direction];
    const sum = (counts: typeof dropped) => Object.values(counts).reduce((sum, n) => sum + n, 0);
    expect(sum(answeredBy)).toBe(answered);
    expect(ANSWERABLE).toEqual(expect.arrayContaining(Object.keys(answeredBy)));
    return delivered + answered + sum(dropped);
  }

  /** A fuzz that never got past the first check proves nothing: every reason was met, and some got through. */
  function expectReached(direction: "out" | "in", reasons: readonly Reason[]): void {
    const { delivered, dropped } = host.counters()[direction];
    expect(delivered).toBeGreaterThan(PACKETS_EACH_WAY / 20);
    expect(reasons.filter((reason) => !dropped[reason])).toEqual([]);
  }

  const between = (first: Reason, last: Reason) =>
    reasonNames.slice(reasonNames.indexOf(first), reasonNames.indexOf(last) + 1);
  const ANY_PACKET = between("truncated", "martian-destination");

  /** Translation was met too, where there is any. */
  function expectTranslated(): void {
    if (!nat) return;
    const states = countFlows(host.core);
    expect(states.mapping).toBeGreaterThan(0);
    expect(host.counters().out.dropped["not-translatable"]).toBeGreaterThan(0);
    expect(policed.flows().filter(({ onward }) => onward).length).toBeGreaterThan(0);
  }

  it(`from the device: ${PACKETS_EACH_WAY} packets`, { timeout: 300_000 }, () => {
    const { layout, core } = host;
    const { outbound, finishBatch } = core.exports;
    let tables = digestOfTables();
    const stock = Array.from({ length: STOCK }, fromDevice);
    const { look, end } = lookOn();
    let done = 0;
    while (done < PACKETS_EACH_WAY) {
      const count = Math.min(1 + below(layout.BATCH), PACKETS_EACH_WAY - done);
      const ends: number[] = [];
      for (let i = 0; i < count; i++) {
        const bytes = pick(stock);
        if (bytes.length > 20 && rnd() < 0.02) {
          bytes[below(Math.min(bytes.length, 80))]! ^= 1 << below(8);
        }
        fillSlot(i, host.readStart(i), bytes);
        core.view.setUint32(layout.LENGTHS + i * 4, bytes.length, true);
        ends.push(host.readStart(i) + bytes.length);
      }
      core.setClock(done);
      if (rnd() < RULES_CHANGE) {
        publishRules();
        tables = digestOfTables();
      }
      host.setOffloads(rnd() < 0.7, rnd() < 0.7);
      if (rnd() < 0.01) hearError();
      if (rnd() < 0.01) look(below(1000));
      for (let at = 0; at < count; ) {
        at = outbound(at, count);
        sendAndWrite(ends);
      }
      finishBatch(layout.OUT);
      ends.forEach((end, i) => {
        checkSlot(i, end);
      });
      done += count;
    }
    expectGuards();
    expectSoundFlows(core);
    expectTranslated();
    expect(digestOfTables()).toBe(tables);
    expect(host.counters().out.received).toBe(PACKETS_EACH_WAY);
    expect(end()).toBe(PACKETS_EACH_WAY);
    expect(total("out")).toBe(PACKETS_EACH_WAY);
    expectReached("out", [
      ...ANY_PACKET,
      ...between("bad-offload", "too-big"),
      ...between("send-buffer-full", "device-failed"),
      "invalid-state",
      "fragment-before-first",
      "source-route",
    ]);
    expect(host.counters().out.answered).toBeGreaterThan(PACKETS_EACH_WAY / 1000);
  });

  it(`from the wire: ${PACKETS_EACH_WAY} packets`, { timeout: 300_000 }, () => {
    const { layout, core } = host;
    const { inbound, finishBatch } = core.exports;
    let tables = digestOfTables();
    const singles = Array.from({ length: STOCK }, () =>
      rnd() < 0.98 ? datagram() : controlDatagram(),
    );
    const gsoBatches = Array.from({ length: GSO_BATCHES }, () =>
      rnd() < 0.9 ? gsoBatch() : superPacket(),
    );
    const { look, end } = lookOn();
    let received = 0;
    let written = 0;
    let sent = 0;
    let controlTaken = 0;
    while (received < PACKETS_EACH_WAY) {
      const count = 1 + below(layout.BATCH);
      const ends: number[] = [];
      for (let i = 0; i < count; i++) {
        const { from, bytes, size } = rnd() < 0.04 ? pick(gsoBatches) : pick(singles);
        if (bytes.length > 0 && rnd() < 0.02) {
          bytes[below(Math.min(bytes.length, 100))]! ^= 1 << below(8);
        }
        fillSlot(i, host.messageStart(i), bytes);
        const name = rnd() < 0.99 ? sockaddrs[SENDERS.indexOf(from)]! : pick(sockaddrs);
        memory.set(name, layout.RECEIVE_NAMES + i * layout.NAME_SIZE);
        host.announce(i, bytes.length, { size, tos: rnd() < 0.3 ? below(256) : undefined });
        if (rnd() < 0.01) garbleControls(i);
        ends.push(host.messageStart(i) + bytes.length);
      }
      // On from the other direction's, and slowly: answers are to run out of their rate as well.
      core.setClock(PACKETS_EACH_WAY + received / 1000);
      if (rnd() < RULES_CHANGE) {
        publishRules();
        tables = digestOfTables();
      }
      host.setOffloads(rnd() < 0.7, rnd() < 0.7);
      let at = 0;
      do {
        at = inbound(at, count);
        written += core.view.getUint32(layout.DEVICE_COUNT, true);
        sent += core.view.getUint32(layout.WIRE_COUNT, true);
        sendAndWrite(ends);
      } while (at > 0);
      if (rnd() < 0.01) look(below(1000));
      if (rnd() < 0.002) controlTaken += takeControl(core).length;
      received += core.view.getUint32(layout.PACKET_COUNT, true);
      finishBatch(layout.IN);
      ends.forEach((end, i) => {
        checkSlot(i, end);
      });
    }
    expectGuards();
    expectSoundFlows(core);
    expectTranslated();
    expect(digestOfTables()).toBe(tables);
    expect(host.counters().in.received).toBe(received);
    expect(end()).toBe(received);
    expect(total("in")).toBe(received);
    // Some were joined, or the slices above would never have been more than one.
    const { delivered, answered, relayed, control } = host.counters().in;
    const { controlDropped, controlDroppedUnknown } = host.counters().in;
    expect(written).toBeLessThan(delivered - relayed);
    expect(sent).toBeLessThan(relayed + answered);
    expect(relayed).toBeGreaterThan(PACKETS_EACH_WAY / 100);
    expect(answered).toBeGreaterThan(PACKETS_EACH_WAY / 2000);
    expect(controlTaken + takeControl(core).length).toBe(control);
    expect(controlDropped).toBeGreaterThan(0);
    expect(controlDroppedUnknown).toBeGreaterThan(0);
    expectReached("in", [
      ...ANY_PACKET,
      ...between("not-vxlan", "relay-loop"),
      ...between("send-buffer-full", "device-failed"),
      "no-route",
      "ttl-exceeded",
      "too-big",
      "denied-ingress",
      "invalid-state",
      "fragment-before-first",
      "source-route",
      "not-ecn-capable",
    ]);
  });
});
