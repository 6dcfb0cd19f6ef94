/** Cutting and joining beside their slow twins: no fast path may change a packet. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SEND_FAILED } from "../../src/core/reasons.js";
import type { Peer } from "../../src/peer.js";
import {
  fragmentHeader,
  ipv4,
  ipv6,
  optionsHeader,
  partsOf,
  random,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import {
  A,
  B,
  C,
  datagramsOf,
  GSO,
  Host,
  hostOf,
  NEEDS_CSUM,
  type Received,
  read,
  type Sent,
} from "./host.js";
import {
  headersOf,
  isPartial,
  oneHopLess,
  segment,
  takeApart,
  withChecksums,
  withoutId,
} from "./slow.js";

const seed = seedOfRun("offload");
const MTU = 1450;

let a: Host;
let b: Host;
beforeAll(async () => {
  a = await Host.create({ own: A, peers: [B, C] });
  b = await Host.create({ own: B, peers: [A, C] });
});
beforeEach(() => {
  a.setOffloads(true, true);
  b.setOffloads(true, true);
});

/** A packet that is many in one, and how to cut it. */
interface Whole {
  packet: Uint8Array;
  size: number;
  to: Peer;
}

const bytesFrom = (fill: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => fill + i * 31 + (i >> 8));

/** A no-operation in every byte, and something that differs in the first. */
const tcpOptions = (words: number, fill: number) =>
  new Uint8Array(words * 4).fill(1).map((one, i) => (i === 1 ? fill & 0x7e : one));

const whole = fc
  .record({
    family: fc.constantFrom<4 | 6>(4, 6),
    protocol: fc.constantFrom(TCP, UDP),
    to: fc.constantFrom(B, C),
    size: fc.oneof(fc.integer({ min: 64, max: 1330 }), fc.integer({ min: 1, max: 90 })),
    segments: fc.oneof(fc.constantFrom(1, 2, 64, 65), fc.integer({ min: 1, max: 1024 })),
    /** Of the last segment, as a share of the size; 0: no payload in it. */
    last: fc.constantFrom(0, 0.01, 0.5, 1),
    flags: fc.constantFrom(0x10, 0x18, 0x11, 0x19, 0x90, 0xd8, 0x59),
    tos: fc.constantFrom(0, 1, 2, 0x2b, 0xff),
    hops: fc.constantFrom(2, 64, 255),
    df: fc.boolean(),
    id: fc.oneof(fc.nat(0xffff), fc.constantFrom(0xfff0, 0xffff)),
    sequence: fc.oneof(fc.nat(2 ** 32 - 1), fc.constantFrom(2 ** 32 - 1000, 2 ** 32 - 1)),
    ipOptions: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 10 })),
    tcpOptions: fc.constantFrom(0, 3, 10),
    fill: fc.nat(255),
  })
  .map((f): Whole => {
    const src = hostOf(A, f.family);
    const dst = hostOf(f.to, f.family);
    const extensions = Array.from({ length: f.ipOptions % 3 }, () => optionsHeader(60));
    const network = f.family === 4 ? 20 + f.ipOptions * 4 : 40 + extensions.length * 8;
    const transport = f.protocol === TCP ? 20 + f.tcpOptions * 4 : 8;
    const most = (f.family === 4 ? 65535 : 65575) - network - transport;
    const wanted = (f.segments - 1) * f.size + Math.ceil(f.last * f.size);
    const data = bytesFrom(f.fill, Math.min(wanted, most));
    const payload =
      f.protocol === TCP
        ? tcp(src, dst, data, {
            sequence: f.sequence,
            flags: f.flags,
            options: tcpOptions(f.tcpOptions, f.fill),
            partial: true,
          })
        : udp(src, dst, data, { partial: true });
    const common = { src, dst, protocol: f.protocol, payload };
    const packet =
      f.family === 4
        ? ipv4({
            ...common,
            ttl: f.hops,
            tos: f.tos,
            df: f.df,
            id: f.id,
            options: new Uint8Array(f.ipOptions * 4).fill(1),
          })
        : ipv6({ ...common, hopLimit: f.hops, trafficClass: f.tos, flowLabel: f.id, extensions });
    return { packet, size: f.size, to: f.to };
  });

function readOf({ packet, size }: Whole): Uint8Array {
  const { isIPv4, transport, protocol } = partsOf(packet);
  const tcpType = isIPv4 ? GSO.TCPV4 : GSO.TCPV6;
  return read(packet, {
    flags: NEEDS_CSUM,
    gsoType: protocol === TCP ? tcpType : GSO.UDP_L4,
    // What forwarded packets come with is wrong; nobody may rely on it.
    headers: 9999,
    gsoSize: size,
    start: transport,
    offset: protocol === TCP ? 16 : 6,
  });
}

const onTheWire = ({ packet, size, to }: Whole): { to: string; bytes: Uint8Array }[] =>
  segment(oneHopLess(packet), size).map((bytes) => ({
    to: to.endpoint,
    bytes: vxlan(bytes, { dst: to.mac.replaceAll(":", ""), src: A.mac.replaceAll(":", "") }),
  }));

const allDatagrams = (sent: readonly Sent[]) =>
  sent.flatMap((message) => datagramsOf(message).map((bytes) => ({ to: message.to, bytes })));

/** Byte for byte; says where they part, not all they are. */
function expectSame(
  got: readonly { to?: string; bytes: Uint8Array }[],
  wanted: readonly { to?: string; bytes: Uint8Array }[],
): void {
  const text = (d: { to?: string; bytes: Uint8Array } | undefined) =>
    d && `${d.to ?? ""} ${Buffer.from(d.bytes).toString("hex")}`;
  for (let i = 0; i < Math.max(got.length, wanted.length); i++) {
    if (text(got[i]) !== text(wanted[i])) {
      expect(`${i}: ${text(got[i])}`).toBe(`${i}: ${text(wanted[i])}`);
    }
  }
}

const packetsOf = (written: readonly Uint8Array[]) =>
  written.flatMap(takeApart).map((bytes) => ({ bytes }));

describe("segment", () => {
  it("cuts a super-packet into the very datagrams its slow twin makes, as GSO batches or one by one", () => {
    fc.assert(
      fc.property(fc.array(whole, { minLength: 1, maxLength: 4 }), (wholes) => {
        const wanted = wholes.flatMap(onTheWire);
        for (const gso of [true, false]) {
          a.setOffloads(gso, true);
          const { sent, written, verdicts } = a.send(wholes.map(readOf));
          expect(verdicts).toEqual(wholes.map(() => "delivered"));
          expect(written).toEqual([]);
          expectSame(allDatagrams(sent), wanted);
          expect(sent.some(({ size }) => size !== undefined) && !gso).toBe(false);
        }
      }),
      { seed, numRuns: 150 },
    );
  });

  it("makes only GSO batches that the kernel takes", () => {
    fc.assert(
      fc.property(fc.array(whole, { minLength: 1, maxLength: 4 }), (wholes) => {
        for (const message of a.send(wholes.map(readOf)).sent) {
          if (message.size === undefined) continue;
          const sizes = datagramsOf(message).map(({ length }) => length);
          const last = sizes.pop()!;
          expect(sizes.length).toBeGreaterThan(0);
          expect(sizes.length + 1).toBeLessThanOrEqual(64);
          expect(message.bytes.length).toBeLessThanOrEqual(65507);
          expect(sizes.every((size) => size === message.size)).toBe(true);
          expect(last).toBeGreaterThan(0);
          expect(last).toBeLessThanOrEqual(message.size);
        }
      }),
      { seed, numRuns: 150 },
    );
  });

  it("gathers what goes to one peer into few messages, and small packets of one size too", () => {
    const data = bytesFrom(1, 64 * 900);
    const [src, dst] = [hostOf(A), hostOf(B)];
    const packet = ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, data) });
    expect(a.send([readOf({ packet, size: 900, to: B })]).sent).toHaveLength(1);

    const small = ipv4({ src, dst, payload: udp(src, dst, new Uint8Array(64)) });
    const elsewhere = ipv4({ src, dst: hostOf(C), payload: udp(src, dst, new Uint8Array(64)) });
    const reads = [small, small, small, elsewhere, small].map((p) => read(p));
    expect(a.send(reads).sent.map((message) => datagramsOf(message).length)).toEqual([3, 1, 1]);
  });

  it.each<[string, Partial<Record<"gsoType" | "gsoSize" | "flags", number>>]>([
    ["no size", { gsoSize: 0 }],
    ["more pieces than there is room for", { gsoSize: 1 }],
    ["the other family", { gsoType: GSO.TCPV6 }],
    ["another protocol", { gsoType: GSO.UDP_L4 }],
    ["the fragmenting kind of UDP", { gsoType: GSO.UDP }],
    ["a type nobody knows", { gsoType: 77 }],
  ])("refuses a header that lies: %s", (_, lie) => {
    const [src, dst] = [hostOf(A), hostOf(B)];
    const payload = tcp(src, dst, new Uint8Array(2000));
    const packet = ipv4({ src, dst, protocol: TCP, payload });
    const told = { gsoType: GSO.TCPV4, gsoSize: 1000, ...lie };
    expect(a.send([read(packet, told)]).verdicts).toEqual(["bad-offload"]);
    expect(
      a.send([read(packet, { gsoType: GSO.TCPV4 | GSO.ECN, gsoSize: 1000 })]).sent,
    ).toHaveLength(1);
  });

  it("answers when one segment would be too big, with the MTU that it must fit", () => {
    const [src, dst] = [hostOf(A), hostOf(B)];
    const payload = tcp(src, dst, new Uint8Array(5000));
    const packet = ipv4({ src, dst, protocol: TCP, payload });
    const fits = read(packet, { gsoType: GSO.TCPV4, gsoSize: MTU - 40 });
    expect(a.send([fits]).verdicts).toEqual(["delivered"]);
    const { verdicts, written } = a.send([read(packet, { gsoType: GSO.TCPV4, gsoSize: MTU - 39 })]);
    expect(verdicts).toEqual(["answered too-big"]);
    expect(Buffer.from(written[0]!).readUInt16BE(10 + 26)).toBe(MTU);
  });
});

describe("what the kernel refuses", () => {
  const [src, dst] = [hostOf(A), hostOf(B)];
  const small = (size = 64, to = dst, ttl = 64) =>
    read(ipv4({ src, dst: to, ttl, payload: udp(src, to, new Uint8Array(size)) }));

  it("as a GSO batch goes datagram by datagram, from that message on, in the same order", () => {
    fc.assert(
      fc.property(fc.array(whole, { minLength: 1, maxLength: 3 }), fc.nat(), (wholes, nth) => {
        const intact = a.send(wholes.map(readOf)).sent;
        let from = 0;
        const { sent } = a.send(wholes.map(readOf), () => {
          from = nth % a.messages().length;
          a.core.exports.splitGsoBatches(from);
        });
        expectSame(allDatagrams(sent), allDatagrams(intact));
        // With more than one pass `from` is the last one's: what came before is not known here.
        if (intact.length > from && wholes.length === 1) {
          expect(sent.slice(0, from)).toEqual(intact.slice(0, from));
          expect(sent.slice(from).every(({ size }) => size === undefined)).toBe(true);
        }
      }),
      { seed, numRuns: 100 },
    );
  });

  it("is lost with all its packets, and with no others", () => {
    const reads = [
      small(),
      small(64, "10.244.9.9"),
      small(),
      small(64, dst, 1),
      small(64, hostOf(C)),
    ];
    const { verdicts } = a.send(reads, () => a.core.exports.sendFailed(0, SEND_FAILED));
    expect(verdicts).toEqual([
      "send-failed",
      "answered no-route",
      "send-failed",
      "answered ttl-exceeded",
      "delivered",
    ]);
  });

  it("alone, after its GSO batch was split, is lost alone", () => {
    const { verdicts } = a.send([small(), small(), small()], () => {
      a.core.exports.splitGsoBatches(0);
      a.core.exports.sendFailed(1, SEND_FAILED);
    });
    expect(verdicts).toEqual(["delivered", "send-failed", "delivered"]);
  });

  it("by the device, in a later pass, says nothing of the answers of an earlier one", () => {
    const huge = (): Uint8Array => {
      const packet = ipv4({
        src,
        dst,
        protocol: TCP,
        payload: tcp(src, dst, new Uint8Array(60_000)),
      });
      return readOf({ packet, size: 60, to: B });
    };
    let pass = 0;
    const reads = [small(64, dst, 1), huge(), huge(), small(64, dst, 1)];
    const { verdicts } = a.send(reads, () => {
      if (++pass === 2) a.core.exports.writeFailed(0, SEND_FAILED);
    });
    expect(pass).toBe(2);
    expect(verdicts).toEqual(["answered ttl-exceeded", "delivered", "delivered", "send-failed"]);
  });
});

/** Everything that may stand between two packets that could have been joined. */
const INTERRUPTIONS = [
  "nothing",
  "nothing",
  "nothing",
  "nothing",
  "push",
  "fin",
  "other options",
  "other window",
  "reserved bit",
  "gap",
  "duplicate",
  "corrupt",
  "unfinished",
  "no checksum",
  "shorter",
  "longer",
  "empty",
  "fragment",
  "other hops",
  "other tos",
  "ip options",
  "df",
] as const;

interface StreamFields {
  family: 4 | 6;
  protocol: number;
  from: Peer;
  /** Streams of different number differ in their addresses, of different port only in that. */
  number: number;
  port: number;
  size: number;
  sequence: number;
  steps: readonly (typeof INTERRUPTIONS)[number][];
}

/** The packets of one stream, in the order they were sent. */
function packetsOfStream(f: StreamFields, rnd: () => number): Uint8Array[] {
  const src = hostOf(f.from, f.family).replace(/1$/, String(f.number));
  const dst = hostOf(B, f.family);
  let { sequence } = f;
  const packets: Uint8Array[] = [];
  f.steps.forEach((step, i) => {
    const is = (...steps: string[]) => steps.includes(step);
    const size = is("shorter") ? Math.ceil(f.size / 2) : is("longer") ? f.size + 1 : f.size;
    const data = Uint8Array.from({ length: is("empty") ? 0 : size }, () => rnd() * 256);
    if (is("gap")) sequence += 1;
    sequence %= 2 ** 32;
    const partial = is("unfinished");
    const payload =
      f.protocol === TCP
        ? tcp(src, dst, data, {
            sport: f.port,
            sequence,
            flags: is("push") ? 0x18 : is("fin") ? 0x11 : 0x10,
            window: is("other window") ? 1 : 500,
            options: tcpOptions(3, is("other options") ? 4 : 2),
            partial,
          })
        : udp(src, dst, data, { sport: f.port, partial, sum: !is("no checksum") });
    if (is("corrupt") && data.length > 0) payload[payload.length - 1]! ^= 1 + rnd() * 255;
    if (is("reserved bit") && f.protocol === TCP) {
      payload[12]! |= 1;
      payload[16]! -= payload[16]! > 0 ? 1 : 0;
    }
    sequence = (sequence + data.length) % 2 ** 32;
    const common = { src, dst, protocol: f.protocol, payload };
    const tos = is("other tos") ? 3 : 0;
    const hops = is("other hops") ? 63 : 64;
    const packet =
      f.family === 4
        ? ipv4({
            ...common,
            tos,
            ttl: hops,
            id: (0xfffe + i) % 2 ** 16,
            df: is("df"),
            mf: is("fragment"),
            options: new Uint8Array(is("ip options") ? 4 : 0).fill(1),
          })
        : ipv6({
            ...common,
            trafficClass: tos,
            hopLimit: hops,
            flowLabel: is("df") ? 9 : 0,
            extensions: is("fragment")
              ? [fragmentHeader(0, true)]
              : is("ip options")
                ? [optionsHeader(60)]
                : [],
          });
    packets.push(packet);
    if (is("duplicate")) packets.push(packet);
  });
  return packets;
}

const stream = fc.record<StreamFields>({
  family: fc.constantFrom(4, 6),
  protocol: fc.constantFrom(TCP, UDP),
  from: fc.constantFrom(A, C),
  number: fc.integer({ min: 2, max: 6 }),
  port: fc.constantFrom(1000, 1001),
  size: fc.oneof(fc.constantFrom(1, 1000), fc.integer({ min: 1, max: 1400 })),
  sequence: fc.oneof(fc.nat(2 ** 32 - 1), fc.constantFrom(2 ** 32 - 1500)),
  steps: fc.array(fc.constantFrom(...INTERRUPTIONS), { minLength: 1, maxLength: 80 }),
});

const streams = fc.uniqueArray(stream, {
  minLength: 1,
  maxLength: 8,
  selector: (f) => [f.family, f.protocol, f.from.name, f.number].join(),
});

/** One line of datagrams, each stream's in its order. */
function interleave(
  fields: readonly StreamFields[],
  rnd: () => number,
): { from: string; packet: Uint8Array }[] {
  const queues = fields.map((f) => ({
    from: f.from.endpoint,
    packets: packetsOfStream(f, rnd),
  }));
  const line: { from: string; packet: Uint8Array }[] = [];
  while (queues.length > 0) {
    const at = Math.floor(rnd() * queues.length);
    const queue = queues[at]!;
    for (let run = 1 + rnd() * 20; run > 0; run--) {
      const packet = queue.packets.shift();
      if (packet) line.push({ from: queue.from, packet });
    }
    if (queue.packets.length === 0) queues.splice(at, 1);
  }
  return line;
}

/** Cuts the line into messages: GSO batches where sizes allow and chance wants, else one by one. */
function intoMessages(
  line: readonly { from: string; packet: Uint8Array }[],
  rnd: () => number,
): Received[] {
  const messages: Received[] = [];
  for (let i = 0; i < line.length; ) {
    const { from } = line[i]!;
    const gsoBatch = [vxlan(line[i++]!.packet)];
    const size = gsoBatch[0]!.length;
    const most = rnd() < 0.3 ? 1 : 1 + rnd() * 63;
    while (gsoBatch.length < most && i < line.length && line[i]!.from === from) {
      const next = vxlan(line[i]!.packet);
      if (next.length > size) break;
      gsoBatch.push(next);
      i++;
      if (next.length < size) break;
    }
    messages.push(
      gsoBatch.length === 1
        ? { from, bytes: gsoBatch[0]! }
        : { from, bytes: new Uint8Array(Buffer.concat(gsoBatch)), size },
    );
  }
  return messages;
}

/** Cuts messages into batches. */
function receiveAll(host: Host, messages: readonly Received[], rnd: () => number) {
  const written: Uint8Array[] = [];
  for (let i = 0; i < messages.length; ) {
    const count = Math.ceil(rnd() * 64);
    const batch = host.receive(messages.slice(i, i + count));
    written.push(...batch.written);
    expect(new Set(batch.verdicts)).toEqual(new Set(["delivered"]));
    i += count;
  }
  return written;
}

/** What a packet is once its receiver's kernel has it: checksum finished, identification forgotten. */
function settled(packet: Uint8Array): string {
  const { isIPv4, protocol } = partsOf(packet);
  const isFragment = isIPv4
    ? (Buffer.from(packet).readUInt16BE(6) & 0x3fff) !== 0
    : packet[6] === 44;
  const isUnfinished = !isFragment && (protocol === TCP || protocol === UDP) && isPartial(packet);
  return Buffer.from(withoutId(isUnfinished ? withChecksums(packet) : packet)).toString("hex");
}

const addressesOf = (packet: Uint8Array) => {
  const { src, dst, protocol } = partsOf(packet);
  return [src, dst, protocol].join();
};

/** The packets between each pair of addresses, in order. */
function byStream(packets: readonly Uint8Array[]): Record<string, string[]> {
  const map: Record<string, string[]> = {};
  for (const packet of packets) {
    const of = addressesOf(packet);
    map[of] ??= [];
    map[of].push(settled(packet));
  }
  return map;
}

describe("coalesce", () => {
  it("changes no packet, and no order within a stream, however streams mix and are cut", () => {
    let came = 0;
    let written = 0;
    fc.assert(
      fc.property(streams, fc.nat(), (fields, chance) => {
        const rnd = random(chance);
        const line = interleave(fields, rnd);
        const writes = receiveAll(b, intoMessages(line, rnd), rnd);
        expect(byStream(writes.flatMap(takeApart))).toEqual(
          byStream(line.map(({ packet }) => packet)),
        );
        came += line.length;
        written += writes.length;
      }),
      { seed, numRuns: 250 },
    );
    // A coalesce that joins nothing would pass, too.
    expect(written).toBeLessThan(came * 0.8);
  });

  it("writes the same, whether datagrams come in GSO batches or one by one", () => {
    fc.assert(
      fc.property(streams, fc.nat(), (fields, chance) => {
        const rnd = random(chance);
        const line = interleave(fields, rnd).slice(0, 64);
        const singles = line.map(({ from, packet }) => ({ from, bytes: vxlan(packet) }));
        expectSame(
          b.receive(intoMessages(line, rnd)).written.map((bytes) => ({ bytes })),
          b.receive(singles).written.map((bytes) => ({ bytes })),
        );
      }),
      { seed, numRuns: 100 },
    );
  });

  it("joins nothing for a device that could not take it apart", () => {
    b.setOffloads(true, false);
    fc.assert(
      fc.property(streams, fc.nat(), (fields, chance) => {
        const rnd = random(chance);
        const line = interleave(fields, rnd);
        const writes = receiveAll(b, intoMessages(line, rnd), rnd);
        expect(writes).toHaveLength(line.length);
        expect(packetsOf(writes).map(({ bytes }) => settled(bytes))).toEqual(
          line.map(({ packet }) => settled(packet)),
        );
      }),
      { seed, numRuns: 30 },
    );
  });

  const [src, dst] = [hostOf(A), hostOf(B)];
  const from = A.endpoint;
  const line = (fields: Partial<StreamFields>, rnd = random(1)) =>
    packetsOfStream(
      {
        family: 4,
        protocol: TCP,
        from: A,
        number: 2,
        port: 1000,
        size: 1000,
        sequence: 7,
        steps: [],
        ...fields,
      },
      rnd,
    );
  const receive = (packets: readonly Uint8Array[]) =>
    b.receive(packets.map((packet) => ({ from, bytes: vxlan(packet) }))).written;

  it.each([
    [4, TCP],
    [6, TCP],
    [4, UDP],
    [6, UDP],
  ] as const)("makes one write of 60 packets in a row: IPv%i, protocol %i", (family, protocol) => {
    const steps = Array.from({ length: 60 }, () => "nothing" as const);
    const packets = line({ family, protocol, steps });
    const writes = receive(packets);
    expect(writes).toHaveLength(1);
    expect(Buffer.from(writes[0]!).readUInt16LE(4)).toBe(1000);
  });

  it("makes no write longer than a packet can be, or of more pieces than UDP may have", () => {
    const steps = Array.from({ length: 64 }, () => "nothing" as const);
    const long = receive(line({ steps, size: 1400 }));
    expect(long.map(({ length }) => length - 10 - 52)).toEqual([46 * 1400, 18 * 1400]);
    const many = { ...line({}), steps: [...steps, ...steps], protocol: UDP, size: 10 };
    const messages = intoMessages(
      line(many).map((packet) => ({ from, packet })),
      () => 0.999,
    );
    expect(b.receive(messages).written.map((w) => takeApart(w).length)).toEqual([64, 64]);
  });

  it.each([
    [1283, [51]],
    [1284, [50, 1]],
  ])("fills a write to the last byte an IP packet can have: %i in the last", (last, wanted) => {
    // 20 + 32 bytes of headers, 50 segments of 1284: 65,535 leaves 1283.
    const packets = Array.from({ length: 51 }, (_, i) => {
      const data = new Uint8Array(i < 50 ? 1284 : last);
      const payload = tcp(src, dst, data, { sequence: i * 1284, options: tcpOptions(3, 2) });
      return ipv4({ src, dst, protocol: TCP, payload });
    });
    expect(receive(packets).map((w) => takeApart(w).length)).toEqual(wanted);
  });

  it.each([
    [4, TCP],
    [6, TCP],
    [4, UDP],
    [6, UDP],
  ] as const)(
    "keeps streams apart that differ in one number only: IPv%i, protocol %i",
    (family, protocol) => {
      const fields = { family, protocol, size: 10, steps: ["nothing", "nothing"] as const };
      const [first, second] = line(fields);
      expect(receive([first!, second!])).toHaveLength(1);
      // So many that some share the first one's place.
      for (let i = 1; i < 500; i++) {
        const ofOtherPort = line({ ...fields, port: 1000 + i })[1]!;
        const fromOther = line({ ...fields, number: 2 + (i % 250) + 1 })[1]!;
        expect(receive([first!, ofOtherPort])).toHaveLength(2);
        expect(receive([first!, fromOther])).toHaveLength(2);
      }
    },
  );

  it("ends a write with a push, and keeps it", () => {
    const writes = receive(line({ steps: ["nothing", "nothing", "push", "nothing", "nothing"] }));
    expect(writes.map((w) => takeApart(w).length)).toEqual([3, 2]);
  });

  it("lets no packet overtake a fragment of its own stream", () => {
    const steps = ["nothing", "fragment", "nothing"] as const;
    for (const family of [4, 6] as const) {
      const packets = line({ family, protocol: UDP, steps });
      expect(packetsOf(receive(packets)).map(({ bytes }) => settled(bytes))).toEqual(
        packets.map(settled),
      );
    }
  });

  it("hides no corrupt packet in a joined one, not even the first", () => {
    for (let corrupt = 0; corrupt < 3; corrupt++) {
      const steps = [0, 1, 2].map((i) => (i === corrupt ? "corrupt" : "nothing"));
      const packets = line({ steps });
      const got = receive(packets).flatMap(takeApart).map(withoutId);
      expect(got).toEqual(packets.map(withoutId));
    }
  });

  it("takes as many packets as a batch can hold, however full its messages are", () => {
    const packets = line({
      size: 900,
      steps: Array.from({ length: 64 }, () => "nothing" as const),
    });
    const datagrams = packets.map((packet) => vxlan(packet));
    const gsoBatch = {
      from,
      bytes: new Uint8Array(Buffer.concat(datagrams)),
      size: datagrams[0]!.length,
    };
    const single = { from, bytes: datagrams[0]! };
    for (const gso of [64, 1, 2, 33]) {
      const messages = [...Array(64 - gso).fill(single), ...Array(gso).fill(gsoBatch)];
      const { written, verdicts } = b.receive(messages);
      expect(verdicts).toEqual(Array(64 - gso + gso * 64).fill("delivered"));
      expect(written.length).toBeLessThanOrEqual(64);
      expect(written.flatMap(takeApart)).toHaveLength(verdicts.length);
    }
  });

  it("leaves alone what is no TCP or UDP", () => {
    const packet = ipv4({ src, dst, protocol: 99, payload: new Uint8Array(100) });
    expect(receive([packet, packet])).toEqual([read(packet), read(packet)]);
  });
});

describe("segment, then coalesce", () => {
  /** What one write can hold: plain headers, at most 64 pieces, none of the flags that stand alone. */
  const plain = whole.filter(({ packet, size }) => {
    const { isIPv4, transport, protocol } = partsOf(packet);
    const pieces = (packet.length - headersOf(packet)) / size;
    const flags = packet[transport + 13]!;
    return (
      transport === (isIPv4 ? 20 : 40) &&
      packet.length <= 65535 &&
      pieces > 1 &&
      pieces <= 64 &&
      (protocol === UDP || flags === 0x10 || flags === 0x18)
    );
  });

  it("is the identity, one hop less, for what one write can hold", () => {
    fc.assert(
      fc.property(plain, fc.boolean(), (one, gso) => {
        const packet = Buffer.from(one.packet);
        // Host B is the other end here.
        const toB = { ...one, packet: towards(packet), to: B };
        a.setOffloads(gso, true);
        const { sent } = a.send([readOf(toB)]);
        const { written } = b.receive(
          sent.map(({ bytes, size }) => ({ from: A.endpoint, bytes, ...(size ? { size } : {}) })),
        );
        expect(written).toHaveLength(1);
        expectSame([{ bytes: written[0]!.subarray(10) }], [{ bytes: oneHopLess(toB.packet) }]);
        const header = Buffer.from(written[0]!.subarray(0, 10));
        expect(header.readUInt16LE(4)).toBe(one.size);
      }),
      { seed, numRuns: 150 },
    );
  });

  /** The same packet to a host of B. */
  function towards(packet: Buffer): Uint8Array {
    const { isIPv4, transport, protocol, src } = partsOf(packet);
    const data = packet.subarray(headersOf(packet));
    const [from, to] = [hostOf(A, isIPv4 ? 4 : 6), hostOf(B, isIPv4 ? 4 : 6)];
    expect(src.length).toBe(isIPv4 ? 4 : 16);
    const payload =
      protocol === TCP
        ? tcp(from, to, data, {
            sequence: packet.readUInt32BE(transport + 4),
            flags: packet[transport + 13]!,
            options: packet.subarray(transport + 20, headersOf(packet)),
            partial: true,
          })
        : udp(from, to, data, { partial: true });
    const common = { src: from, dst: to, protocol, payload };
    return isIPv4
      ? ipv4({ ...common, ttl: packet[8]!, tos: packet[1]!, id: packet.readUInt16BE(4) })
      : ipv6({ ...common, hopLimit: packet[7]!, flowLabel: packet.readUInt32BE(0) & 0xfffff });
  }
});
