/** A table of flows that somebody fills: who still gets a place, and who keeps the one he has. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Peer } from "../../src/peer.js";
import { ipv4, random, seedOfRun, TCP, tcp, UDP, udp, vxlan } from "../packets.js";
import { AclHost, type Said } from "./acl-host.js";
import { expectSoundFlows } from "./flow-invariant.js";
import { A, B, C, hostOf } from "./host.js";

const FLOWS = 1024;
const ALLOW: Said[] = [{ action: "allow" }];
const SYN = 2;
const ACK = 16;
const rnd = random(seedOfRun("pressure"));

let node: AclHost;
const setUp = async (flows = FLOWS, inward = ALLOW, out = ALLOW) => {
  node = await AclHost.create({ flows });
  node.rules(out, inward);
};
beforeEach(() => setUp());

/** One end of a conversation with this node: a peer's host, or one of this node's own with a peer's. */
interface Ends {
  readonly src: string;
  readonly dst: string;
  /** Behind which the other end of this node's is. */
  readonly peer: Peer;
  /** Does `src` stand behind the peer? */
  readonly isFromPeer: boolean;
}
const from = (peer: Peer, src = hostOf(peer)): Ends => ({
  src,
  dst: hostOf(A),
  peer,
  isFromPeer: true,
});
const to = (peer: Peer, src = hostOf(A)): Ends => ({
  src,
  dst: hostOf(peer),
  peer,
  isFromPeer: false,
});

/** Those that come from the peer take the wire, the others the device; in one batch. */
function pass({ peer }: Ends, isFromPeer: boolean, packets: readonly Uint8Array[]): string[] {
  if (packets.length === 0) return [];
  if (!isFromPeer) return node.allOut(packets);
  const messages = packets.map((packet) => ({ from: peer.endpoint, bytes: vxlan(packet) }));
  return node.host.receive(messages).verdicts;
}

type Make = (src: string, dst: string, sport: number, dport: number) => Uint8Array;
const there = (ends: Ends, make: Make, sports: readonly number[]) =>
  pass(
    ends,
    ends.isFromPeer,
    sports.map((sport) => make(ends.src, ends.dst, sport, 80)),
  );
const back = (ends: Ends, make: Make, sports: readonly number[]) =>
  pass(
    ends,
    !ends.isFromPeer,
    sports.map((sport) => make(ends.dst, ends.src, 80, sport)),
  );

const datagram: Make = (src, dst, sport, dport) =>
  ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(8), { sport, dport }) });
const segment =
  (flags: number, sequence: number, acknowledgment = 0): Make =>
  (src, dst, sport, dport) => {
    const fields = { sport, dport, flags, sequence, acknowledgment };
    return ipv4({
      src,
      dst,
      protocol: TCP,
      payload: tcp(src, dst, new Uint8Array(0), fields),
    });
  };

/** A question and its answer; what became of the question. */
function exchange(ends: Ends, sport: number): string {
  const [verdict] = there(ends, datagram, [sport]);
  if (verdict === "delivered") back(ends, datagram, [sport]);
  return verdict!;
}
/** Handshakes, side by side; the ports that got through. */
function connect(ends: Ends, sports: readonly number[], between = () => {}): number[] {
  const through = (verdicts: readonly string[], all: readonly number[]) =>
    all.filter((_, i) => verdicts[i] === "delivered");
  let left = through(there(ends, segment(SYN, 100), sports), sports);
  between();
  left = through(back(ends, segment(SYN | ACK, 500, 101), left), left);
  between();
  return through(there(ends, segment(ACK, 101, 501), left), left);
}
const goesOn = (ends: Ends, sports: readonly number[]) =>
  sports.every((sport) => {
    const verdicts = [
      ...back(ends, segment(ACK, 501, 101), [sport]),
      ...there(ends, segment(ACK, 101, 501), [sport]),
    ];
    return verdicts.every((verdict) => verdict === "delivered");
  });
const portsFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => first + i);

const [EARLIER, LATER] = [portsFrom(2000, 50), portsFrom(3000, 50)];
const BETWEEN = 400;

/** Somebody opens exchanges at a high rate, each of which is answered, while others use and open connections. */
function flood(attacker: () => Ends, others: readonly Ends[]) {
  for (const one of others) expect(connect(one, EARLIER)).toEqual(EARLIER);
  const opened = others.map((): number[] => []);
  for (let i = 0; i < BETWEEN * LATER.length; i++) {
    node.setClock(i * 0.05);
    exchange(attacker(), 10_000 + Math.floor(rnd() * 50_000));
    if (i % BETWEEN !== BETWEEN - 1) continue;
    const port = LATER[Math.floor(i / BETWEEN)]!;
    others.forEach((one, k) => {
      // The flood does not stop while hands are shaken.
      opened[k]!.push(
        ...connect(one, [port], () => {
          for (let n = 0; n < 20; n++) exchange(attacker(), 10_000 + Math.floor(rnd() * 50_000));
        }),
      );
    });
  }
  expectSoundFlows(node.host.core);
  others.forEach((one, k) => {
    expect(opened[k]).toEqual(LATER);
    expect(goesOn(one, [...EARLIER, ...LATER])).toBe(true);
  });
}

describe("answered exchanges at a high rate keep no other party out, and drive out no connection", () => {
  it("of a peer, and the flows of its many addresses are one peer's", () => {
    const attacker = () => from(B, `10.244.2.${1 + Math.floor(rnd() * 250)}`);
    flood(attacker, [from(C), to(C)]);
  });

  it("of a peer whose flows no policy is about", async () => {
    await setUp(
      FLOWS,
      [{ action: "allow", protocols: [TCP] }],
      [{ action: "allow", protocols: [TCP] }],
    );
    flood(() => from(B), [from(C), to(C)]);
    expect(node.flows().some(({ verdict }) => verdict === "open")).toBe(true);
  });

  it("of an address of this node: neither other addresses here nor peers", () => {
    flood(() => to(B, "10.244.1.66"), [to(C, "10.244.1.7"), from(C)]);
  });

  it("of this node under many addresses: neither another address here nor a peer", async () => {
    await setUp(4 * FLOWS);
    const attacker = () => to(B, `10.244.1.${100 + Math.floor(rnd() * 150)}`);
    flood(attacker, [to(C, "10.244.1.7"), from(C)]);
  });

  it("and continue themselves: the flow idle longest is evicted", () => {
    for (let i = 0; i < 4000; i++) {
      node.setClock(i);
      expect(exchange(from(B), 10_000 + i)).toBe("delivered");
      // This one is never quiet for long.
      if (i % 50 === 0) expect(exchange(from(B), 9999)).toBe("delivered");
    }
    expect(node.flows().find(({ sport }) => sport === 9999)).toMatchObject({ packets: 80 });
  });
});

describe("a full table", () => {
  it("evicts another party's connection for a party that holds less than half as much", () => {
    const theirs = portsFrom(10_000, 0.6 * FLOWS).filter((port) => connect(from(B), [port])[0]);
    expect(theirs.length).toBeLessThan(FLOWS / 2);
    expect(there(from(B), segment(SYN, 100), portsFrom(40_000, 60))).toContain("flow-table-full");
    const ours = portsFrom(2000, FLOWS / 8);
    for (const port of ours) expect(connect(from(C), [port])).toEqual([port]);
    expect(goesOn(from(C), ours)).toBe(true);
    // The peer with the most connections evicts none of the others.
    const before = node.flows().filter(({ src }) => src === hostOf(C)).length;
    for (const port of portsFrom(50_000, FLOWS / 4)) connect(from(B), [port]);
    expect(node.flows().filter(({ src }) => src === hostOf(C))).toHaveLength(before);
    expectSoundFlows(node.host.core);
  });

  it("is shared with a newcomer among the peers, whoever left before it came", () => {
    const isHeld = (place: number) =>
      node.host.core.view.getUint32(node.host.layout.HELD + place * 4, true) > 0;
    const left = node.host.publisher.placeOf(B.name)!;
    for (const port of portsFrom(2000, 100)) expect(connect(from(B), [port])).toEqual([port]);
    expect(isHeld(left)).toBe(true);
    node.host.setPeers([C, { ...B, name: "d" }]);
    expect(isHeld(node.host.publisher.placeOf("d")!)).toBe(false);
    // When the last connection of the one that left has ended, its place is anybody's again.
    node.setClock(2 * 124 * 60_000);
    node.host.core.exports.expireAll();
    node.host.setPeers([C, { ...B, name: "d" }, { ...A, name: "e", leases: [] }]);
    expect(node.host.publisher.placeOf("e")).toBe(left);
    expectSoundFlows(node.host.core);
  });

  it("of established connections loses few to unanswered SYNs", () => {
    const all = portsFrom(10_000, 0.6 * FLOWS);
    const theirs = all.filter((port) => connect(from(B), [port])[0]);
    for (let i = 0; i < 5 * FLOWS; i++) {
      node.setClock(i / 100);
      there(from(C), segment(SYN, i), [1024 + Math.floor(rnd() * 60_000)]);
    }
    const left = node.flows().filter(({ src }) => src === hostOf(B));
    // A party floods from 9 half-open connections on, in a table this small.
    expect(theirs.length - left.length).toBeLessThan(32);
    expectSoundFlows(node.host.core);
  });

  it("is more than 70 % full when it refuses the first connection", async () => {
    await setUp(65_536);
    let held = 0;
    for (let first = 1024; ; first += 60) {
      const peer = [B, C][(first / 60) & 1]!;
      const ends = from(peer, `10.244.${peer === B ? 2 : 3}.${1 + ((first >> 4) % 250)}`);
      const ports = portsFrom(1024 + (first % 60_000), 60);
      const through = connect(ends, ports);
      held += through.length;
      if (through.length < ports.length) break;
    }
    const load = (2 * held) / 65_536;
    expect(load).toBeGreaterThan(0.7);
    expect(load).toBeLessThan(1);
  });
});
