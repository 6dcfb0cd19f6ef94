/** IPv6 inside the tunnel, and around it. */
import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane } from "weft";
import {
  authentication,
  type Extension,
  echo6,
  fragmentHeader,
  ICMPV6,
  type Ipv6Fields,
  ip,
  ipv4,
  ipv6,
  isSound,
  optionsHeader,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { A, B, C, hostOf, MTU } from "./host.js";

const a = hostOf(A, 6);
const b = hostOf(B, 6);
const datagram = (dst = b, src = a, size = 100, more: Partial<Ipv6Fields> = {}) =>
  ipv6({ src, dst, payload: udp(src, dst, new Uint8Array(size)), ...more });

let dp: Dataplane;
beforeEach(async () => {
  dp = await Dataplane.create({
    vni: 1,
    mac: A.mac,
    mtu: MTU,
    address: hostOf(A, 4),
    leases: A.leases,
    underlay: A.endpoint,
  });
  dp.setPeers([B, C]);
});

describe("from the device", () => {
  it("wraps a packet in VXLAN with the type of IPv6, one hop less", () => {
    const out = dp.fromDevice(datagram());
    expect(out).toMatchObject({ verdict: "sent", packets: [] });
    expect(out.datagrams).toEqual([
      {
        to: B.endpoint,
        bytes: vxlan(datagram(b, a, 100, { hopLimit: 63 }), {
          dst: "020000000002",
          src: "020000000001",
        }),
        tos: 0,
      },
    ]);
  });

  it("reaches a peer over IPv6, with packets of both families", () => {
    expect(dp.fromDevice(datagram(hostOf(C, 6))).datagrams[0]!.to).toBe(C.endpoint);
    const [src, dst] = [hostOf(A), hostOf(C)];
    const packet = ipv4({ src, dst, payload: udp(src, dst, new Uint8Array(9)) });
    expect(dp.fromDevice(packet).datagrams[0]!.to).toBe(C.endpoint);
  });

  const tooBig = datagram(b, a, MTU - 47);
  it.each<[string, number, number, number, Uint8Array]>([
    ["ttl-exceeded", 3, 0, 0, datagram(b, a, 100, { hopLimit: 1 })],
    ["ttl-exceeded", 3, 0, 0, datagram(b, a, 1400, { hopLimit: 0 })],
    ["no-route", 1, 0, 0, datagram("fd00:0:0:9::1")],
    ["no-host", 1, 3, 0, datagram("fd00:0:0:1::77")],
    ["too-big", 2, 0, MTU, tooBig],
    ["too-big", 2, 0, MTU, datagram(b, a, 60_000)],
  ])("answers %s: type %i, code %i", (reason, type, code, mtu, packet) => {
    const out = dp.fromDevice(packet);
    expect(out).toMatchObject({ verdict: "answered", reason, datagrams: [] });
    const answer = Buffer.from(out.packets[0]!);
    expect(isSound(answer)).toBe(true);
    expect([answer[0]! >> 4, answer[6], answer[40], answer[41]]).toEqual([6, ICMPV6, type, code]);
    expect([answer.subarray(8, 24), answer.subarray(24, 40)]).toEqual(
      [ip(a), ip(a)].map((bytes) => Buffer.from(bytes)),
    );
    expect(answer.readUInt32BE(44)).toBe(mtu);
    // As much of it as fits into the least MTU (RFC 4443, 2.4 c).
    expect(answer.length).toBe(Math.min(1280, 48 + packet.length));
    expect(answer.readUInt16BE(4)).toBe(answer.length - 40);
    expect(answer.subarray(48)).toEqual(Buffer.from(packet.subarray(0, 1232)));
  });

  it("sends a packet of exactly the MTU, and never fragments", () => {
    const out = dp.fromDevice(datagram(b, a, MTU - 48));
    expect([out.verdict, out.datagrams.length]).toEqual(["sent", 1]);
    expect(dp.fromDevice(tooBig).datagrams).toEqual([]);
  });

  it.each<[string, string, Partial<Ipv6Fields>]>([
    [
      "an error",
      "dropped",
      { protocol: ICMPV6, payload: echo6(a, b, new Uint8Array(9), { type: 1 }) },
    ],
    [
      "a redirect",
      "dropped",
      { protocol: ICMPV6, payload: echo6(a, b, new Uint8Array(9), { type: 137 }) },
    ],
    ["a later fragment", "dropped", { extensions: [fragmentHeader(5, false)] }],
    [
      "an error behind options",
      "dropped",
      {
        protocol: ICMPV6,
        extensions: [optionsHeader(60)],
        payload: echo6(a, b, new Uint8Array(9), { type: 3 }),
      },
    ],
    [
      "half an ICMP header",
      "dropped",
      {
        protocol: ICMPV6,
        extensions: [fragmentHeader(0, true)],
        payload: new Uint8Array(0),
      },
    ],
    ["a first fragment", "answered", { extensions: [fragmentHeader(0, true)] }],
    ["an echo request", "answered", { protocol: ICMPV6, payload: echo6(a, b, new Uint8Array(9)) }],
    ["a protocol nobody knows", "answered", { protocol: 253 }],
    ["no next header", "answered", { protocol: 59, payload: new Uint8Array(0) }],
  ])("about %s: %s", (_, verdict, fields) => {
    const packet = datagram(b, a, 100, { ...fields, hopLimit: 1 });
    expect(dp.fromDevice(packet)).toMatchObject({ verdict, reason: "ttl-exceeded" });
  });

  it("does not answer without an address of that family", async () => {
    const only4 = await Dataplane.create({
      vni: 1,
      mac: A.mac,
      mtu: MTU,
      address: hostOf(A),
      leases: [A.leases[0]!],
      underlay: A.endpoint,
    });
    expect(only4.fromDevice(datagram())).toMatchObject({ verdict: "dropped", reason: "no-route" });
  });

  const chain = (count: number, each: () => Extension = () => optionsHeader(60)) =>
    Array.from({ length: count }, each);

  it.each<[string, Extension[]]>([
    ["one of each", [optionsHeader(0), optionsHeader(43, 2), optionsHeader(60), authentication()]],
    ["as many as may be", chain(8)],
    ["a long one", [optionsHeader(0, 100)]],
    ["a fragment header for a whole packet", [fragmentHeader(0, false)]],
  ])("finds the transport header behind extension headers: %s", (_, extensions) => {
    const payload = tcp(a, b, new Uint8Array(0), { flags: 2, options: new Uint8Array(4) });
    const sound = ipv6({ src: a, dst: b, protocol: TCP, extensions, payload });
    expect(dp.fromDevice(sound).verdict).toBe("sent");
    // That it was found shows where it is broken.
    const cut = ipv6({
      src: a,
      dst: b,
      protocol: TCP,
      extensions,
      payload: payload.subarray(0, 19),
    });
    expect(dp.fromDevice(cut).reason).toBe("truncated");
  });

  it.each<[string, Uint8Array]>([
    ["header-chain", datagram(b, a, 9, { extensions: chain(9) })],
    ["header-chain", datagram(b, a, 9, { extensions: chain(150) })],
    [
      "header-chain",
      datagram(b, a, 9, { extensions: [fragmentHeader(0, true), fragmentHeader(0, false)] }),
    ],
    ["truncated", datagram().subarray(0, 39)],
    ["truncated", datagram().subarray(0, 100)],
    ["truncated", ipv6({ src: a, dst: b, protocol: 60, payload: new Uint8Array(7) })],
    [
      "truncated",
      ipv6({ src: a, dst: b, protocol: 60, payload: Uint8Array.of(17, 1, 0, 0, 0, 0, 0, 0) }),
    ],
    [
      "truncated",
      ipv6({ src: a, dst: b, protocol: 51, payload: Uint8Array.of(17, 255, 0, 0, 0, 0, 0, 0) }),
    ],
    ["truncated", ipv6({ src: a, dst: b, protocol: ICMPV6, payload: new Uint8Array(7) })],
    ["truncated", ipv6({ src: a, dst: b, protocol: UDP, payload: new Uint8Array(7) })],
    ["bad-header", datagram(b, a, 9, { payload: udp(a, b, new Uint8Array(9)).fill(255, 4, 6) })],
    ["martian-source", datagram(b, "::")],
    ["martian-source", datagram(b, "::1")],
    ["martian-source", datagram(b, "::ffff:a0a:a0a")],
    ["martian-source", datagram(b, "fe80::1")],
    ["martian-source", datagram(b, "ff02::1")],
    ["martian-destination", datagram("ff02::2")],
    ["martian-destination", datagram("fe80::1")],
    ["martian-destination", datagram("::1")],
  ])("drops what no router forwards: %s", (reason, packet) => {
    expect(dp.fromDevice(packet)).toEqual({
      verdict: "dropped",
      reason,
      datagrams: [],
      packets: [],
    });
  });
});

describe("from the wire", () => {
  const inner = datagram(a, b);
  const fromB = B.endpoint;
  const fromC = C.endpoint;

  it("delivers the inner packet of a known peer, over IPv4 and over IPv6", () => {
    expect(dp.fromWire(vxlan(inner), fromB)).toEqual({
      verdict: "delivered",
      datagrams: [],
      packets: [inner],
    });
    const ofC = datagram(a, hostOf(C, 6));
    expect(dp.fromWire(vxlan(ofC), fromC).packets).toEqual([ofC]);
    const src = hostOf(C);
    const ofC4 = ipv4({ src, dst: hostOf(A), payload: udp(src, hostOf(A), new Uint8Array(9)) });
    expect(dp.fromWire(vxlan(ofC4), fromC).packets).toEqual([ofC4]);
  });

  it("ignores Ethernet padding", () => {
    const padded = vxlan(Uint8Array.from([...inner, 0, 0, 0]));
    expect(dp.fromWire(padded, fromB).packets).toEqual([inner]);
  });

  it.each([
    ["TCP", TCP, tcp],
    ["UDP", UDP, udp],
  ])("finishes a %s checksum that its sender left unfinished", (_, protocol, make) => {
    const packet = (partial: boolean) =>
      ipv6({
        src: b,
        dst: a,
        protocol,
        extensions: [optionsHeader(60)],
        payload: make(b, a, new Uint8Array(99), { partial }),
      });
    expect(isSound(packet(true))).toBe(false);
    expect(dp.fromWire(vxlan(packet(true)), fromB).packets).toEqual([packet(false)]);
  });

  it.each<[string, Uint8Array, string]>([
    ["unknown-peer", inner, "192.0.2.9:4789"],
    ["unknown-peer", inner, "[2001:db8::9]:4789"],
    ["unknown-peer", datagram(a, hostOf(C, 6)), "[2001:db8::3]:54321"],
    // The same last bytes in the other family, and the mapped form of a known peer.
    ["unknown-peer", inner, "[::ffff:c000:202]:4789"],
    ["spoofed-source", inner, fromC],
    ["spoofed-source", datagram(a, hostOf(C, 6)), fromB],
    ["spoofed-source", datagram(a, "fd00:0:0:9::1"), fromB],
    ["spoofed-source", datagram(a, a), fromB],
    ["relay-loop", datagram(b, b), fromB],
    ["martian-source", datagram(a, "fe80::2"), fromB],
    ["header-chain", datagram(a, b, 9, { extensions: Array(9).fill(optionsHeader(60)) }), fromB],
  ])("drops %s", (reason, bytes, from) => {
    expect(dp.fromWire(vxlan(bytes), from)).toEqual({
      verdict: "dropped",
      reason,
      datagrams: [],
      packets: [],
    });
  });

  it("takes many peers at one IPv6 address, each with its own leases only", () => {
    const peers = Array.from({ length: 20 }, (_, i) => ({
      name: `peer${i}`,
      endpoint: `[2001:db8::3]:${4000 + i}`,
      mac: `02:00:00:00:01:${(16 + i).toString(16)}`,
      leases: [`fd00:0:0:${(100 + i).toString(16)}::/64`],
    }));
    dp.setPeers([B, ...peers]);
    for (const [i, { endpoint }] of peers.entries()) {
      const theirs = `fd00:0:0:${(100 + i).toString(16)}::5`;
      expect(dp.fromWire(vxlan(datagram(a, theirs)), endpoint).verdict).toBe("delivered");
      expect(dp.fromWire(vxlan(datagram(a, theirs)), fromB).reason).toBe("spoofed-source");
      expect(dp.fromDevice(datagram(theirs)).datagrams[0]!.to).toBe(endpoint);
    }
    const { endpoint } = peers[0]!;
    expect(dp.fromWire(vxlan(datagram(a, "fd00:0:0:3::1")), endpoint).reason).toBe(
      "spoofed-source",
    );
  });
});

describe("the twin itself", () => {
  it("makes the ICMPv6 checksum that a person adds up", () => {
    // Echo request 0x8000, id 7, sequence 1; ::1 twice, length 8, next header 58: 0x804c in all.
    expect([...echo6("::1", "::1", new Uint8Array(0)).subarray(2, 4)]).toEqual([0x7f, 0xb3]);
  });
});
