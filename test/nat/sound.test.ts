/** The checks of checksums in the tests of translation agree with examples of the standards. */
import { describe, expect, it } from "vitest";
import { echo, ICMP, ipv4, UDP, udp } from "../packets.js";
import { crc32c } from "./sctp.js";
import { flawOf } from "./sound.js";
import { packetOf, reverse, SCTP, tupleOf } from "./tuple.js";

const A = "10.244.1.5";
const B = "10.244.2.7";
const datagram = ipv4({ src: A, dst: B, protocol: UDP, payload: udp(A, B, new Uint8Array(9)) });
const flipped = (packet: Uint8Array, at: number) =>
  packet.map((byte, i) => byte ^ Number(i === at));

describe("checksums computed anew", () => {
  it("CRC32c of the standard's check value", () => {
    expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  });

  it("find each flipped bit", () => {
    expect(flawOf(datagram)).toBeUndefined();
    expect(flawOf(flipped(datagram, 12))).toContain("IPv4");
    expect(flawOf(flipped(datagram, 30))).toContain("UDP");
    const chunk = packetOf({ protocol: SCTP, src: A, sport: 1, dst: B, dport: 2 });
    expect(flawOf(chunk)).toBeUndefined();
    expect(flawOf(flipped(chunk, 21))).toContain("CRC32c");
  });

  it("look into what an ICMP error quotes", () => {
    const error = (quoted: Uint8Array) =>
      ipv4({ src: B, dst: A, protocol: ICMP, payload: echo(quoted, { type: 3 }) });
    expect(flawOf(error(datagram))).toBeUndefined();
    expect(flawOf(error(flipped(datagram, 30)))).toContain("quoted packet the UDP");
    expect(flawOf(error(flipped(datagram, 12).subarray(0, 28)))).toContain(
      "quoted packet the IPv4",
    );
  });

  it("take a UDP datagram over IPv4 without one", () => {
    const payload = udp(A, B, new Uint8Array(9), { sum: false });
    expect(flawOf(ipv4({ src: A, dst: B, protocol: UDP, payload }))).toBeUndefined();
  });
});

it.each([1, 6, 17, 58, 132, 47])("packets of protocol %i are made and read back", (protocol) => {
  const isEcho = protocol === 1 || protocol === 58;
  const ports = protocol === 47 ? [0, 0] : isEcho ? [7, -1] : [1000, 2000];
  const [src, dst] = protocol === 58 ? ["fd00:0:0:1::5", "fd00:0:0:2::7"] : [A, B];
  const tuple = { protocol, src: src!, sport: ports[0]!, dst: dst!, dport: ports[1]! };
  for (const one of [tuple, reverse(tuple)]) {
    expect(tupleOf(packetOf(one))).toEqual(one);
    expect(flawOf(packetOf(one))).toBeUndefined();
  }
});
