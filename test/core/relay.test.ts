/** What came from one peer for another goes on to it, as through a router. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { SEND_BUFFER_FULL } from "../../src/core/reasons.js";
import type { Peer } from "../../src/peer.js";
import {
  echo,
  echo6,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { rounds } from "../rounds.js";
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
import { fragments, SlowRouter } from "./slow-router.js";

const seed = seedOfRun("relay");
const MTU = 1450;

/** A lies behind a NAT, and is a relay for E. */
const NAT = "203.0.113.5:7";
const BEHIND: Peer = { ...A, senders: [A.endpoint, NAT] };
const E: Peer = {
  name: "e",
  endpoint: A.endpoint,
  mac: A.mac,
  leases: ["10.244.5.0/24", "fd00:0:0:5::/64"],
  senders: [A.endpoint, NAT],
};
/** A kernel VXLAN device. */
const KERNEL: Peer = {
  name: "kernel",
  endpoint: "192.0.2.6:4789",
  mac: "02:00:00:00:00:06",
  leases: ["10.244.6.0/24", "fd00:0:0:6::/64"],
  anyPort: true,
};
/** It can be heard, and nothing has answered where it says it is. */
const SILENT: Peer = {
  name: "silent",
  endpoint: "192.0.2.7:4789",
  mac: "02:00:00:00:00:07",
  leases: ["10.244.7.0/24", "fd00:0:0:7::/64"],
  senders: ["192.0.2.7:4790"],
  noPath: true,
};
/** Whom no packet may be for: nobody has it. */
const NOBODY: Peer = { ...C, name: "nobody", leases: ["10.244.9.0/24", "fd00:0:0:9::/64"] };
const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));

describe("a node in the middle", () => {
  const peers = [BEHIND, C, E, KERNEL, SILENT];
  const router = new SlowRouter(B, peers, MTU);
  const anyone = fc.constantFrom(A, B, C, E, KERNEL, SILENT, NOBODY);

  const packet = fc
    .record({
      family: fc.constantFrom<4 | 6>(4, 6),
      from: anyone,
      to: anyone,
      protocol: fc.constantFrom(TCP, UDP, ICMP, 99),
      size: fc.oneof(fc.nat(100), fc.integer({ min: 1380, max: 1460 }), fc.nat(4000)),
      type: fc.constantFrom(0, 3, 8, 11),
      hops: fc.constantFrom(0, 1, 2, 64, 255),
      df: fc.boolean(),
      partial: fc.boolean(),
      offset: fc.constantFrom(0, 0, 0, 90),
      mf: fc.constantFrom(false, false, false, true),
    })
    .map(({ family, from, to, protocol, size, type, hops, ...f }): Uint8Array => {
      const [src, dst] = [hostOf(from, family), hostOf(to, family)];
      const data = bytesOf(size);
      const payload =
        protocol === TCP
          ? tcp(src, dst, data, { partial: f.partial })
          : protocol === UDP
            ? udp(src, dst, data, { partial: f.partial })
            : protocol === ICMP
              ? family === 4
                ? echo(data, { type })
                : echo6(src, dst, data, { type: type === 3 ? 1 : 128 })
              : data;
      if (family === 4) {
        const { df, mf, offset } = f;
        return ipv4({ src, dst, protocol, payload, ttl: hops, df, mf, offset });
      }
      return ipv6({
        src,
        dst,
        protocol: protocol === ICMP ? ICMPV6 : protocol,
        payload,
        hopLimit: hops,
      });
    });
  const sender = fc.constantFrom(
    ...[A.endpoint, C.endpoint, NAT, "192.0.2.7:4790"],
    ...[KERNEL.endpoint, "192.0.2.6:50123"],
    // Other ports of hosts where a peer is.
    ...["192.0.2.1:50000", "203.0.113.5:8", "192.0.2.7:4789", "198.51.100.1:4789"],
  );

  it("does with every packet what its slow twin does", async () => {
    const host = await Host.create({ own: B, peers });
    host.setOffloads(false, false);
    let now = 0;
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(fc.tuple(packet, sender), { minLength: 1, maxLength: 20 }), (given) => {
        // Answers are not to run out of their rate here.
        now += 1000;
        host.core.setClock(now);
        const { sent, written, verdicts } = host.receive(
          given.map(([bytes, from]) => ({ from, bytes: vxlan(bytes) })),
        );
        const wanted = given.map(([bytes, from]) => router.fromWire(bytes, from));
        expect(verdicts).toEqual(wanted.map(({ verdict }) => verdict));
        expect(sent).toEqual(wanted.flatMap((way) => way.sent));
        expect(written.flatMap(takeApart)).toEqual(wanted.flatMap((way) => way.written));
        for (const verdict of verdicts) seen.add(verdict);
      }),
      { seed, numRuns: rounds(300, 3_000) },
    );
    expect([...seen].sort()).toEqual(
      [
        ...["delivered", "no-path", "relay-loop", "spoofed-source", "unknown-peer"],
        ...["no-route", "too-big", "ttl-exceeded"].flatMap((name) => [name, `answered ${name}`]),
      ].sort(),
    );
    const { received, delivered, answered, relayed, dropped } = host.counters().in;
    const drops = Object.values(dropped).reduce((sum, n) => sum + n, 0);
    expect(received).toBe(delivered + answered + drops);
    expect(relayed).toBeGreaterThan(0);
    expect(relayed).toBeLessThan(delivered);
  });

  it("counts what it relayed as come from the one and gone to the other", async () => {
    const host = await Host.create({ own: B, peers });
    const bytes = ipv4({ src: hostOf(A), dst: hostOf(C), protocol: 99, payload: bytesOf(80) });
    host.receive([{ from: A.endpoint, bytes: vxlan(bytes) }]);
    const none = { sentPackets: 0, sentBytes: 0, receivedPackets: 0, receivedBytes: 0 };
    expect(host.publisher.traffic("a")).toEqual({
      ...none,
      receivedPackets: 1,
      receivedBytes: 100,
    });
    expect(host.publisher.traffic("c")).toEqual({ ...none, sentPackets: 1, sentBytes: 100 });
    expect(host.publisher.active()).toEqual(["c"]);
    expect(host.publisher.active()).toEqual([]);
  });

  it("answers no more than two hundred of one source at once", async () => {
    const host = await Host.create({ own: B, peers });
    const late = ipv4({ src: hostOf(A), dst: hostOf(C), protocol: 99, ttl: 1 });
    const many = Array.from({ length: 60 }, () => ({ from: A.endpoint, bytes: vxlan(late) }));
    for (const wanted of [60, 60, 60, 20]) {
      expect(host.receive(many).sent.flatMap(datagramsOf)).toHaveLength(wanted);
    }
    expect(host.counters().in).toMatchObject({
      answered: 200,
      answeredBy: { "ttl-exceeded": 200 },
      dropped: { "ttl-exceeded": 40 },
    });
  });

  it("goes through as often as it takes: no fragment is lost for want of room", async () => {
    const host = await Host.create({ own: B, peers, mtu: 576 });
    const whole = (id: number) =>
      ipv4({ src: hostOf(A), dst: hostOf(C), protocol: 99, id, payload: bytesOf(30_000) });
    const packets = Array.from({ length: 64 }, (_, id) => whole(id));
    let passes = 0;
    const { sent, verdicts } = host.receive(
      packets.map((bytes) => ({ from: A.endpoint, bytes: vxlan(bytes) })),
      () => passes++,
    );
    expect(new Set(verdicts)).toEqual(new Set(["delivered"]));
    const wanted = packets.flatMap((bytes) => fragments(oneHopLess(bytes), 576));
    expect(wanted.length).toBeGreaterThan(host.layout.MAX_SEGMENTS);
    expect(passes).toBeGreaterThan(1);
    expect(sent.flatMap(datagramsOf).map(innerOf)).toEqual(wanted);
  });

  it("keeps packets for others and for itself apart, cut or whole, and loses only what was refused", async () => {
    const host = await Host.create({ own: B, peers });
    host.setOffloads(true, false);
    const cut = (to: Peer): Received => {
      const [src, dst] = [hostOf(A), hostOf(to)];
      const payload = udp(src, dst, bytesOf(1000), { partial: true });
      const bytes = vxlan(ipv4({ src, dst, protocol: UDP, payload }));
      return { from: A.endpoint, bytes, size: 300 };
    };
    const single = (fill: number): Received => {
      const [src, dst] = [hostOf(A), hostOf(C)];
      const payload = udp(src, dst, new Uint8Array(300).fill(fill));
      return { from: A.endpoint, bytes: vxlan(ipv4({ src, dst, protocol: UDP, payload })) };
    };
    const given = [single(1), cut(B), single(2), single(3), cut(C), cut(B), single(4)];
    const pieces = segment(given[1]!.bytes.subarray(22), 300).length;

    const whole = host.receive(given);
    expect(whole.written).toHaveLength(2 * pieces);
    const wanted = [single(1), single(2), single(3), cut(C), single(4)].flatMap(({ bytes, size }) =>
      (size ? segment(bytes.subarray(22), size) : [bytes.subarray(22)]).map(oneHopLess),
    );
    expect(whole.sent.flatMap(datagramsOf).map(innerOf)).toEqual(wanted);
    expect(whole.sent.length).toBeLessThan(wanted.length);

    // The same when the kernel takes no GSO batches, from the second message on.
    const split = host.receive(given, () => host.core.exports.splitGsoBatches(1));
    expect(split.sent.flatMap(datagramsOf).map(innerOf)).toEqual(wanted);

    const failed = host.receive(given, () => host.core.exports.sendFailed(0, SEND_BUFFER_FULL));
    expect(failed.verdicts).toEqual([
      "send-buffer-full",
      ...Array(given.length - 1).fill("delivered"),
    ]);
  });

  it("refuses to cut a super-packet whose checksum is wrong: the pieces would look sound", async () => {
    const host = await Host.create({ own: B, peers });
    const [src, dst] = [hostOf(A), hostOf(C)];
    const bytes = vxlan(ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, bytesOf(1000)) }));
    bytes[bytes.length - 1]! ^= 1;
    const { sent, verdicts } = host.receive([{ from: A.endpoint, bytes, size: 300 }]);
    expect([sent, verdicts]).toEqual([[], ["bad-checksum"]]);
  });

  it("takes the headers of the peer as it is now, whatever it remembers of the flow", async () => {
    const host = await Host.create({ own: B, peers });
    const bytes = vxlan(
      ipv4({
        src: hostOf(A),
        dst: hostOf(C),
        protocol: UDP,
        payload: udp(hostOf(A), hostOf(C), bytesOf(9)),
      }),
    );
    const targets = () => host.receive([{ from: A.endpoint, bytes }]).sent.map(({ to }) => to);
    expect([targets(), targets()]).toEqual([[C.endpoint], [C.endpoint]]);
    host.setPeers([BEHIND, { ...C, endpoint: "192.0.2.77:4789" }]);
    expect(targets()).toEqual(["192.0.2.77:4789"]);
    host.setPeers([BEHIND, { ...C, leases: ["10.244.33.0/24"] }]);
    expect(host.receive([{ from: A.endpoint, bytes }]).verdicts).toEqual(["answered no-route"]);
  });
});

const innerOf = (datagram: Uint8Array): Uint8Array => new Uint8Array(datagram.subarray(22));

describe.each([4, 6] as const)("three nodes in a row, A - B - C, IPv%i", (family) => {
  let [a, b, c]: Host[] = [];
  beforeEach(async () => {
    // A and C do not hear each other: each sees the other at B's address.
    a = await Host.create({ own: A, peers: [B, { ...C, endpoint: B.endpoint, mac: B.mac }] });
    b = await Host.create({ own: B, peers: [A, { ...C, endpoint: "192.0.2.3:4789" }] });
    c = await Host.create({ own: C, peers: [B, { ...A, senders: [B.endpoint] }] });
  });

  const over = (from: string, sent: readonly Sent[]): Received[] =>
    sent.map(({ bytes, size }) => ({ from, bytes, ...(size !== undefined && { size }) }));

  /** All the way: what A sent, what B sent on, what C gave its device. */
  function carry(reads: readonly Uint8Array[]) {
    const first = a!.send(reads);
    expect(new Set(first.sent.map(({ to }) => to))).toEqual(new Set([B.endpoint]));
    const second = b!.receive(over(A.endpoint, first.sent));
    expect(new Set(second.sent.map(({ to }) => to))).toEqual(new Set(["192.0.2.3:4789"]));
    const { written, verdicts } = c!.receive(over(B.endpoint, second.sent));
    expect(new Set(verdicts)).toEqual(new Set(["delivered"]));
    return { first: first.sent, second: second.sent, written };
  }

  const [src, dst] = [hostOf(A, family), hostOf(C, family)];
  const around = (protocol: number, payload: Uint8Array, more = {}) =>
    family === 4
      ? ipv4({ src, dst, protocol, payload, ...more })
      : ipv6({ src, dst, protocol, payload });
  const twoHopsLess = (packet: Uint8Array) => oneHopLess(oneHopLess(packet));

  it("carry 64 KiB of TCP as GSO batches all the way, and it is one write in the end", () => {
    const packet = around(TCP, tcp(src, dst, bytesOf(65_000), { partial: true }), { df: true });
    const size = 1450 - headersOf(packet);
    const wholes = Array.from({ length: 3 }, () =>
      read(packet, {
        flags: NEEDS_CSUM,
        gsoType: family === 4 ? GSO.TCPV4 : GSO.TCPV6,
        headers: headersOf(packet),
        gsoSize: size,
      }),
    );
    const { first, second, written } = carry(wholes);
    expect(second.map(({ bytes, size }) => [bytes.length, size])).toEqual(
      first.map(({ bytes, size }) => [bytes.length, size]),
    );
    const pieces = segment(packet, size);
    const wanted = [...pieces, ...pieces, ...pieces].map(twoHopsLess).map(withoutId);
    expect(written.flatMap(takeApart).map(withoutId)).toEqual(wanted);
    expect(written).toHaveLength(3);
    expect(b!.counters().in).toMatchObject({ relayed: 3 * pieces.length, dropped: {} });
  });

  it("carry UDP, whole or many in one, and every checksum arrives finished", () => {
    const packet = around(UDP, udp(src, dst, bytesOf(9_000), { partial: true }));
    const fields = { flags: NEEDS_CSUM, gsoType: GSO.UDP_L4, headers: headersOf(packet) };
    const { second, written } = carry([read(packet, { ...fields, gsoSize: 1200 })]);
    expect(second).toHaveLength(1);
    expect(written.flatMap(takeApart).map(withoutId)).toEqual(
      segment(packet, 1200).map(twoHopsLess).map(withoutId),
    );
    // From a Linux peer in A's place: unfinished on the first way, finished on the second.
    const small = around(UDP, udp(src, dst, bytesOf(99), { partial: true }));
    expect(isPartial(small)).toBe(true);
    const { sent } = b!.receive([{ from: A.endpoint, bytes: vxlan(small) }]);
    expect(sent.map(({ bytes }) => innerOf(bytes))).toEqual([oneHopLess(withChecksums(small))]);
  });

  it("carry what is larger than a datagram in fragments, or say what fits", () => {
    const packet = around(UDP, udp(src, dst, bytesOf(5_000)));
    if (family === 6) {
      const { verdicts } = a!.send([read(packet)]);
      expect(verdicts).toEqual(["answered too-big"]);
      return;
    }
    const { written } = carry([read(packet)]);
    expect(written.map((bytes) => new Uint8Array(bytes.subarray(10)))).toEqual(
      fragments(packet, MTU).map(twoHopsLess),
    );
  });
});
