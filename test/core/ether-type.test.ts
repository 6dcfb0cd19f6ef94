/** The EtherType of an inner frame must agree with the version of the packet in it. */
import { beforeEach, describe, expect, it } from "vitest";
import { ipv4, ipv6, TCP, tcp, UDP, udp, vxlan } from "../packets.js";
import { A, B, C, GSO, Host, hostOf, type Received, read } from "./host.js";

const TYPES = { 4: 0x0800, 6: 0x86dd };
const VLAN = 0x8100;
const SIZE = 1200;

let a: Host;
beforeEach(async () => {
  a = await Host.create({ own: A, peers: [B, C] });
});

const packet = (version: 4 | 6, to = A, bytes = 100): Uint8Array => {
  const [src, dst] = [hostOf(B, version), hostOf(to, version)];
  const payload = udp(src, dst, new Uint8Array(bytes), { partial: bytes > SIZE });
  return (version === 4 ? ipv4 : ipv6)({ src, dst, protocol: UDP, payload });
};

const fromB = (bytes: Uint8Array, size?: number): Received =>
  size === undefined ? { from: B.endpoint, bytes } : { from: B.endpoint, bytes, size };

/** Nothing of it leaves, in either direction. */
function expectDropped(message: Received, reason: string, packets = 1): void {
  const { sent, written, verdicts } = a.receive([message]);
  expect({ sent, written, verdicts }).toEqual({
    sent: [],
    written: [],
    verdicts: Array(packets).fill(reason),
  });
}

describe.each([
  [4, 6],
  [6, 4],
] as const)("an IPv%i packet in a frame of IPv%i", (version, other) => {
  const etherType = TYPES[other];

  it("is dropped, for this node or for another peer", () => {
    expectDropped(fromB(vxlan(packet(version), { etherType })), "bad-header");
    expectDropped(fromB(vxlan(packet(version, C), { etherType })), "bad-header");
    expect(a.counters().in.dropped).toEqual({ "bad-header": 2 });
    expect(a.receive([fromB(vxlan(packet(version)))]).verdicts).toEqual(["delivered"]);
  });

  it("is dropped when it is a whole super-packet", () => {
    const large = packet(version, A, 5000);
    expectDropped(fromB(vxlan(large, { etherType }), SIZE), "bad-header");
    expect(a.receive([fromB(vxlan(large), SIZE)]).verdicts).toEqual(["delivered"]);
  });

  it("is dropped alone when the datagrams around it in its GSO batch are sound", () => {
    const sound = vxlan(packet(version));
    const gsoBatch = Buffer.concat([sound, vxlan(packet(version), { etherType }), sound]);
    const { verdicts } = a.receive([fromB(new Uint8Array(gsoBatch), sound.length)]);
    expect(verdicts).toEqual(["delivered", "bad-header", "delivered"]);
  });

  it("is not believed of its version by the kind of super-packet that the device names", () => {
    const gsoType = version === 4 ? GSO.TCPV6 : GSO.TCPV4;
    const [src, dst] = [hostOf(A, version), hostOf(B, version)];
    const payload = tcp(src, dst, new Uint8Array(100));
    const own = (version === 4 ? ipv4 : ipv6)({ src, dst, protocol: TCP, payload });
    expect(a.send([read(own, { gsoType, gsoSize: 50 })]).verdicts).toEqual(["bad-offload"]);
  });
});

it("a frame of IP whose packet has another version than both is dropped", () => {
  const five = Uint8Array.from([0x55, ...packet(4).subarray(1)]);
  expectDropped(fromB(vxlan(five, { etherType: TYPES[4] })), "bad-header");
});

it("a frame with a VLAN tag is not IP, whatever follows the tag", () => {
  const tagged = Uint8Array.from([0, 1, 0x08, 0, ...packet(4)]);
  expectDropped(fromB(vxlan(tagged, { etherType: VLAN })), "not-ip");
  expectDropped(fromB(vxlan(packet(4), { etherType: VLAN })), "not-ip");
});

it("a frame that ends with its Ethernet header is too short for a packet", () => {
  expectDropped(fromB(vxlan(new Uint8Array(0), { etherType: TYPES[4] })), "truncated");
});
