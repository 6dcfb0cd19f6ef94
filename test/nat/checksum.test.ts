/** A translated packet is the one that its new ends would have sent: every checksum is that of a full computation. */
import { describe, expect, it } from "vitest";
import { random, seedOfRun, TCP, UDP } from "../packets.js";
import { rounds } from "../rounds.js";
import { NatNode } from "./node.js";
import { tupleTo } from "./site.js";
import { flawOf } from "./sound.js";
import { packetOf, reverse, SCTP, type Tuple, tupleOf } from "./tuple.js";
import { DOCUMENT, GRE, Traffic } from "./world.js";

const PACKETS = rounds(5000, 50_000);

const [SRC, DST] = ["85.85.0.5", "10.244.2.7"];
/** A node whose netmap replaces the word 0x5555 of a source by 0x3285. */
async function exampleNode(): Promise<NatNode> {
  const netmap = [{ from: "85.85.0.0/16", to: "50.133.0.0/16" }];
  return NatNode.create({ netmap }, { leases: ["50.133.0.0/16"] });
}

/** A packet of these ends whose transport checksum is `wanted`, by two bytes of its data. */
function withChecksum(tuple: Tuple, wanted: number): Uint8Array {
  const field = 20 + (tuple.protocol === TCP ? 16 : 6);
  const make = (word: number) =>
    packetOf(tuple, { data: Uint8Array.of(word >> 8, word & 0xff, 1, 2) });
  const read = (packet: Uint8Array) => (packet[field]! << 8) | packet[field + 1]!;
  const sum = (a: number, b: number) => (a + b > 0xffff ? a + b - 0xffff : a + b);
  const zero = read(make(0));
  // The complement of a checksum is a sum, to which the word is added.
  const word = sum(~wanted & 0xffff, zero);
  const packet = make(word);
  expect(read(packet)).toBe(wanted);
  return packet;
}
const checksumOf = (packet: Uint8Array) => {
  const field = 20 + (packet[9] === TCP ? 16 : 6);
  return (packet[field]! << 8) | packet[field + 1]!;
};

describe("the example of RFC 1624, 4: 0xDD2F where 0x5555 becomes 0x3285", () => {
  const tuple = (protocol: number): Tuple => ({
    protocol,
    src: SRC,
    sport: 5000,
    dst: DST,
    dport: 53,
  });

  it("gives a sum of zero, which the core writes as 0xFFFF in TCP as well", async () => {
    const node = await exampleNode();
    const { bytes } = node.out(withChecksum(tuple(TCP), 0xdd2f));
    expect(tupleOf(bytes!).src).toBe("50.133.0.5");
    expect(checksumOf(bytes!)).toBe(0xffff);
    expect(flawOf(bytes!)).toBeUndefined();
  });

  it("which UDP sends as 0xFFFF, because 0 says that there is none", async () => {
    const node = await exampleNode();
    const { bytes } = node.out(withChecksum(tuple(UDP), 0xdd2f));
    expect(checksumOf(bytes!)).toBe(0xffff);
    expect(flawOf(bytes!)).toBeUndefined();
  });

  it("and back", async () => {
    const node = await exampleNode();
    for (const protocol of [TCP, UDP]) {
      const goes = tupleTo("wire", node.out(withChecksum(tuple(protocol), 0xdd2f)));
      const answer = packetOf(reverse(goes), { data: Uint8Array.of(1, 2, 3) });
      const { bytes } = node.in(answer);
      expect(bytes).toEqual(packetOf(reverse(tuple(protocol)), { data: Uint8Array.of(1, 2, 3) }));
    }
  });
});

it("a UDP datagram without a checksum stays without", async () => {
  const node = await NatNode.create(DOCUMENT);
  const service = { protocol: UDP, src: "10.244.1.5", sport: 5000, dst: "10.96.0.12", dport: 443 };
  const { bytes } = node.go(service, { sum: false, data: Uint8Array.of(1, 2, 3) });
  expect(checksumOf(bytes!)).toBe(0);
  const back = node.in(packetOf(reverse(tupleOf(bytes!)), { sum: false }));
  expect(checksumOf(back.bytes!)).toBe(0);
});

it("a wrong checksum stays wrong", async () => {
  const node = await NatNode.create(DOCUMENT);
  const traffic = new Traffic(random(1));
  for (let i = 0; i < 500; i++) {
    const { tuple, from } = traffic.opening();
    if (![TCP, UDP, SCTP].includes(tuple.protocol) || from === "wire") continue;
    const packet = packetOf(tuple, { flags: 2, data: new Uint8Array(10).fill(i) });
    packet[packet.length - 1]! ^= 1 + (i % 255);
    const result = node.out(packet);
    if (!("drop" in result)) expect(flawOf(result.bytes!)).toMatch(/TCP|UDP|CRC32c/);
  }
});

it(`${PACKETS} packets there and back are the same, byte for byte`, {
  timeout: 600_000,
}, async () => {
  const node = await NatNode.create(DOCUMENT);
  const traffic = new Traffic(random(seedOfRun("there and back")));
  let translated = 0;
  for (let i = 0; i < PACKETS; i++) {
    const { tuple, from, opens } = traffic.opening();
    if (!opens) continue;
    const data = new Uint8Array(traffic.below(80)).map(() => traffic.below(256));
    const fields = { data, flags: 2, sequence: traffic.below(2 ** 32) };
    const packet = packetOf(tuple, fields);
    const result = node.send(from, packet);
    if ("drop" in result) continue;
    // As its new ends would have sent it; a hop less, where it was routed.
    const ttl = hopsOf(result.bytes!);
    expect(result.bytes).toEqual(packetOf(result.tuple, { ...fields, ttl }));
    const answer = packetOf(reverse(result.tuple), { ...fields, flags: 18, acknowledgment: 1 });
    const back = node.send(result.to, answer);
    if ("drop" in back) continue;
    const backTtl = hopsOf(back.bytes!);
    const wanted = { ...fields, flags: 18, acknowledgment: 1, ttl: backTtl };
    expect(back.bytes).toEqual(packetOf(reverse(tuple), wanted));
    translated += Number(JSON.stringify(result.tuple) !== JSON.stringify(tuple));
    if (i % 100 === 0) node.dataplane.advance(10_000);
  }
  expect(translated).toBeGreaterThan(PACKETS / 10);
});

const hopsOf = (packet: Uint8Array) => packet[packet[0]! >> 4 === 4 ? 8 : 7]!;

it("a protocol without ports has its addresses replaced, and nothing else", async () => {
  const node = await NatNode.create(DOCUMENT);
  const tuple = { protocol: GRE, src: "10.1.0.5", sport: 0, dst: "10.244.2.7", dport: 0 };
  const data = new Uint8Array(50).map((_, i) => i);
  const { bytes } = node.go(tuple, { data });
  expect(bytes).toEqual(packetOf({ ...tuple, src: "10.244.9.5" }, { data, ttl: 63 }));
});
