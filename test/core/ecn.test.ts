/** Congestion marks and DSCP between outer and inner header: RFC 6040, RFC 2983. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { Peer } from "../../src/peer.js";
import type { Dscp } from "../../src/tos.js";
import { ipv4, ipv6, seedOfRun, TCP, tcp, UDP, udp, vxlan } from "../packets.js";
import { A, B, C, datagramsOf, GSO, Host, hostOf, NEEDS_CSUM, read } from "./host.js";
import { oneHopLess, segment, takeApart, withoutId } from "./slow.js";

const seed = seedOfRun("ecn");

const [NOT_ECT, ECT_0, CE] = [0, 2, 3];
const NAMES = ["Not-ECT", "ECT(1)", "ECT(0)", "CE"];
/** Figure 4 of RFC 6040, by inner and outer header. */
const RFC_6040: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "Not-ECT": { "Not-ECT": "Not-ECT", "ECT(0)": "Not-ECT", "ECT(1)": "Not-ECT", CE: "drop" },
  "ECT(0)": { "Not-ECT": "ECT(0)", "ECT(0)": "ECT(0)", "ECT(1)": "ECT(1)", CE: "CE" },
  "ECT(1)": { "Not-ECT": "ECT(1)", "ECT(0)": "ECT(1)", "ECT(1)": "ECT(1)", CE: "CE" },
  CE: { "Not-ECT": "CE", "ECT(0)": "CE", "ECT(1)": "CE", CE: "CE" },
};
const COMBINATIONS = NAMES.flatMap((inner) =>
  NAMES.map((outer) => ({ inner, outer, becomes: RFC_6040[inner]![outer]! })),
);
const codepoint = (name: string): number => NAMES.indexOf(name);

/** The inner TOS behind the tunnel; nothing when the packet is to be dropped. */
function combined(inner: number, outer: number): number | undefined {
  const name = RFC_6040[NAMES[inner & 3]!]![NAMES[outer & 3]!]!;
  return name === "drop" ? undefined : (inner & 0xfc) | codepoint(name);
}

type Family = 4 | 6;
const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => i & 0xff);

function packet(from: Peer, to: Peer, family: Family, tos: number, size = 100): Uint8Array {
  const [src, dst] = [hostOf(from, family), hostOf(to, family)];
  return around(family, src, dst, UDP, udp(src, dst, bytesOf(size)), tos);
}

const around = (
  family: Family,
  src: string,
  dst: string,
  protocol: number,
  payload: Uint8Array,
  tos: number,
) =>
  family === 4
    ? ipv4({ src, dst, protocol, payload, tos, df: true })
    : ipv6({ src, dst, protocol, payload, trafficClass: tos });

/** Segments of one TCP stream from B to A, in order. */
function stream(family: Family, count: number, tos: (i: number) => number): Uint8Array[] {
  const [src, dst] = [hostOf(B, family), hostOf(A, family)];
  return Array.from({ length: count }, (_, i) => {
    const payload = tcp(src, dst, bytesOf(1000), { sequence: 1000 * i });
    return around(family, src, dst, TCP, payload, tos(i));
  });
}

const families = [4, 6] as const;

describe.each(families)("the way in, IPv%i inside", (family) => {
  let a: Host;
  beforeEach(async () => {
    a = await Host.create({ own: A, peers: [B, C] });
  });

  it.each(COMBINATIONS)("$inner in $outer becomes $becomes", ({ inner, outer, becomes }) => {
    // Over an IPv4 and an IPv6 underlay: the kernel tells the TOS in two ways.
    for (const peer of [B, C]) {
      const given = packet(peer, A, family, 0xb8 | codepoint(inner));
      const message = { from: peer.endpoint, bytes: vxlan(given), tos: codepoint(outer) };
      const { written, verdicts } = a.receive([message]);
      if (becomes === "drop") {
        expect([written, verdicts]).toEqual([[], ["not-ecn-capable"]]);
      } else {
        const wanted = packet(peer, A, family, 0xb8 | codepoint(becomes));
        expect(written.map((bytes) => bytes.subarray(10))).toEqual([wanted]);
      }
    }
  });

  it("leaves the inner DSCP as it is, whatever the outer one", () => {
    const given = packet(B, A, family, 0x28 | ECT_0);
    const { written } = a.receive([{ from: B.endpoint, bytes: vxlan(given), tos: 0xfc | CE }]);
    expect(written[0]!.subarray(10)).toEqual(packet(B, A, family, 0x28 | CE));
  });

  it("marks each datagram of a GRO batch, and gives the stream to the device in one", () => {
    const datagrams = stream(family, 5, () => ECT_0).map((bytes) => vxlan(bytes));
    const bytes = new Uint8Array(Buffer.concat(datagrams));
    const size = datagrams[0]!.length;
    const { written } = a.receive([{ from: B.endpoint, bytes, size, tos: CE }]);
    expect(written).toHaveLength(1);
    expect(takeApart(written[0]!).map(withoutId)).toEqual(
      stream(family, 5, () => CE).map(withoutId),
    );
  });

  it("never joins what was marked to what was not", () => {
    const messages = stream(family, 6, () => ECT_0).map((bytes, i) => ({
      from: B.endpoint,
      bytes: vxlan(bytes),
      tos: i === 2 ? CE : ECT_0,
    }));
    const { written } = a.receive(messages);
    expect(written.map((bytes) => takeApart(bytes).length)).toEqual([2, 1, 3]);
    expect(written.flatMap(takeApart).map(withoutId)).toEqual(
      stream(family, 6, (i) => (i === 2 ? CE : ECT_0)).map(withoutId),
    );
  });

  it.each([true, false])("marks a UDP super-packet, whole or cut (%s)", (join) => {
    a.setOffloads(true, join);
    const [src, dst] = [hostOf(B, family), hostOf(A, family)];
    const payload = udp(src, dst, bytesOf(3000), { partial: true });
    const given = (tos: number) => around(family, src, dst, UDP, payload, tos);
    const { written } = a.receive([
      { from: B.endpoint, bytes: vxlan(given(ECT_0)), size: 1200, tos: CE },
    ]);
    expect(written).toHaveLength(join ? 1 : 3);
    expect(written.flatMap(takeApart).map(withoutId)).toEqual(
      segment(given(CE), 1200).map(withoutId),
    );
  });

  it("keeps an unmarked packet as it came where the kernel tells no TOS", () => {
    const given = packet(B, A, family, CE);
    const { written } = a.receive([{ from: B.endpoint, bytes: vxlan(given) }]);
    expect(written[0]!.subarray(10)).toEqual(given);
  });

  it("tells of a stranger's or a forged packet before it tells of its mark", () => {
    const marked = { bytes: vxlan(packet(B, A, family, NOT_ECT)), tos: CE };
    expect(a.receive([{ ...marked, from: C.endpoint }]).verdicts).toEqual(["spoofed-source"]);
    expect(a.receive([{ ...marked, from: "203.0.113.9:1" }]).verdicts).toEqual(["unknown-peer"]);
  });
});

describe.each(families)("the way out, IPv%i inside", (family) => {
  const able = (peer: Peer): Peer => ({ ...peer, ecn: true });
  const ends = [B, C];

  it.each(NAMES)("copies %s to a peer that combines it (normal mode)", async (name) => {
    const a = await Host.create({ own: A, peers: ends.map(able) });
    for (const peer of ends) {
      const { sent } = a.send([read(packet(A, peer, family, 0xb8 | codepoint(name)))]);
      expect(sent.map(({ tos = 0 }) => tos)).toEqual([codepoint(name)]);
    }
  });

  it.each(NAMES)(
    "hides %s from a peer that would lose a mark (compatibility mode)",
    async (name) => {
      const a = await Host.create({ own: A, peers: ends });
      for (const peer of ends) {
        const given = packet(A, peer, family, codepoint(name));
        const { sent } = a.send([read(given)]);
        expect(sent.map(({ tos = 0 }) => tos)).toEqual([NOT_ECT]);
        expect(sent[0]!.bytes.subarray(22)).toEqual(oneHopLess(given));
      }
    },
  );

  it("gives a GSO batch one TOS: another one begins another batch", async () => {
    const a = await Host.create({ own: A, peers: [able(B)] });
    const marks = [ECT_0, ECT_0, CE, CE, ECT_0, NOT_ECT, NOT_ECT];
    const { sent } = a.send(marks.map((tos) => read(packet(A, B, family, tos))));
    expect(sent.map((message) => [datagramsOf(message).length, message.tos ?? 0])).toEqual([
      [2, ECT_0],
      [2, CE],
      [1, ECT_0],
      [2, NOT_ECT],
    ]);
  });

  it("keeps the TOS of a batch that the kernel refuses, datagram by datagram", async () => {
    const a = await Host.create({ own: A, peers: [able(B)] });
    const marks = [NOT_ECT, ECT_0, ECT_0, ECT_0, CE, CE, NOT_ECT];
    const reads = marks.map((tos) => read(packet(A, B, family, tos)));
    const { sent } = a.send(reads, () => a.core.exports.splitGsoBatches(0));
    expect(sent.map(({ tos = 0, size }) => [tos, size])).toEqual(
      marks.map((tos) => [tos, undefined]),
    );
  });

  it("gives every segment of a super-packet its TOS", async () => {
    const a = await Host.create({ own: A, peers: [able(B)] });
    const [src, dst] = [hostOf(A, family), hostOf(B, family)];
    const payload = tcp(src, dst, bytesOf(5000), { partial: true });
    const { sent } = a.send([
      read(around(family, src, dst, TCP, payload, ECT_0), {
        flags: NEEDS_CSUM,
        gsoType: family === 4 ? GSO.TCPV4 : GSO.TCPV6,
        gsoSize: 1000,
        start: family === 4 ? 20 : 40,
        offset: 16,
      }),
    ]);
    expect(sent.map((message) => [datagramsOf(message).length, message.tos])).toEqual([[5, ECT_0]]);
  });

  it.each<[Dscp, number]>([
    [0, 0],
    [46, 46],
    ["inherit", 10],
  ])("sends DSCP %s as it is told", async (dscp, wanted) => {
    const a = await Host.create({ own: A, peers: [able(B), C], dscp });
    for (const [peer, ecn] of [
      [B, ECT_0],
      [C, NOT_ECT],
    ] as const) {
      const { sent } = a.send([read(packet(A, peer, family, (10 << 2) | ECT_0))]);
      expect(sent.map(({ tos = 0 }) => tos)).toEqual([(wanted << 2) | ecn]);
    }
  });
});

describe("a relay", () => {
  const tos = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 255 }));

  it("carries marks from the tunnel before it to the one after it, by the RFC's table", async () => {
    const hosts = new Map<string, Host>();
    for (const ecn of [true, false]) {
      for (const dscp of [0, 8, "inherit"] as const) {
        const peers = [A, { ...C, ecn }];
        hosts.set(`${ecn} ${dscp}`, await Host.create({ own: B, peers, dscp }));
      }
    }
    const property = fc.property(
      fc.array(fc.record({ inner: tos, outer: tos }), { minLength: 1, maxLength: 8 }),
      fc.constantFrom(...families),
      fc.constantFrom(true, false),
      fc.constantFrom<Dscp>(0, 8, "inherit"),
      (marks, family, ecn, dscp) => {
        const host = hosts.get(`${ecn} ${dscp}`)!;
        const { sent, verdicts } = host.receive(
          marks.map(({ inner, outer }) => ({
            from: A.endpoint,
            bytes: vxlan(packet(A, C, family, inner)),
            tos: outer,
          })),
        );
        const inside = marks.map(({ inner, outer }) => combined(inner, outer));
        expect(verdicts).toEqual(
          inside.map((it) => (it === undefined ? "not-ecn-capable" : "delivered")),
        );
        const went = sent.flatMap((message) =>
          datagramsOf(message).map((bytes) => ({ tos: message.tos ?? 0, bytes })),
        );
        expect(went.map((one) => [one.tos, one.bytes.subarray(22)])).toEqual(
          inside.flatMap((it) => {
            if (it === undefined) return [];
            const outerDscp = dscp === "inherit" ? it & 0xfc : dscp << 2;
            const outer = outerDscp | (ecn ? it & 3 : NOT_ECT);
            return [[outer, oneHopLess(packet(A, C, family, it))]];
          }),
        );
      },
    );
    fc.assert(property, { seed, numRuns: 500 });
  });

  it("sends an ICMP error back without ECN, in the DSCP it is told", async () => {
    const b = await Host.create({ own: B, peers: [{ ...A, ecn: true }, C], dscp: "inherit" });
    const late = ipv4({ src: hostOf(A), dst: hostOf(C), protocol: 99, ttl: 1, tos: ECT_0 });
    const { sent, verdicts } = b.receive([{ from: A.endpoint, bytes: vxlan(late), tos: CE }]);
    expect(verdicts).toEqual(["answered ttl-exceeded"]);
    // "Internetwork control" (RFC 1812, 4.3.2.5).
    expect(sent.map((message) => [message.tos, message.bytes[23]])).toEqual([[0xc0, 0xc0]]);
  });
});
