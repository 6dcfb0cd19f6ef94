/**
 * What is captured, held against what the core itself said became of each packet, and
 * against the bytes that were given to it.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { contains, parseAddress, parsePrefix } from "../../src/address.js";
import { Capture, type CapturedPacket } from "../../src/core/capture.js";
import { type CaptureFilter, readFilter } from "../../src/core/capture-filter.js";
import { Core } from "../../src/core/instance.js";
import { DEVICE_FAILED, SEND_FAILED } from "../../src/core/reasons.js";
import { Dataplane } from "../../src/dataplane.js";
import {
  echo,
  ICMP,
  ipv4,
  ipv6,
  random,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { A, B, C, GSO, Host, hostOf, MTU, NEEDS_CSUM, read } from "./host.js";

const rnd = random(seedOfRun("capture"));
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
const PACKETS = 2500;

const OURS = { 4: ["10.244.1.1", "10.244.1.77"], 6: ["fd00:0:0:1::1", "fd00:0:0:1::77"] };
const THEIRS = {
  4: ["10.244.2.1", "10.244.2.9", "10.244.3.200", "10.244.9.9", "127.0.0.1"],
  6: ["fd00:0:0:2::1", "fd00:0:0:2::9", "fd00:0:0:3::200", "fd00:0:0:9::9", "fe80::1"],
};
const PORTS = [53, 80, 443];

/** What a packet is made of. */
interface Made {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
  readonly bytes: Uint8Array;
}

function make(from: typeof OURS, to: typeof OURS, size = below(400)): Made {
  const family = pick([4, 6] as const);
  const [src, dst] = [pick(from[family]), pick(to[family])];
  const [sport, dport] = [pick(PORTS), pick(PORTS)];
  const data = Uint8Array.from({ length: size }, () => below(256));
  const protocol = pick([TCP, UDP, family === 4 ? ICMP : 99]);
  const payload =
    protocol === TCP
      ? tcp(src, dst, data, { sport, dport, flags: pick([2, 16]) })
      : protocol === UDP
        ? udp(src, dst, data, { sport, dport })
        : echo(data);
  const ttl = pick([1, 64, 64]);
  const bytes =
    family === 4
      ? ipv4({ src, dst, protocol, payload, ttl })
      : ipv6({ src, dst, protocol, payload, hopLimit: ttl });
  return { src, dst, protocol, sport, dport, bytes };
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** What its IP header says. */
function lengthIn(packet: Uint8Array): number {
  const bytes = Buffer.from(packet);
  if (bytes.length < 6) return bytes.length;
  return bytes[0]! >> 4 === 6 ? 40 + bytes.readUInt16BE(4) : bytes.readUInt16BE(2);
}

/** Some of them broken. */
function packet(from: typeof OURS, to: typeof OURS): Uint8Array {
  const { bytes } = make(from, to);
  if (rnd() < 0.7) return bytes;
  if (rnd() < 0.3) return bytes.slice(0, below(bytes.length));
  bytes[below(Math.min(bytes.length, 60))] = below(256);
  return bytes;
}

const POLICY = {
  policies: [
    {
      name: "web",
      applies: ["10.244.1.0/24", "fd00:0:0:1::/64"],
      ingress: [{ action: "allow", protocol: "tcp", ports: [80] }],
      egress: [{ action: "deny", protocol: "udp", ports: [53] }, { action: "allow" }],
    },
  ],
};

async function dataplane(): Promise<Dataplane> {
  const [address, underlay] = [hostOf(A), A.endpoint];
  const dp = await Dataplane.create({ ...A, vni: 1, mtu: MTU, address, underlay });
  dp.setPeers([B, C]);
  dp.setPolicy(POLICY);
  return dp;
}

describe("every packet, random ones,", () => {
  it("is captured once, with the verdict, the reason and the bytes that it had", async () => {
    const dp = await dataplane();
    // One source has used up its answers, and time goes so slowly that it gets few more.
    const [src, dst] = [OURS[4][1]!, THEIRS[4][0]!];
    const denied = ipv4({ src, dst, payload: udp(src, dst, new Uint8Array(4), { dport: 53 }) });
    for (let i = 0; i < 250; i++) dp.fromDevice(denied);
    const capture = dp.capture({ snaplen: 65_575 });
    const met = new Set<string>();
    let time = 0;
    for (let i = 0; i < PACKETS; i++) {
      if (rnd() < 0.02) {
        dp.advance(1);
        time++;
      }
      const isOut = rnd() < 0.5;
      const given = isOut ? packet(OURS, THEIRS) : packet(THEIRS, rnd() < 0.7 ? OURS : THEIRS);
      const sender = pick([B.endpoint, B.endpoint, C.endpoint, "198.51.100.9:4789"]);
      const whole = isOut ? given : vxlan(given.length > 0 ? given : new Uint8Array(1));
      const { verdict, reason } = isOut ? dp.fromDevice(whole) : dp.fromWire(whole, sender);
      const [captured, ...more] = capture.take();
      expect(more).toEqual([]);
      expect(captured).toMatchObject({ direction: isOut ? "out" : "in", verdict, time });
      expect(captured!.reason).toBe(reason);
      expect(captured!.sender).toBe(isOut ? undefined : sender);
      expectBytes(captured!, isOut ? given : whole.subarray(22));
      met.add(`${captured!.direction} ${verdict} ${reason}`);
    }
    expect(capture.lost).toBe(0);
    for (const way of [
      "out sent undefined",
      "out dropped denied-egress",
      "out answered denied-egress",
      "out answered ttl-exceeded",
      "out dropped bad-checksum",
      "in delivered undefined",
      "in sent undefined",
      "in answered denied-ingress",
      "in dropped unknown-peer",
      "in dropped spoofed-source",
    ]) {
      expect([...met]).toContain(way);
    }
  });

  /** Padding is cut off once the IP header said how long the packet is. */
  function expectBytes(captured: CapturedPacket<unknown>, given: Uint8Array): void {
    expect([given.length, lengthIn(given)]).toContain(captured.length);
    expect(isSame(captured.bytes, given.subarray(0, captured.length))).toBe(true);
  }

  it("in batches and GSO batches, and with what the kernel refused, is captured in order", async () => {
    const host = await Host.create();
    const capture = start(host.core, { snaplen: 65_575 });
    for (let round = 0; round < 60; round++) {
      const isOut = round % 2 === 0;
      const { exports } = host.core;
      const fail = () => {
        if (rnd() < 0.2 && host.messages().length > 0) exports.sendFailed(0, SEND_FAILED);
        if (rnd() < 0.2 && host.writes().length > 0) exports.writeFailed(0, DEVICE_FAILED);
      };
      const count = 1 + below(host.layout.BATCH);
      const given = isOut
        ? Array.from({ length: count }, () => [packet(OURS, THEIRS)])
        : Array.from({ length: count }, gsoBatch);
      const { verdicts } = isOut
        ? host.send(
            given.map(([bytes]) => read(bytes!)),
            fail,
          )
        : host.receive(given.map(message), fail);
      const captured = capture.take();
      expect(captured.map(inWords)).toEqual(verdicts);
      const packets = given.flat();
      const isWhole = ({ length, bytes }: CapturedPacket<unknown>, i: number) =>
        bytes.length === length && isSame(bytes, packets[i]!.subarray(0, length));
      expect(captured.every(isWhole)).toBe(true);
    }
    expect(capture.lost).toBe(0);
  });

  /** Segments of a stream, which are joined on their way. */
  function gsoBatch(): Uint8Array[] {
    const [src, dst] = [hostOf(B), pick([hostOf(A), hostOf(C)])];
    const data = Uint8Array.from({ length: 200 }, () => below(256));
    return Array.from({ length: 1 + below(20) }, (_, i) =>
      ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, data, { sequence: i * 200 }) }),
    );
  }

  const message = (gsoBatch: readonly Uint8Array[]) => ({
    from: B.endpoint,
    bytes: new Uint8Array(Buffer.concat(gsoBatch.map((packet) => vxlan(packet)))),
    ...(gsoBatch.length > 1 && { size: 22 + gsoBatch[0]!.length }),
  });

  const inWords = ({ verdict, reason = "delivered" }: CapturedPacket<unknown>): string =>
    `${verdict === "answered" ? "answered " : ""}${reason}`;
});

describe("a captured packet", () => {
  const web = (dport: number) => {
    const [src, dst] = [hostOf(B), hostOf(A)];
    const payload = tcp(src, dst, new Uint8Array(0), { dport, flags: 2 });
    return ipv4({ src, dst, protocol: TCP, payload });
  };

  it("has the peer and the rule that decided, and where it came from", async () => {
    const dp = await dataplane();
    const capture = dp.capture();
    dp.fromWire(vxlan(web(80)), B.endpoint);
    dp.fromWire(vxlan(web(22)), B.endpoint);
    dp.fromDevice(make({ 4: ["10.244.1.1"], 6: ["fd00:0:0:1::1"] }, THEIRS).bytes);
    const [allowed, denied, sent] = capture.take();
    expect(allowed).toMatchObject({ peer: "b", sender: B.endpoint, verdict: "delivered" });
    expect(allowed!.rule).toMatchObject({ policy: "web", direction: "ingress", index: 0 });
    expect(denied).toMatchObject({ peer: "b", verdict: "answered", reason: "denied-ingress" });
    expect(denied!.rule).toMatchObject({ kind: "tier default", direction: "ingress" });
    expect(sent!.sender).toBeUndefined();
  });

  it("names no peer as its sender without proof", async () => {
    const dp = await dataplane();
    const capture = dp.capture();
    dp.fromWire(vxlan(web(80)), C.endpoint);
    dp.fromWire(vxlan(web(80)), "203.0.113.9:4789");
    expect(capture.take()).toMatchObject([
      { peer: null, sender: C.endpoint, reason: "spoofed-source" },
      { peer: null, sender: "203.0.113.9:4789", reason: "unknown-peer" },
    ]);
  });

  it("that is relayed names both peers", async () => {
    const dp = await dataplane();
    const capture = dp.capture();
    const [src, dst] = [hostOf(B), hostOf(C)];
    const relayed = ipv4({ src, dst, payload: udp(src, dst, new Uint8Array(1)) });
    expect(dp.fromWire(vxlan(relayed), B.endpoint).verdict).toBe("sent");
    const [captured] = capture.take();
    expect(captured).toMatchObject({ peer: "b", relayedTo: "c", verdict: "sent" });
    expect(captured!.bytes).toEqual(relayed);
  });

  it("that is many in one is one, as long as it is, with the size of its parts", async () => {
    const host = await Host.create();
    const capture = start(host.core, { snaplen: 1000 });
    const [src, dst] = [hostOf(A), hostOf(B)];
    const bytes = ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, new Uint8Array(9000)) });
    host.send([read(bytes, { gsoType: GSO.TCPV4, gsoSize: 1000 })]);
    const [captured, ...more] = capture.take();
    expect(more).toEqual([]);
    expect(captured).toMatchObject({ length: 9040, segmentSize: 1000, verdict: "sent" });
    expect(captured!.bytes).toEqual(bytes.slice(0, 1000));
  });

  it("has the checksum that the host left to its device", async () => {
    const host = await Host.create();
    const capture = start(host.core, {});
    const [src, dst] = [hostOf(A), hostOf(B)];
    const made = (partial: boolean) =>
      ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(9), { partial }) });
    host.send([read(made(true), { flags: NEEDS_CSUM, start: 20, offset: 6 })]);
    expect(capture.take()[0]!.bytes).toEqual(made(false));
  });
});

describe("a capture", () => {
  const anything = () => make(OURS, THEIRS).bytes;

  it("of the dropped leaves out what gets through", async () => {
    const dp = await dataplane();
    const capture = dp.capture({ dropped: true });
    let wanted = 0;
    for (let i = 0; i < 500; i++) {
      const { verdict } = dp.fromDevice(anything());
      if (verdict !== "sent") wanted++;
    }
    const captured = capture.take();
    expect(wanted).toBeGreaterThan(0);
    expect(captured).toHaveLength(wanted);
    expect(captured.every(({ reason }) => reason !== undefined)).toBe(true);
  });

  it("of some bytes has no more of any packet, and says how long it was", async () => {
    const dp = await dataplane();
    for (const snaplen of [1, 15, 16, 17, 127, 128, 129, 300]) {
      const capture = dp.capture({ snaplen });
      const { bytes } = make(OURS, THEIRS, 250);
      dp.fromDevice(bytes);
      const [captured] = capture.take();
      expect(captured!.length).toBe(bytes.length);
      expect(captured!.bytes).toEqual(bytes.slice(0, snaplen));
      capture.stop();
    }
  });

  it("is the only one, and sees nothing before and nothing after it", async () => {
    const dp = await dataplane();
    dp.fromDevice(anything());
    const capture = dp.capture();
    expect(() => dp.capture()).toThrow("another capture runs on this node already");
    dp.fromDevice(anything());
    expect(capture.take()).toHaveLength(1);
    dp.fromDevice(anything());
    capture.stop();
    dp.fromDevice(anything());
    expect(capture.take()).toEqual([]);
    const next = dp.capture();
    capture.stop();
    dp.fromDevice(anything());
    expect(next.take()).toHaveLength(1);
  });

  it("that begins within a batch sees the next one", async () => {
    const host = await Host.create();
    let capture: Capture<unknown> | undefined;
    host.send([read(anything()), read(anything())], () => {
      capture ??= start(host.core, {});
    });
    expect(capture!.take()).toEqual([]);
    host.send([read(anything())]);
    expect(capture!.take()).toHaveLength(1);
  });

  it("sees nothing of what is only explained", async () => {
    const dp = await dataplane();
    const capture = dp.capture();
    dp.explain({ src: hostOf(A), dst: hostOf(B), dport: 80 });
    expect(capture.take()).toEqual([]);
    expect(capture.lost).toBe(0);
  });

  it.each([0, -1, 1.5, 65_576])("of %d bytes is refused", async (snaplen) => {
    const dp = await dataplane();
    expect(() => dp.capture({ snaplen })).toThrow("bytes of each packet cannot be");
    expect(dp.capture().take()).toEqual([]);
  });
});

describe("the ring", () => {
  const [src, dst] = [hostOf(A), hostOf(B)];
  const PAYLOAD = 28;

  /** Says its own number in every four bytes. */
  function numbered(number: number, words: number): Uint8Array {
    const data = new Uint8Array(Uint32Array.from({ length: words }, () => number).buffer);
    return ipv4({ src, dst, payload: udp(src, dst, data, { sum: false }) });
  }

  /** Notes every packet that was taken: each whole, and after those before it. */
  class Reader {
    count = 0;
    #last = -1;

    read(packets: readonly CapturedPacket<unknown>[]): void {
      for (const { length, bytes } of packets) {
        const data = new Uint32Array(bytes.slice(PAYLOAD).buffer);
        if (data[0]! <= this.#last || data.some((word) => word !== data[0])) {
          throw new Error(`after ${this.#last} came ${data}`);
        }
        expect(length).toBe(PAYLOAD + data.byteLength);
        this.#last = data[0]!;
        this.count++;
      }
    }
  }

  it("counts what it has no room for, and tears nothing", async () => {
    const host = await Host.create();
    const capture = start(host.core, { snaplen: 65_575 });
    const reader = new Reader();
    let given = 0;
    for (let round = 0; round < 500; round++) {
      const batch = Array.from({ length: 1 + below(16) }, () => numbered(given++, 1 + below(4000)));
      host.send(batch.map((bytes) => read(bytes)));
      // Nobody looks for a hundred rounds, in which more comes than there is room for.
      const looks = (round < 200 || round > 320) && rnd() < 0.1;
      if (looks) reader.read(capture.take(rnd() < 0.5 ? below(200) : undefined));
    }
    reader.read(capture.take());
    expect(capture.lost).toBeGreaterThan(0);
    expect(reader.count + capture.lost).toBe(given);
  });

  it("is emptied by one thread while another fills it", async () => {
    const { core } = await Host.create();
    const { module, memory, layout } = core;
    const shared = new Int32Array(new SharedArrayBuffer(4));
    const packets = Array.from({ length: 32 }, () => numbered(0, 1 + below(2000)));
    const capture = start(core, { snaplen: 65_575 });
    const worker = new Worker(new URL("numbering.mjs", import.meta.url), {
      workerData: { module, memory, layout, packets, payload: PAYLOAD, shared },
    });
    const reader = new Reader();
    while (reader.count < 30_000 || capture.lost === 0) reader.read(capture.take(1 + below(300)));
    Atomics.store(shared, 0, 1);
    const [given] = (await once(worker, "message")) as [number];
    reader.read(capture.take());
    expect(reader.count + capture.lost).toBe(given);
  });
});

describe("a filter", () => {
  const ends = [
    "",
    "10.244.1.1",
    "10.244.0.0/16",
    "10.244.2.8/29:443",
    "10.244.2.1:53",
    ":80",
    "fd00:0:0:1::77",
    "fd00:0:0:2::/63",
    "[fd00:0:0:2::1]:443",
    "[fd00::/16]:53",
  ];
  const protocols = ["", "tcp", "udp", "icmp", "99"];

  it("takes what a slow one takes, in both directions", async () => {
    const core = await Core.create();
    const host = await Host.create({ core });
    let [taken, left] = [0, 0];
    for (let i = 0; i < 400; i++) {
      const text = `${pick(protocols)} ${pick(ends)} ${pick(ends)}`;
      const filter = filterOf(text);
      if (!filter) continue;
      const capture = start(core, { filter: text });
      const packets = Array.from({ length: 32 }, () => make(OURS, THEIRS));
      const { verdicts } = host.send(packets.map(({ bytes }) => read(bytes)));
      const wanted = packets.filter(
        (packet, n) => isAskedFor(filter, packet) && verdicts[n] !== "martian-destination",
      );
      expect(
        capture.take().map(({ bytes }) => bytes),
        text,
      ).toEqual(wanted.map(({ bytes }) => bytes.slice(0, 256)));
      taken += wanted.length;
      left += packets.length - wanted.length;
      capture.stop();
    }
    expect(Math.min(taken, left)).toBeGreaterThan(50);
  });

  /** Undefined where the two ends are of two families. */
  function filterOf(text: string): CaptureFilter | undefined {
    try {
      return readFilter(text);
    } catch (error) {
      expect(String(error)).toContain("not of one family");
      return undefined;
    }
  }

  function isAskedFor({ protocol, ends: [a, b] }: CaptureFilter, packet: Made): boolean {
    const hasPorts = packet.protocol === TCP || packet.protocol === UDP;
    const isAt = ({ prefix, port }: CaptureFilter["ends"][0], address: string, its: number) =>
      (!prefix || contains(prefix, parseAddress(address))) &&
      (port === undefined || (hasPorts && port === its));
    const { src, dst, sport, dport } = packet;
    return (
      (protocol === undefined || protocol === packet.protocol) &&
      ((isAt(a, src, sport) && isAt(b, dst, dport)) || (isAt(b, src, sport) && isAt(a, dst, dport)))
    );
  }

  it.each<[string, CaptureFilter]>([
    ["", { ends: [{}, {}] }],
    ["tcp", { protocol: 6, ends: [{}, {}] }],
    ["47 :80", { protocol: 47, ends: [{ port: 80 }, {}] }],
    [
      "icmp fd00::1",
      { family: 6, protocol: 58, ends: [{ prefix: parsePrefix("fd00::1/128") }, {}] },
    ],
    [
      "udp 10.0.0.1:53 10.2.0.0/16",
      {
        family: 4,
        protocol: 17,
        ends: [
          { prefix: parsePrefix("10.0.0.1/32"), port: 53 },
          { prefix: parsePrefix("10.2.0.0/16") },
        ],
      },
    ],
  ])("is read: %j", (text, filter) => {
    expect(readFilter(text)).toEqual(filter);
  });

  it.each([
    [
      "10.0.0.1 10.0.0.2 10.0.0.3",
      'the filter "10.0.0.1 10.0.0.2 10.0.0.3" has more than two ends',
    ],
    ["tcp 10.0.0.1 fd00::1", "the two ends are not of one family"],
    ["tcpp 10.0.0.1", '"tcpp" is not an IP address'],
    ["10.0.0.1:65536", '"65536" is not a port'],
    ["10.0.0.1:", '"" is not a port'],
    ["10.0.0.1/8", '"10.0.0.1/8" has address bits set beyond its length'],
    ["256 10.0.0.1", "protocol 256 cannot be"],
    ["010.0.0.1", '"010.0.0.1" is not an IP address'],
    ["constructor", '"constructor" is not an IP address'],
  ])("is refused: %j", (text, why) => {
    expect(() => readFilter(text)).toThrow(why);
  });
});

/** Without names for the core's numbers. */
const start = (core: Core, options: Parameters<typeof Capture.start>[1]) =>
  Capture.start(core, options, { peer: () => undefined, rule: () => undefined, epoch: () => 0 });
