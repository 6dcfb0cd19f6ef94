import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane, type Peer, WeftError } from "weft";
import { checksum, echo, ICMP, ipv4, isSound, TCP, tcp, UDP, udp, vxlan } from "../packets.js";

const A = "10.244.1.1";
const B = "10.244.2.1";
const peerB: Peer = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.244.2.0/24"],
};
const fromB = peerB.endpoint;
const data = Uint8Array.from({ length: 100 }, (_, i) => i);
const datagram = (dst = B, src = A, size = 100, more = {}) =>
  ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(size)), ...more });

let dp: Dataplane;
beforeEach(async () => {
  dp = await Dataplane.create({
    vni: 1,
    mac: "02:00:00:00:00:01",
    mtu: 1450,
    address: A,
    leases: ["10.244.1.0/24"],
    underlay: "192.0.2.1:4789",
  });
  dp.setPeers([peerB]);
});

describe("from the device", () => {
  it("wraps a packet in VXLAN for the peer whose lease holds its destination, one hop less", () => {
    const out = dp.fromDevice(datagram());
    expect(out.verdict).toBe("sent");
    expect(out.packets).toEqual([]);
    expect(out.datagrams).toHaveLength(1);
    expect(out.datagrams[0]!.to).toBe("192.0.2.2:4789");
    expect(out.datagrams[0]!.bytes).toEqual(
      vxlan(datagram(B, A, 100, { ttl: 63 }), { dst: "020000000002", src: "020000000001" }),
    );
  });

  it("keeps the header checksum right whatever the TTL was", () => {
    for (let ttl = 2; ttl < 256; ttl++) {
      for (let id = 0; id < 0x10000; id += 0x101) {
        const out = dp.fromDevice(datagram(B, A, 0, { ttl, id }));
        const sent = out.datagrams[0]!.bytes.subarray(22, 42);
        if (checksum(sent) !== 0 || sent[8] !== ttl - 1) expect.fail(`TTL ${ttl}, id ${id}`);
      }
    }
  });

  it("answers TTL 1 with time exceeded, quoting the packet as it came", () => {
    const packet = datagram(B, A, 1000, { ttl: 1 });
    const out = dp.fromDevice(packet);
    expect(out).toMatchObject({ verdict: "answered", reason: "ttl-exceeded", datagrams: [] });
    const answer = out.packets[0]!;
    expect(isSound(answer)).toBe(true);
    expect([...answer.subarray(12, 20)]).toEqual([10, 244, 1, 1, 10, 244, 1, 1]);
    expect([...answer.subarray(20, 22)]).toEqual([11, 0]);
    expect(answer.length).toBe(576);
    expect(answer.subarray(28)).toEqual(packet.subarray(0, 548));
  });

  it("sends a packet of exactly the MTU, and answers one byte more with the MTU in it", () => {
    expect(dp.fromDevice(datagram(B, A, 1450 - 28, { df: true })).verdict).toBe("sent");
    const out = dp.fromDevice(datagram(B, A, 1451 - 28, { df: true }));
    expect(out).toMatchObject({ verdict: "answered", reason: "too-big" });
    const answer = Buffer.from(out.packets[0]!);
    expect([answer[20], answer[21], answer.readUInt16BE(26)]).toEqual([3, 4, 1450]);
    expect(isSound(answer)).toBe(true);
  });

  it("fragments what is too big and may be, so that the pieces make the packet again", () => {
    const options = Uint8Array.from([7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0]);
    const packet = datagram(B, A, 5000, { options });
    const out = dp.fromDevice(packet);
    expect(out.verdict).toBe("sent");
    expect(out.datagrams).toHaveLength(4);
    const payload = Buffer.alloc(packet.length - 32);
    out.datagrams.forEach(({ bytes }, i) => {
      const piece = Buffer.from(bytes.subarray(22));
      expect(piece.length).toBeLessThanOrEqual(1450);
      expect(piece.readUInt16BE(2)).toBe(piece.length);
      expect(checksum(piece.subarray(0, 32))).toBe(0);
      const field = piece.readUInt16BE(6);
      expect(field >> 13).toBe(i < 3 ? 1 : 0);
      // Record route (7) is for the first alone (RFC 791), router alert (0x94) for each (RFC 2113).
      expect([piece[20], piece[28]]).toEqual([i === 0 ? 7 : 1, 0x94]);
      payload.set(piece.subarray(32), (field & 0x1fff) * 8);
    });
    expect(new Uint8Array(payload)).toEqual(packet.subarray(32));
  });

  it("fragments a fragment where it lies in the whole", () => {
    const payload = new Uint8Array(2000).fill(9);
    const out = dp.fromDevice(ipv4({ src: A, dst: B, payload, offset: 100, mf: true }));
    const fields = out.datagrams.map(({ bytes }) => Buffer.from(bytes).readUInt16BE(28));
    expect(fields).toEqual([0x2000 | 100, 0x2000 | (100 + 1424 / 8)]);
  });

  it.each([
    ["no-route", "10.244.9.1", 0],
    ["no-host", "10.244.1.77", 1],
  ])("answers unreachable: %s", (reason, dst, code) => {
    const out = dp.fromDevice(datagram(dst));
    expect(out).toMatchObject({ verdict: "answered", reason });
    expect([...out.packets[0]!.subarray(20, 22)]).toEqual([3, code]);
  });

  it.each([2 ** 32, 2 ** 32 + 1, 2 ** 45])("lets %i milliseconds pass at once", (milliseconds) => {
    const answers = () =>
      Array.from({ length: 1000 }, () => dp.fromDevice(datagram(B, A, 0, { ttl: 1 }))).filter(
        ({ verdict }) => verdict === "answered",
      ).length;
    dp.advance(5);
    dp.fromDevice(datagram());
    expect(dp.flows()).toHaveLength(1);
    const before = answers();
    expect(answers()).toBe(0);
    dp.advance(milliseconds);
    expect(dp.flows()).toEqual([]);
    expect(answers()).toBe(before);
    expect(() => dp.advance(Number.MAX_SAFE_INTEGER)).toThrow(/milliseconds is/);
  });

  it("never answers an ICMP error, nor a later fragment", () => {
    const error = ipv4({
      src: A,
      dst: B,
      protocol: ICMP,
      ttl: 1,
      payload: echo(data, { type: 3 }),
    });
    expect(dp.fromDevice(error)).toMatchObject({ verdict: "dropped", reason: "ttl-exceeded" });
    const later = ipv4({ src: A, dst: B, ttl: 1, offset: 5, payload: data });
    expect(dp.fromDevice(later)).toMatchObject({ verdict: "dropped", reason: "ttl-exceeded" });
    const ping = ipv4({ src: A, dst: B, protocol: ICMP, ttl: 1, payload: echo(data) });
    expect(dp.fromDevice(ping).verdict).toBe("answered");
  });

  it("answers at a bounded rate, and again when time has passed", () => {
    const verdicts = () =>
      Array.from({ length: 250 }, () => dp.fromDevice(datagram(B, A, 0, { ttl: 1 })).verdict);
    expect(verdicts().filter((v) => v === "answered")).toHaveLength(200);
    dp.advance(50);
    expect(verdicts().filter((v) => v === "answered")).toHaveLength(10);
  });

  it.each<[string, Uint8Array]>([
    ["truncated", new Uint8Array(0)],
    ["truncated", datagram().subarray(0, 19)],
    ["truncated", datagram().subarray(0, 100)],
    ["truncated", ipv4({ src: A, dst: B, protocol: TCP, payload: new Uint8Array(19) })],
    ["not-ip", Uint8Array.from([0x50, ...datagram().subarray(1)])],
    ["bad-header", Uint8Array.from([0x44, ...datagram().subarray(1)])],
    ["bad-checksum", Uint8Array.from([...datagram().subarray(0, 8), 5, ...datagram().subarray(9)])],
    ["bad-header", ipv4({ src: A, dst: B, payload: udp(A, B, data).fill(255, 4, 6) })],
    ["bad-header", ipv4({ src: A, dst: B, offset: 8190, payload: data })],
    ["martian-source", datagram(B, "127.0.0.1")],
    ["martian-source", datagram(B, "224.0.0.1")],
    ["martian-destination", datagram("255.255.255.255")],
    ["martian-destination", datagram("224.0.0.251")],
  ])("drops what is not a sound unicast packet: %s", (reason, packet) => {
    expect(dp.fromDevice(packet)).toEqual({
      verdict: "dropped",
      reason,
      datagrams: [],
      packets: [],
    });
  });
});

describe("from the wire", () => {
  const inner = datagram(A, B);

  it("delivers the inner packet of a known peer", () => {
    const out = dp.fromWire(vxlan(inner), fromB);
    expect(out).toEqual({ verdict: "delivered", datagrams: [], packets: [inner] });
  });

  it("ignores reserved bits and Ethernet padding", () => {
    const bytes = vxlan(Uint8Array.from([...inner, 0, 0, 0]), { flags: 0xff });
    bytes[7] = 0xff;
    expect(dp.fromWire(bytes, fromB).packets).toEqual([inner]);
  });

  it.each([
    ["TCP", TCP, tcp],
    ["UDP", UDP, udp],
  ])("finishes a %s checksum that its sender left unfinished", (_, protocol, make) => {
    const packet = (partial: boolean) =>
      ipv4({ src: B, dst: A, protocol, payload: make(B, A, data, { partial }) });
    expect(isSound(packet(true))).toBe(false);
    const out = dp.fromWire(vxlan(packet(true)), fromB);
    expect(out.packets).toEqual([packet(false)]);
  });

  it.each<[string, Uint8Array, string]>([
    ["truncated", vxlan(inner).subarray(0, 21), fromB],
    ["truncated", vxlan(inner).subarray(0, 60), fromB],
    ["truncated", new Uint8Array(0), fromB],
    ["not-vxlan", vxlan(inner, { flags: 0 }), fromB],
    ["wrong-vni", vxlan(inner, { vni: 2 }), fromB],
    ["not-ip", vxlan(inner, { etherType: 0x0806 }), fromB],
    ["unknown-peer", vxlan(inner), "192.0.2.9:4789"],
    ["unknown-peer", vxlan(inner), "192.0.2.2:54321"],
    ["unknown-peer", vxlan(inner), "[2001:db8::1]:4789"],
    ["spoofed-source", vxlan(datagram(A, "10.244.3.1")), fromB],
    ["spoofed-source", vxlan(datagram(A, A)), fromB],
    ["relay-loop", vxlan(datagram(B, B)), fromB],
  ])("drops %s", (reason, bytes, from) => {
    expect(dp.fromWire(bytes, from)).toEqual({
      verdict: "dropped",
      reason,
      datagrams: [],
      packets: [],
    });
  });

  it("takes two peers behind one address, each with its own leases only", () => {
    const peerC = {
      ...peerB,
      name: "c",
      mac: "02:00:00:00:00:03",
      endpoint: "192.0.2.2:4790",
      leases: ["10.244.3.0/24"],
    };
    dp.setPeers([peerB, peerC]);
    const ofC = vxlan(datagram(A, "10.244.3.1"));
    expect(dp.fromWire(ofC, peerC.endpoint).verdict).toBe("delivered");
    expect(dp.fromWire(ofC, fromB).reason).toBe("spoofed-source");
    expect(dp.fromWire(vxlan(inner), peerC.endpoint).reason).toBe("spoofed-source");
    expect(dp.fromDevice(datagram("10.244.3.1")).datagrams[0]!.to).toBe("192.0.2.2:4790");
  });
});

describe("counters", () => {
  it("count every packet once", () => {
    dp.fromDevice(datagram());
    dp.fromDevice(datagram(B, A, 3000));
    dp.fromDevice(datagram(B, A, 0, { ttl: 1 }));
    dp.fromDevice(datagram().subarray(0, 5));
    dp.fromWire(vxlan(datagram(A, B)), fromB);
    dp.fromWire(vxlan(datagram(A, B)), "192.0.2.3:4789");
    expect(dp.counters()).toEqual({
      out: {
        received: 4,
        delivered: 2,
        answered: 1,
        answeredBy: { "ttl-exceeded": 1 },
        dropped: { truncated: 1 },
      },
      in: {
        ...{
          received: 2,
          delivered: 1,
          answered: 0,
          answeredBy: {},
          dropped: { "unknown-peer": 1 },
        },
        ...{ relayed: 0, control: 0, controlDropped: 0, controlDroppedUnknown: 0 },
      },
      rules: [],
    });
    expect(dp.traffic("b")).toEqual({
      sentPackets: 2,
      sentBytes: 128 + 3028,
      receivedPackets: 1,
      receivedBytes: 128,
    });
  });
});

describe("peers and options", () => {
  const refusal = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      if (error instanceof WeftError) return `${error.message}; ${error.remedy}`;
      throw error;
    }
    throw new Error("it was taken");
  };

  it.each<[RegExp, Peer[]]>([
    [/two peers are named "b"/, [peerB, { ...peerB, mac: "02:00:00:00:00:09", leases: [] }]],
    [/same MAC/, [peerB, { ...peerB, name: "c", endpoint: "192.0.2.3:4789", leases: [] }]],
    [/overlaps 10.244.1.0\/24 of this node/, [{ ...peerB, leases: ["10.244.1.128/25"] }]],
    [/overlaps/, [{ ...peerB, leases: ["10.0.0.0/8"] }]],
    [/leading zeros/, [{ ...peerB, leases: ["010.0.0.0/24"] }]],
    [/did you mean 10.244.2.0\/24/, [{ ...peerB, leases: ["10.244.2.1/24"] }]],
    [/not an endpoint/, [{ ...peerB, endpoint: "192.0.2.2" }]],
    [/multicast MAC/, [{ ...peerB, mac: "01:00:00:00:00:02" }]],
  ])("refuses %s, and the peers stay as they were", (words, peers) => {
    expect(refusal(() => dp.setPeers(peers))).toMatch(words);
    expect(dp.fromDevice(datagram()).verdict).toBe("sent");
  });

  it("forgets the peers that are no longer named", () => {
    dp.setPeers([]);
    expect(dp.fromDevice(datagram()).reason).toBe("no-route");
    expect(dp.fromWire(vxlan(datagram(A, B)), fromB).reason).toBe("unknown-peer");
  });

  it.each([
    [{ vni: 0 }],
    [{ vni: 2 ** 24 }],
    [{ mtu: 575 }],
    [{ mtu: 1279, leases: ["fd00::/64"] }],
    [{ mtu: 1e9 }],
    [{ mac: "nonsense" }],
    [{ address: "10.244.1.256" }],
    [{ leases: ["10.244.1.0/33"] }],
    [{ underlay: "192.0.2.1:0" }],
  ])("refuses to be made with %o", async (option) => {
    const options = {
      vni: 1,
      mac: "02:00:00:00:00:01",
      mtu: 1450,
      address: A,
      leases: ["10.244.1.0/24"],
      underlay: "192.0.2.1:4789",
    };
    await expect(Dataplane.create({ ...options, ...option })).rejects.toThrow(WeftError);
  });
});
