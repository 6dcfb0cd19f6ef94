/** What is tried of a packet that is longer than any that is sent. */
import { describe, expect, it } from "vitest";
import { Dataplane } from "weft";
import { firstSegment } from "../../src/explain/segment.js";
import { ipv4, ipv6, TCP, tcp, UDP, udp } from "../packets.js";

const MTU = 1450;
const DATA = new Uint8Array(20_000);
const [A, B, A6, B6] = ["10.244.1.5", "10.244.2.5", "fd00:0:0:1::5", "fd00:0:0:2::5"];
const ends4 = { src: A, dst: B };
const ends6 = { src: A6, dst: B6 };

describe.each([
  ["IPv4", (data: Uint8Array) => ipv4({ ...ends4, protocol: TCP, payload: tcp(A, B, data) })],
  ["IPv6", (data: Uint8Array) => ipv6({ ...ends6, protocol: TCP, payload: tcp(A6, B6, data) })],
])("TCP over %s", (_, packetOf) => {
  it("is a segment of the MTU, which goes on", async () => {
    const plane = await Dataplane.create({
      vni: 1,
      mac: "02:00:00:00:00:01",
      mtu: MTU,
      address: "10.244.1.1",
      leases: ["10.244.1.0/24", "fd00:0:0:1::/64"],
      underlay: "192.0.2.1:4789",
    });
    plane.setPeers([
      {
        name: "b",
        endpoint: "192.0.2.2:4789",
        mac: "02:00:00:00:00:02",
        leases: ["10.244.2.0/24", "fd00:0:0:2::/64"],
      },
    ]);
    const segment = firstSegment(packetOf(DATA), MTU);
    expect(segment).toHaveLength(MTU);
    expect(plane.explain({ packet: segment })).toMatchObject({ verdict: "sent" });
    expect(plane.explain({ packet: segment }).datagrams).toHaveLength(1);
  });

  it("that fits is left as it is", () => {
    const packet = packetOf(new Uint8Array(100));
    expect(firstSegment(packet, MTU)).toBe(packet);
  });
});

it("what is no TCP is left as it is", () => {
  const packet = ipv4({ ...ends4, protocol: UDP, payload: udp(A, B, DATA) });
  expect(firstSegment(packet, MTU)).toBe(packet);
});
