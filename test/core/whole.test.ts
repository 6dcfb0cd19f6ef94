/** A UDP super-packet inside one datagram: what a Linux VXLAN peer over veth sends. */
import { beforeEach, describe, expect, it } from "vitest";
import { ipv4, ipv6, UDP, udp, vxlan } from "../packets.js";
import { A, B, Host, hostOf, type Received } from "./host.js";
import { segment, takeApart, withChecksums } from "./slow.js";

const SIZE = 1200;

let a: Host;
beforeEach(async () => {
  a = await Host.create({ own: A, peers: [B] });
});

/** From B to A, its checksum left unfinished as the sending kernel leaves it. */
function superPacket(family: 4 | 6, bytes = 5000, partial = true): Uint8Array {
  const [src, dst] = [hostOf(B, family), hostOf(A, family)];
  const data = Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);
  const payload = udp(src, dst, data, { partial });
  return family === 4
    ? ipv4({ src, dst, protocol: UDP, payload })
    : ipv6({ src, dst, protocol: UDP, payload });
}

const message = (packet: Uint8Array): Received => ({
  from: B.endpoint,
  bytes: vxlan(packet),
  size: SIZE,
});

describe.each([4, 6] as const)("an IPv%i super-packet in one datagram", (family) => {
  const packet = superPacket(family);
  const wanted = segment(packet, SIZE);

  it("goes to the device as it came, with the size of what is in it", () => {
    const { written, verdicts } = a.receive([message(packet)]);
    expect(verdicts).toHaveLength(1);
    expect(written).toHaveLength(1);
    expect(takeApart(written[0]!)).toEqual(wanted);
  });

  it("is cut for a device that takes none", () => {
    a.setOffloads(true, false);
    const { written } = a.receive([message(packet)]);
    expect(written.map((bytes) => withChecksums(bytes.subarray(10)))).toEqual(wanted);
    expect(a.counters().in).toMatchObject({ received: 1, delivered: 1, dropped: {} });
  });

  it("is not overtaken by what came after it", () => {
    const single = superPacket(family, 100, false);
    const { written } = a.receive([
      { from: B.endpoint, bytes: vxlan(single) },
      message(packet),
      { from: B.endpoint, bytes: vxlan(single) },
    ]);
    expect(written.flatMap(takeApart)).toEqual([single, ...wanted, single]);
  });

  it("is refused when its checksum is wrong", () => {
    const damaged = Uint8Array.from(superPacket(family, 5000, false));
    damaged[damaged.length - 1]! ^= 1;
    expect(a.receive([message(damaged)]).written).toEqual([]);
    expect(a.counters().in.dropped).toEqual({ "bad-checksum": 1 });
  });

  it("is refused when it would be more packets than one can be", () => {
    const { written } = a.receive([{ ...message(packet), size: 10 }]);
    expect(written).toEqual([]);
    expect(a.counters().in.dropped).toEqual({ "bad-header": 1 });
  });
});

it("goes through in as many passes as the room for headers asks for, and none is lost", () => {
  a.setOffloads(true, false);
  const packet = superPacket(4, 12_800);
  const many = Array.from({ length: 64 }, () => ({ ...message(packet), size: 100 }));
  let passes = 0;
  const { written } = a.receive(many, () => passes++);
  expect(passes).toBeGreaterThan(1);
  const wanted = segment(packet, 100);
  expect(written.map((bytes) => withChecksums(bytes.subarray(10)))).toEqual(
    Array.from({ length: 64 }, () => wanted).flat(),
  );
  expect(a.counters().in).toMatchObject({ received: 64, delivered: 64, dropped: {} });
});
