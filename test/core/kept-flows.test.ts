/** Connections that one core leaves to another: they go on if the rules of the other allow it. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { parseMac, parsePrefix } from "../../src/address.js";
import { countFlows, type FlowView } from "../../src/core/flows.js";
import {
  adoptFlows,
  FlowCopier,
  hasExpired,
  isMapping,
  type KeptFlows,
  movedPair,
  pairSize,
  pairsIn,
  peersOf,
} from "../../src/core/kept-flows.js";
import { readNat } from "../../src/nat/document.js";
import { natRulesOf } from "../../src/nat/rules.js";
import { echo, ICMP, ipv4, ipv6, random, seedOfRun, TCP, tcp, UDP, udp } from "../packets.js";
import { rounds } from "../rounds.js";
import { AclHost, type Said } from "./acl-host.js";
import { expectSoundFlows } from "./flow-invariant.js";
import { A, B, C, hostOf, MTU } from "./host.js";

const seed = seedOfRun("kept flows");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);

const ALLOW: Said[] = [{ action: "allow" }];
const DENY: Said[] = [{ action: "deny" }];
const [SYN, ACK] = [2, 16];
const MINUTE = 60_000;
/** Where B stands in the tables of `AclHost`. */
const PLACE_OF_B = 2;

interface Segment {
  isOut: boolean;
  flags: number;
  sequence: number;
  acknowledgment?: number;
  sport?: number;
  family?: 4 | 6;
}

function send(to: AclHost, { isOut, sport = 1000, family = 4, ...numbers }: Segment): string {
  const [us, them] = [hostOf(A, family), hostOf(B, family)];
  const [src, dst] = isOut ? [us, them] : [them, us];
  const ports = isOut ? { sport, dport: 80 } : { sport: 80, dport: sport };
  const payload = tcp(src, dst, new Uint8Array(0), { ...numbers, ...ports });
  const packet = (family === 4 ? ipv4 : ipv6)({ src, dst, protocol: TCP, payload });
  return isOut ? to.out(packet) : to.in(packet);
}

function connect(
  host: AclHost,
  { opensHere = true, ...more }: Partial<Segment> & { opensHere?: boolean } = {},
) {
  const verdicts = [
    send(host, { isOut: opensHere, flags: SYN, sequence: 100, ...more }),
    send(host, {
      isOut: !opensHere,
      flags: SYN | ACK,
      sequence: 500,
      acknowledgment: 101,
      ...more,
    }),
    send(host, { isOut: opensHere, flags: ACK, sequence: 101, acknowledgment: 501, ...more }),
  ];
  expect(verdicts).toEqual(["delivered", "delivered", "delivered"]);
}
const next = { isOut: true, flags: ACK, sequence: 101, acknowledgment: 501 };

let one: AclHost;
let other: AclHost;
beforeEach(async () => {
  one = await AclHost.create({ seed: 1n, pickUp: false });
  other = await AclHost.create({ seed: 2n, pickUp: false });
  for (const host of [one, other]) host.rules(ALLOW, ALLOW);
});

const clockOf = ({ host }: AclHost) => host.core.view.getFloat64(host.core.layout.CLOCK, true);
async function left(host: AclHost): Promise<Uint8Array> {
  const { core } = host.host;
  return Buffer.concat(pairsIn(core, await new FlowCopier(core).copy(clockOf(host))));
}

/** As the worker does it. */
function adopt(host: AclHost, kept: KeptFlows): number {
  const { core } = host.host;
  core.exports.beginBatch();
  const adopted = adoptFlows(core, kept);
  core.exports.finishBatch(core.layout.OUT);
  expectSoundFlows(core);
  return adopted;
}

describe.each([4, 6] as const)("a TCP connection of IPv%i", (family) => {
  it.each([true, false])("goes on where it was left, opened here: %s", async (opensHere) => {
    connect(one, { family, opensHere });
    expect(send(other, { ...next, family })).toBe("invalid-state");
    expect(adopt(other, { pairs: await left(one), isExact: true })).toBe(1);
    expect(other.flows()).toMatchObject([
      { direction: opensHere ? "out" : "in", state: "established", packets: 2, replyPackets: 1 },
    ]);
    const isOut = opensHere;
    expect(send(other, { ...next, isOut, family })).toBe("delivered");
    expect(send(other, { ...next, isOut, family, sequence: 10_000_000 })).toBe("invalid-state");
    expectSoundFlows(other.host.core);
  });
});

it("a connection that went on unseen is held against its next segments, not the old ones", async () => {
  connect(one);
  adopt(other, { pairs: await left(one), isExact: false });
  const far = { sequence: 3_000_000_000, acknowledgment: 2_000_000_000 };
  expect(send(other, { ...next, ...far })).toBe("delivered");
  expect(other.flows()).toMatchObject([{ state: "established" }]);
  const reply = { sequence: far.acknowledgment, acknowledgment: far.sequence };
  expect(send(other, { isOut: false, flags: ACK, ...reply })).toBe("delivered");
  for (const [isOut, numbers] of [
    [true, far],
    [false, reply],
  ] as const) {
    const fin = { ...numbers, acknowledgment: numbers.acknowledgment + Number(!isOut) };
    expect(send(other, { isOut, flags: ACK | 1, ...fin })).toBe("delivered");
  }
  const last = { sequence: far.sequence + 1, acknowledgment: far.acknowledgment + 1 };
  expect(send(other, { isOut: true, flags: ACK, ...last })).toBe("delivered");
  expect(other.flows()).toMatchObject([{ state: "time-wait" }]);
});

it("a connection ends with its next packet where the rules deny it by now", async () => {
  connect(one);
  other.rules(DENY, DENY);
  adopt(other, { pairs: await left(one), isExact: true });
  expect(other.flows()).toMatchObject([{ verdict: "allowed" }]);
  expect(send(other, next)).toBe("answered denied-egress");
  expect(other.flows()).toEqual([]);
  expectSoundFlows(other.host.core);
});

it("counts for the peer that opened it, at that peer's position of now", async () => {
  connect(one, { opensHere: false });
  const { core } = other.host;
  const pairs = await left(one);
  expect(peersOf(core, pairs)[0]).toBe(PLACE_OF_B);
  adopt(other, { pairs: movedPair(core, pairs, { peers: [7, 0], elapsed: 0 }), isExact: true });
  expect(core.view.getUint32(core.layout.HELD + 7 * 4, true)).toBe(1);
});

it("ages by the time between the two, and is left out once its timeout has passed", async () => {
  connect(one);
  one.setClock(1_000_000);
  const { core } = other.host;
  const pairs = await left(one);
  other.setClock(5_000_000);
  const after = (elapsed: number) => movedPair(core, pairs, { peers: [PLACE_OF_B, 0], elapsed });
  expect(hasExpired(core, pairs, 0)).toBe(false);
  expect(adopt(other, { pairs: after(125 * MINUTE), isExact: true })).toBe(0);
  expect(adopt(other, { pairs: after(90 * MINUTE), isExact: true })).toBe(1);
  expect(other.flows()[0]!.idleMs).toBe(1_000_000 + 90 * MINUTE);
});

it("is adopted once, and not over one that is there", async () => {
  connect(one);
  const pairs = await left(one);
  expect(adopt(other, { pairs: Buffer.concat([pairs, pairs]), isExact: true })).toBe(1);
  expect(adopt(other, { pairs, isExact: true })).toBe(0);
});

async function manyIn(host: AclHost, count: number): Promise<Uint8Array> {
  const [src, dst] = [hostOf(A), hostOf(B)];
  for (let i = 0; i < count; i++) {
    const sport = below(65536);
    const [protocol, payload] = [
      [UDP, udp(src, dst, new Uint8Array(8), { sport })] as const,
      [TCP, tcp(src, dst, new Uint8Array(0), { sport, flags: SYN })] as const,
      [ICMP, echo(new Uint8Array(8), { id: sport })] as const,
    ][i % 3]!;
    host.out(ipv4({ src, dst, protocol, payload }));
  }
  return await left(host);
}

it("those that find no place in a smaller table are left out", async () => {
  const small = await AclHost.create({ flows: 64 });
  small.rules(ALLOW, ALLOW);
  const pairs = await manyIn(one, 1000);
  const adopted = adopt(small, { pairs, isExact: true });
  expect(adopted).toBeGreaterThan(20);
  expect(small.flows()).toHaveLength(adopted);
});

it("whatever the bytes are, the table stays sound", { timeout: 120_000 }, async () => {
  const pairs = await manyIn(one, 300);
  const size = pairSize(one.host.core);
  const target = await AclHost.create({ flows: 256 });
  target.rules(ALLOW, ALLOW);
  let adopted = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 200 }),
      fc.integer({ min: 0, max: size }),
      fc.boolean(),
      (changes, less, isExact) => {
        const bytes = pairs.slice(0, pairs.length - less);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        adopted += adopt(target, { pairs: bytes, isExact });
        target.setClock(clockOf(target) + 2 ** 31);
        target.host.core.exports.expireAll();
        expect(target.flows()).toEqual([]);
      },
    ),
    { seed, numRuns: rounds(200, 20_000) },
  );
  expect(adopted).toBeGreaterThan(0);
});

describe("a translated connection", () => {
  const OWN = { vni: 1, mac: parseMac(A.mac), mtu: MTU, leases: A.leases.map(parsePrefix) };
  const MEMBERS = new Map([A, B, C].map(({ name, leases }) => [name, leases.map(parsePrefix)]));
  const [inside, outside, far] = ["10.244.1.5", "10.244.1.250", hostOf(B)];

  function translate({ host }: AclHost): void {
    const snat = [{ from: "10.244.1.0/24", to: "10.244.2.0/24", address: outside }];
    const nat = natRulesOf(readNat(JSON.stringify({ snat }), "nat"), MEMBERS, "a", () => true);
    host.publisher.commit(OWN, undefined, { nat });
  }
  const datagram = (src: string, dst: string, sport: number, dport: number) =>
    ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(8), { sport, dport }) });
  const byState = ({ host }: AclHost) => countFlows(host.core);

  it("keeps its outside port, and its mapping lives as long", async () => {
    for (const host of [one, other]) {
      host.rules(ALLOW, DENY);
      translate(host);
    }
    expect(one.out(datagram(inside, far, 5000, 53))).toBe("delivered");
    const [{ onward }] = one.flows() as [FlowView<number>];
    expect(onward).toMatchObject({ src: outside });
    const pairs = await left(one);
    const { core } = other.host;
    const all = slicesOf(pairs, pairSize(core)).sort(
      (a, b) => Number(isMapping(core, b)) - Number(isMapping(core, a)),
    );
    expect(adopt(other, { pairs: Buffer.concat(all), isExact: true })).toBe(2);
    expect(byState(other)).toEqual({ "udp-new": 1, mapping: 1 });

    expect(other.in(datagram(far, outside, 53, onward!.sport))).toBe("delivered");
    expect(other.out(datagram(inside, far, 5000, 53))).toBe("delivered");
    expect(other.out(datagram(inside, far, 5000, 54))).toBe("delivered");
    expect(other.flows().map(({ onward }) => onward!.sport)).toEqual([
      onward!.sport,
      onward!.sport,
    ]);
    other.setClock(6 * MINUTE);
    core.exports.expireAll();
    other.setClock(9 * MINUTE);
    core.exports.expireAll();
    expect(byState(other)).toEqual({});
    expectSoundFlows(core);
  });

  it("ends where the document translates otherwise by now", async () => {
    translate(one);
    expect(one.out(datagram(inside, far, 5000, 53))).toBe("delivered");
    const [{ onward }] = one.flows() as [FlowView<number>];
    adopt(other, { pairs: await left(one), isExact: true });
    other.rules(ALLOW, DENY);
    expect(other.in(datagram(far, outside, 53, onward!.sport))).not.toBe("delivered");
    expectSoundFlows(other.host.core);
  });
});

const slicesOf = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: bytes.length / size }, (_, i) => bytes.slice(i * size, (i + 1) * size));
