/** What a policy let pass once it lets pass on: replies, errors about it, fragments, and nothing else. */
import { beforeEach, describe, expect, it } from "vitest";
import { parsePrefix } from "../../src/address.js";
import { countFlows } from "../../src/core/flows.js";
import {
  echo,
  fragmentHeader,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  optionsHeader,
  random,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
} from "../packets.js";
import { AclHost, type Said } from "./acl-host.js";
import { expectSoundFlows } from "./flow-invariant.js";
import { A, B, hostOf } from "./host.js";

const US = hostOf(A);
const THEM = hostOf(B);
const MINUTE = 60_000;
const ALLOW: Said[] = [{ action: "allow" }];
const DENY: Said[] = [{ action: "deny" }];
const bytes = (n: number) => new Uint8Array(n);

let node: AclHost;
beforeEach(async () => {
  node = await AclHost.create();
  node.rules(ALLOW, DENY);
});

interface Fields {
  family?: 4 | 6;
  sport?: number;
  dport?: number;
  flags?: number;
  sequence?: number;
  acknowledgment?: number;
}
const SYN = 2;
const RST = 4;
const ACK = 16;

function packet(isOut: boolean, protocol: number, fields: Fields = {}, size = 8): Uint8Array {
  const { family = 4 } = fields;
  const [us, them] = [hostOf(A, family), hostOf(B, family)];
  const [src, dst] = isOut ? [us, them] : [them, us];
  const ports = { sport: fields.sport ?? 1000, dport: fields.dport ?? 80 };
  const given = isOut ? ports : { sport: ports.dport, dport: ports.sport };
  const payload =
    protocol === TCP
      ? tcp(src, dst, bytes(size), { ...fields, ...given })
      : udp(src, dst, bytes(size), given);
  return (family === 4 ? ipv4 : ipv6)({ src, dst, protocol, payload });
}
const udpOut = (fields?: Fields) => node.out(packet(true, UDP, fields));
const udpIn = (fields?: Fields) => node.in(packet(false, UDP, fields));
const tcpOut = (flags: number, sequence: number, acknowledgment = 0, sport = 1000) =>
  node.out(packet(true, TCP, { flags, sequence, acknowledgment, sport }, 0));
const tcpIn = (flags: number, sequence: number, acknowledgment = 0, sport = 1000) =>
  node.in(packet(false, TCP, { flags, sequence, acknowledgment, sport }, 0));

function connect(sport = 1000): void {
  expect(tcpOut(SYN, 100, 0, sport)).toBe("delivered");
  expect(tcpIn(SYN | ACK, 500, 101, sport)).toBe("delivered");
  expect(tcpOut(ACK, 101, 501, sport)).toBe("delivered");
}

describe.each([4, 6] as const)("IPv%i", (family) => {
  it("a reply passes, what looks like one of another connection does not", () => {
    expect(udpIn({ family })).toBe("answered denied-ingress");
    expect(udpOut({ family })).toBe("delivered");
    expect(udpIn({ family })).toBe("delivered");
    expect(udpIn({ family, dport: 81 })).toBe("answered denied-ingress");
    expect(node.flows()).toMatchObject([
      { direction: "out", protocol: "udp", sport: 1000, dport: 80, state: "udp-replied" },
    ]);
    expect(node.flows()[0]).toMatchObject({ verdict: "allowed", packets: 1, replyPackets: 1 });
  });

  it("a reply does not pass any more when its connection expired", () => {
    udpOut({ family });
    node.setClock(5 * MINUTE);
    expect(udpIn({ family })).toBe("delivered");
    node.setClock(10 * MINUTE + 1);
    expect(udpIn({ family })).toBe("answered denied-ingress");
    expect(node.flows()).toEqual([]);
  });

  it("new rules cut what they deny, in both directions, and spare the rest", () => {
    udpOut({ family });
    udpOut({ family, dport: 81 });
    const is80 = { from: 80, to: 80 };
    node.rules([{ action: "deny", destinationPorts: [is80] }, ...ALLOW], DENY);
    expect(udpIn({ family })).toBe("answered denied-egress");
    expect(udpIn({ family })).toBe("answered denied-ingress");
    expect(udpIn({ family, dport: 81 })).toBe("delivered");
    expect(udpOut({ family, dport: 81 })).toBe("delivered");
    expect(node.flows()).toMatchObject([{ dport: 81, packets: 2, replyPackets: 1 }]);
  });

  it("an error about a connection passes, any other is subject to the rules", () => {
    const [us, them] = [hostOf(A, family), hostOf(B, family)];
    const about = (quoted: Uint8Array) => {
      const payload = echo(quoted, { type: family === 4 ? 3 : 1 });
      const protocol = family === 4 ? ICMP : ICMPV6;
      return node.in((family === 4 ? ipv4 : ipv6)({ src: them, dst: us, protocol, payload }));
    };
    const ours = packet(true, UDP, { family });
    expect(about(ours)).toBe("denied-ingress");
    expect(node.out(ours)).toBe("delivered");
    expect(about(ours.subarray(0, ours.length - 8))).toBe("delivered");
    expect(about(packet(true, UDP, { family, dport: 81 }))).toBe("denied-ingress");
    expect(about(packet(false, UDP, { family }))).toBe("denied-ingress");
    expect(about(ours.subarray(0, 10))).toBe("denied-ingress");
  });
});

describe("TCP", () => {
  it("goes through its states", () => {
    const states: (string | undefined)[] = [];
    const note = () => states.push(node.flows()[0]?.state);
    tcpOut(SYN, 100);
    note();
    tcpIn(SYN | ACK, 500, 101);
    note();
    tcpOut(ACK, 101, 501);
    note();
    tcpOut(ACK | 1, 101, 501);
    note();
    tcpIn(ACK, 501, 102);
    tcpIn(ACK | 1, 501, 102);
    note();
    tcpOut(ACK, 102, 502);
    note();
    expect(states).toEqual([
      "syn-sent",
      "syn-received",
      "established",
      "half-closed",
      "closing",
      "time-wait",
    ]);
    expect(countFlows(node.host.core)).toEqual({ "time-wait": 1 });
    // The same ports again, before the time is over.
    expect(tcpOut(SYN, 9000)).toBe("delivered");
    expect(node.flows()).toMatchObject([{ state: "syn-sent", packets: 1 }]);
    // From the other side it is another connection, which nobody allowed.
    tcpIn(RST | ACK, 0, 9001);
    expect(node.flows()).toMatchObject([{ state: "reset" }]);
    expect(tcpIn(SYN, 70_000)).toBe("answered denied-ingress");
  });

  it("a reset must be where the receiver waits, or nearly", () => {
    connect();
    expect(tcpIn(RST, 501 + 70_000, 0)).toBe("invalid-state");
    expect(tcpIn(RST, 510, 0)).toBe("delivered");
    expect(node.flows()[0]!.state).toBe("established");
    expect(tcpIn(RST, 501, 0)).toBe("delivered");
    expect(node.flows()[0]!.state).toBe("reset");
  });

  it("an end that accepts data with a SYN acknowledges it before the handshake is over (RFC 7413)", () => {
    const answer = (from: number) =>
      packet(false, TCP, { flags: ACK, sequence: from, acknowledgment: 151 }, 1000);
    expect(node.out(packet(true, TCP, { flags: SYN, sequence: 100 }, 50))).toBe("delivered");
    expect(tcpIn(SYN | ACK, 500, 151)).toBe("delivered");
    allDelivered(...node.allIn([answer(501), answer(1501), answer(2501)]));
    // The window in the SYN is 65,535 bytes.
    expect(node.in(answer(501 + 65_536))).toBe("invalid-state");
    expect(tcpOut(ACK, 151, 3501)).toBe("delivered");
    expect(node.flows()[0]!.state).toBe("established");
  });

  it("is taken up in its middle, or not, as was said", async () => {
    expect(tcpOut(ACK, 101, 501)).toBe("delivered");
    expect(tcpIn(ACK, 501, 101)).toBe("delivered");
    expect(node.flows()[0]!.state).toBe("established");
    node = await AclHost.create({ pickUp: false });
    node.rules(ALLOW, DENY);
    expect(tcpOut(ACK, 101, 501)).toBe("invalid-state");
    connect();
  });

  it("without a policy is followed and never dropped for its state", () => {
    node.rules([], []);
    connect();
    expect(tcpIn(RST, 70_000_000, 0)).toBe("delivered");
    expect(node.flows()).toMatchObject([{ state: "established", verdict: "open" }]);
    node.rules(ALLOW, DENY);
    expect(tcpIn(RST, 70_000_000, 0)).toBe("invalid-state");
    expect(tcpIn(ACK, 501, 101)).toBe("delivered");
  });
});

describe.each([4, 6] as const)("a SYN in a connection that is under way, IPv%i", (family) => {
  /** The end that opened the connection: this node's or the peer's. */
  describe.each(["out", "in"] as const)("opened %s", (way) => {
    const segmentOf = (isClient: boolean, flags: number, sequence: number, acknowledgment = 0) => {
      const isOut = isClient === (way === "out");
      const ports = isClient === isOut ? {} : { sport: 80, dport: 1000 };
      const ends = way === "out" ? {} : { sport: 80, dport: 1000 };
      const fields = { family, flags, sequence, acknowledgment, ...ends, ...ports };
      return packet(isOut, TCP, fields, 0);
    };
    const send = (isClient: boolean, flags: number, sequence: number, ack = 0) => {
      const bytes = segmentOf(isClient, flags, sequence, ack);
      return isClient === (way === "out") ? node.out(bytes) : node.in(bytes);
    };
    const client = (flags: number, sequence: number, ack = 0) => send(true, flags, sequence, ack);
    const server = (flags: number, sequence: number, ack = 0) => send(false, flags, sequence, ack);
    const state = () => node.flows()[0]?.state;
    const allPass = (...verdicts: string[]) =>
      expect(verdicts).toEqual(verdicts.map(() => "delivered"));

    beforeEach(() => {
      node.rules(way === "out" ? ALLOW : DENY, way === "out" ? DENY : ALLOW);
      allPass(client(SYN, 100), server(SYN | ACK, 500, 101), client(ACK, 101, 501));
    });
    const UNDER_WAY = {
      established: () => {},
      "half-closed": () => allPass(client(ACK | 1, 101, 501), server(ACK, 501, 102)),
      closing: () => allPass(client(ACK | 1, 101, 501), server(ACK | 1, 501, 101)),
    };
    const NEW = 2_000_000_000;

    describe.each(Object.entries(UNDER_WAY))("%s", (name, reach) => {
      beforeEach(() => {
        reach();
        expect(state()).toBe(name);
      });

      it("changes nothing by itself, however often it comes", () => {
        for (let i = 0; i < 10; i++) expect(client(SYN, NEW + i * 1000)).toBe("delivered");
        for (let i = 0; i < 10; i++) expect(server(SYN, NEW + i * 1000)).toBe("delivered");
        expect(state()).toBe(name);
        // Nothing that a stranger says to it opens or closes: he would have to be the other end.
        expect(client(ACK, NEW + 9001, 501)).toBe("invalid-state");
        expect(server(RST | ACK, 3_000_000_000, NEW + 1)).toBe("invalid-state");
        allPass(server(ACK, 501, 101), client(ACK, 101, 501));
        expect(state()).toBe(name);
      });

      it("opens a new connection when the other end answers it, and only then", () => {
        expect(client(SYN, NEW)).toBe("delivered");
        allPass(server(ACK, 501, 101));
        expect(server(SYN | ACK, 7_000_000, NEW + 1)).toBe("delivered");
        expect(state()).toBe("syn-received");
        expect(client(ACK, NEW + 1, 7_000_001)).toBe("delivered");
        expect(state()).toBe("established");
        allPass(server(ACK, 7_000_001, NEW + 1), client(ACK, NEW + 1, 7_000_001));
        // The earlier connection is over.
        expect(client(ACK, 101, 501)).toBe("invalid-state");
        expect(server(ACK, 501, 101)).toBe("invalid-state");
      });

      it("ends the connection when the other end resets it", () => {
        expect(client(SYN, NEW)).toBe("delivered");
        expect(server(RST | ACK, 0, NEW + 1)).toBe("delivered");
        expect(state()).toBe("reset");
        allPass(client(SYN, NEW + 1000), server(SYN | ACK, 9000, NEW + 1001));
        allPass(client(ACK, NEW + 1001, 9001));
        expect(state()).toBe("established");
      });

      it("that gets a challenge ACK ends the old connection, and is repeated (RFC 5961, 4)", () => {
        expect(client(SYN, NEW)).toBe("delivered");
        const next = name === "closing" ? 502 : 501;
        const awaited = name === "half-closed" ? 102 : 101;
        allPass(server(ACK, next, awaited), client(RST, awaited));
        expect(state()).toBe("reset");
        allPass(client(SYN, NEW));
        allPass(server(SYN | ACK, 9000, NEW + 1), client(ACK, NEW + 1, 9001));
        expect(state()).toBe("established");
      });

      it("of the end that did not open it is subject to that end's rules once it is answered", () => {
        expect(server(SYN, NEW)).toBe("delivered");
        expect(client(SYN | ACK, 9000, NEW + 1)).toBe("delivered");
        const denied = way === "out" ? "answered denied-ingress" : "answered denied-egress";
        expect(server(ACK, NEW + 1, 9001)).toBe(denied);
        expect(node.flows()).toEqual([]);
      });

      it("of the end that did not open it: what is denied leaves no packet of its batch without a record", () => {
        expect(server(SYN, NEW)).toBe("delivered");
        // An error about the connection is judged, and denied, between two segments of it.
        const [us, them] = [hostOf(A, family), hostOf(B, family)];
        const [src, dst] = way === "out" ? [us, them] : [them, us];
        const error = (family === 4 ? ipv4 : ipv6)({
          src,
          dst,
          protocol: family === 4 ? ICMP : ICMPV6,
          payload: echo(segmentOf(false, ACK, NEW + 1, 9001), { type: family === 4 ? 3 : 1 }),
        });
        const batch = [
          segmentOf(true, SYN | ACK, 9000, NEW + 1),
          error,
          segmentOf(true, ACK | 1, 9001, NEW + 1),
        ];
        const denied = way === "out" ? "denied-ingress" : "denied-egress";
        const verdicts = way === "out" ? node.allOut(batch) : node.allIn(batch);
        expect(verdicts).toEqual(["delivered", denied, "delivered"]);
        expectSoundFlows(node.host.core);
        expect(server(ACK, NEW + 1, 9001)).toBe(`answered ${denied}`);
        expect(node.flows()).toEqual([]);
        expectSoundFlows(node.host.core);
      });

      it("of the end that did not open it opens it where that end may", () => {
        node.rules(ALLOW, ALLOW);
        allPass(server(SYN, NEW), client(SYN | ACK, 9000, NEW + 1), server(ACK, NEW + 1, 9001));
        expect(node.flows()).toMatchObject([
          { state: "established", direction: way === "out" ? "in" : "out" },
        ]);
        expectSoundFlows(node.host.core);
      });
    });

    it("that is repeated in another's place is not taken for the answer to a new one", () => {
      // Delayed copies of the SYN and of its answer, while data is under way.
      allPass(send(true, ACK, 1101, 501));
      allPass(client(SYN, 100), server(SYN | ACK, 500, 101), server(ACK, 501, 1101));
      expect(state()).toBe("established");
    });
  });

  it("SYN-ACKs of two numbers: the one that is acknowledged counts", () => {
    for (const taken of [500, 9_000_000]) {
      const sport = taken % 60_000;
      allDelivered(tcpOut(SYN, 100, 0, sport), tcpIn(SYN | ACK, 500, 101, sport));
      allDelivered(tcpIn(SYN | ACK, 9_000_000, 101, sport));
      // A guess at what the opener sent is none of them.
      allDelivered(tcpIn(SYN | ACK, 77, 5000, sport));
      expect(tcpOut(ACK, 101, 78, sport)).toBe("invalid-state");
      allDelivered(tcpOut(ACK, 101, taken + 1, sport), tcpIn(ACK, taken + 1, 101, sport));
    }
  });
});

const allDelivered = (...verdicts: string[]) =>
  expect(verdicts).toEqual(verdicts.map(() => "delivered"));

describe("fragments", () => {
  const whole = udp(US, THEM, bytes(4000), { sport: 1000, dport: 80 });
  const piece = (
    from: number,
    to: number,
    more = to < whole.length,
    id = 77,
    src = US,
    dst = THEM,
  ) =>
    ipv4({
      src,
      dst,
      protocol: UDP,
      id,
      mf: more,
      offset: from / 8,
      payload: whole.subarray(from, to),
    });
  const ONLY_80: Said[] = [
    { action: "allow", protocols: [UDP], destinationPorts: [{ from: 80, to: 80 }] },
    { action: "deny" },
  ];

  it("later ones go as the first did", () => {
    node.rules(ONLY_80, []);
    expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
    expect(node.out(piece(0, 800))).toBe("delivered");
    expect(node.out(piece(1600, 4008))).toBe("delivered");
    expect(node.out(piece(800, 1600))).toBe("delivered");
    expect(node.out(piece(800, 1600, true, 78))).toBe("fragment-before-first");
    node.setClock(MINUTE + 1);
    expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
  });

  it("later ones of a denied first are denied", () => {
    node.rules([{ action: "deny", destinationPorts: [{ from: 80, to: 80 }] }, ...ALLOW], []);
    expect(node.out(piece(0, 800))).toBe("answered denied-egress");
    expect(node.out(piece(800, 1600))).toBe("denied-egress");
  });

  it.each<[string, Said[]]>([
    ["allow", [{ action: "allow" }]],
    ["allow their protocol", [{ action: "allow", protocols: [UDP] }]],
    ["deny their protocol", [{ action: "deny", protocols: [UDP] }]],
    ["deny others and allow them", [{ action: "deny", protocols: [TCP] }, { action: "allow" }]],
  ])("later ones wait for the first where the only rules have no ports: %s", (_, rules) => {
    node.rules(rules, rules);
    expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
    expect(node.in(piece(800, 1600, true, 77, THEM, US))).toBe("fragment-before-first");
  });

  it("later ones of IPv6 wait for the first whatever protocol they name", () => {
    const [us, them] = [hostOf(A, 6), hostOf(B, 6)];
    const later = (src: string, dst: string, protocol: number) =>
      ipv6({ src, dst, protocol, extensions: [fragmentHeader(10, true)], payload: bytes(80) });
    const rules: Said[] = [{ action: "deny", protocols: [UDP] }];
    node.rules(rules, rules);
    // Destination options, behind which the first has UDP; and what no rule is about.
    for (const protocol of [60, 253, TCP, UDP]) {
      expect(node.out(later(us, them, protocol))).toBe("fragment-before-first");
      expect(node.in(later(them, us, protocol))).toBe("fragment-before-first");
    }
    node.rules([{ ...rules[0]!, near: { in: [parsePrefix("fd00:0:0:1::77/128")], not: [] } }], []);
    expect(node.out(later(us, them, 60))).toBe("delivered");
  });

  it("later ones between two addresses of this node wait for what either direction says", () => {
    const within = piece(800, 1600, true, 77, "10.244.1.2", "10.244.1.77");
    node.rules([], [{ action: "deny", destinationPorts: [{ from: 80, to: 80 }] }]);
    expect(node.out(within)).toBe("fragment-before-first");
    const tiny = ipv4({
      src: "10.244.1.2",
      dst: "10.244.1.77",
      protocol: UDP,
      mf: true,
      payload: bytes(4),
    });
    expect(node.out(tiny)).toBe("tiny-fragment");
  });

  it("later ones are subject to the current rules, not to those of the first one", () => {
    node.rules(ONLY_80, []);
    expect(node.out(piece(0, 800))).toBe("delivered");
    node.rules(ONLY_80, DENY);
    expect(node.out(piece(800, 1600))).toBe("delivered");
    node.rules(DENY, []);
    expect(node.out(piece(800, 1600))).toBe("denied-egress");
    expect(node.flows()).toEqual([]);
    expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
    // A datagram that was denied stays denied until its first fragment arrives again.
    expect(node.out(piece(0, 800))).toBe("answered denied-egress");
    node.rules(ALLOW, []);
    expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
    node.rules([], []);
    expect(node.out(piece(800, 1600))).toBe("delivered");
  });

  it.each([4, 6] as const)("later ones of a reply belong to its connection, IPv%i", (family) => {
    const [us, them] = [hostOf(A, family), hostOf(B, family)];
    const reply = udp(them, us, bytes(1600), { sport: 80, dport: 1000 });
    const part = (from: number, to: number) => {
      const payload = reply.subarray(from, to);
      if (family === 4) {
        const offset = from / 8;
        return ipv4({ src: them, dst: us, protocol: UDP, id: 7, mf: to < 1608, offset, payload });
      }
      const extensions = [fragmentHeader(from / 8, to < 1608)];
      return ipv6({ src: them, dst: us, protocol: UDP, extensions, payload });
    };
    expect(udpOut({ family })).toBe("delivered");
    expect(node.in(part(0, 800))).toBe("delivered");
    node.rules([...ALLOW], DENY);
    expect(node.in(part(800, 1608))).toBe("delivered");
    node.rules(DENY, DENY);
    expect(node.in(part(800, 1608))).toBe("denied-egress");
    expect(node.in(part(800, 1608))).toBe("fragment-before-first");
  });

  it("a first one is held against the windows before they are given up for its sake", () => {
    const first = (sequence: number) => {
      const segment = tcp(US, THEM, bytes(64), {
        flags: ACK,
        sequence,
        acknowledgment: 501,
        dport: 80,
      });
      return ipv4({ src: US, dst: THEM, protocol: TCP, id: 5, mf: true, payload: segment });
    };
    const later = () =>
      ipv4({ src: US, dst: THEM, protocol: TCP, id: 5, offset: 11, payload: bytes(64) });
    connect();
    expect(node.out(first(2_000_000_000))).toBe("invalid-state");
    expect(node.out(later())).toBe("fragment-before-first");
    expect(tcpOut(ACK, 2_000_000_000, 501)).toBe("invalid-state");
    expect(tcpIn(ACK, 2_000_000_000, 101)).toBe("invalid-state");
    expect(node.out(first(101))).toBe("delivered");
    expect(node.out(later())).toBe("delivered");
    // From here on nobody knows how much was sent.
    expect(tcpOut(ACK, 2_000_000_000, 501)).toBe("delivered");
  });

  it("pass in any order where no rule is about them", () => {
    node.rules([{ action: "deny", protocols: [TCP] }], []);
    expect(node.out(piece(800, 1600))).toBe("delivered");
    expect(node.out(piece(0, 800))).toBe("delivered");
  });

  it("a transport header must be in the first one, and stay as it is", () => {
    const segment = tcp(US, THEM, bytes(100), { flags: SYN, dport: 80 });
    const of = (from: number, to: number) =>
      ipv4({
        src: US,
        dst: THEM,
        protocol: TCP,
        mf: true,
        offset: from / 8,
        payload: segment.subarray(from, to),
      });
    expect(node.out(of(0, 16))).toBe("tiny-fragment");
    expect(node.out(of(8, 16))).toBe("fragment-overlap");
    expect(node.out(of(0, 24))).toBe("delivered");
    expect(node.out(of(16, 32))).toBe("fragment-overlap");
    expect(node.out(of(24, 48))).toBe("delivered");
  });

  it("of IPv6 hide nothing behind extension headers", () => {
    const [src, dst] = [hostOf(A, 6), hostOf(B, 6)];
    const payload = udp(src, dst, bytes(100), { dport: 80 });
    const first = (extensions: number) =>
      ipv6({
        src,
        dst,
        protocol: UDP,
        extensions: [fragmentHeader(0, true), optionsHeader(60, extensions)],
        payload,
      });
    const later = (offset: number) =>
      ipv6({ src, dst, protocol: 60, extensions: [fragmentHeader(offset, true)], payload });
    expect(node.out(first(0))).toBe("delivered");
    // 8 bytes of options, 8 of UDP.
    expect(node.out(later(1))).toBe("fragment-overlap");
    expect(node.out(later(2))).toBe("delivered");
  });
});

describe("time", () => {
  const WRAP = 2 ** 32;
  const DAY = 24 * 60 * MINUTE;
  const WHOLE = udp(US, THEM, bytes(2000), { sport: 1000, dport: 80 });
  const piece = (from: number, to: number) =>
    ipv4({
      src: US,
      dst: THEM,
      protocol: UDP,
      mf: to < WHOLE.length,
      offset: from / 8,
      payload: WHOLE.subarray(from, to),
    });

  it.each([WRAP - 1000, WRAP, WRAP + 1000, 2 * WRAP, 2 ** 40, 2 ** 52])(
    "%i milliseconds later nothing lives, though 32 bits cannot tell them",
    (later) => {
      node.setClock(7);
      connect();
      expect(node.out(piece(0, 800))).toBe("delivered");
      node.setClock(7 + later);
      // Before any batch, and after one.
      expect(node.flows()).toEqual([]);
      expect(node.out(piece(800, 1600))).toBe("fragment-before-first");
      expect(udpIn()).toBe("answered denied-ingress");
      expect(tcpIn(ACK, 501, 101)).toBe("answered denied-ingress");
      expect(countFlows(node.host.core)).toEqual({});
    },
  );

  it("a record that the slices of the sweep did not come to is not young again after a wrap", () => {
    connect();
    for (let passed = 0; passed < WRAP; passed += 11 * DAY) {
      node.setClock(passed);
      udpOut({ dport: 9 });
    }
    node.setClock(WRAP + 1000);
    expect(tcpIn(ACK, 501, 101)).toBe("answered denied-ingress");
    expect(node.flows()).toEqual([]);
  });

  it("what is in use lives through the wrap", () => {
    connect();
    for (let passed = 0; passed < WRAP + 2 * 60 * MINUTE; passed += 2 * 60 * MINUTE) {
      node.setClock(passed);
      expect([tcpOut(ACK, 101, 501), tcpIn(ACK, 501, 101)]).toEqual(["delivered", "delivered"]);
    }
    expect(node.flows()).toMatchObject([{ state: "established", idleMs: 0 }]);
  });
});

describe("under pressure", () => {
  const FLOWS = 1024;
  beforeEach(async () => {
    node = await AclHost.create({ flows: FLOWS });
    node.rules(ALLOW, DENY);
  });

  it("a flood of SYNs ten times the table leaves what is established alone", () => {
    const rnd = random(seedOfRun("flood"));
    const kept = Array.from({ length: 100 }, (_, i) => 2000 + i);
    for (const sport of kept) connect(sport);
    for (let i = 0; i < 10 * FLOWS; i++) {
      node.setClock(i / 100);
      const sport = 10_000 + Math.floor(rnd() * 50_000);
      const verdict = node.out(
        packet(true, TCP, { flags: SYN, sequence: i, sport, dport: 1 + (i % 60_000) }, 0),
      );
      if (verdict !== "delivered") throw new Error(`SYN ${i}: ${verdict}`);
      if (i % 50 === 0) {
        const sport = kept[(i / 50) % kept.length]!;
        expect([tcpOut(ACK, 101, 501, sport), tcpIn(ACK, 501, 101, sport)]).toEqual([
          "delivered",
          "delivered",
        ]);
      }
    }
    const counts = countFlows(node.host.core);
    expect(counts.established).toBe(kept.length);
    expect(counts["syn-sent"]).toBeGreaterThan(FLOWS / 4);
    expect(node.flows().filter(({ state }) => state === "established")).toHaveLength(kept.length);
  });

  it("a full table refuses connections that need state, and no others", () => {
    let refused = 0;
    let first = 0;
    for (let sport = 1; sport <= FLOWS; sport++) {
      const verdict = tcpOut(SYN, 100, 0, sport);
      if (verdict === "flow-table-full") {
        first ||= sport;
        refused++;
        continue;
      }
      expect(verdict).toBe("delivered");
      tcpIn(SYN | ACK, 500, 101, sport);
      tcpOut(ACK, 101, 501, sport);
    }
    // A connection takes two records.
    expect(countFlows(node.host.core).established).toBe(FLOWS - refused);
    expect(first).toBeGreaterThan(0.3 * FLOWS);
    expect(refused).toBeGreaterThanOrEqual(FLOWS / 2);
    node.rules([], []);
    expect(udpOut({ dport: 5 })).toBe("delivered");
    // What is forgotten makes room.
    node.setClock(124 * MINUTE + 1);
    node.rules(ALLOW, DENY);
    for (let sport = 1; sport <= 100; sport++) {
      expect(tcpOut(SYN, 100, 0, 5000 + sport)).toBe("delivered");
    }
  });

  it("what expired is forgotten in slices, without anybody asking for it", () => {
    for (let sport = 1; sport <= 200; sport++) udpOut({ sport });
    expect(countFlows(node.host.core)).toEqual({ "udp-new": 200 });
    for (let i = 0; i <= 100; i++) {
      node.setClock(6 * MINUTE + i * 100);
      udpOut({ sport: 60_000 });
    }
    expect(countFlows(node.host.core)).toEqual({ "udp-new": 1 });
  });
});
