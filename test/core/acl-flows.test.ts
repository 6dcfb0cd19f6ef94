/** Packets judged on their way: by the sender's rules as they leave, by the receiver's as they arrive. */
import { beforeEach, describe, expect, it } from "vitest";
import { type Address, parseAddress, parseMac, parsePrefix } from "../../src/address.js";
import type { AclEntry, AclRule, AclRules, PortRange } from "../../src/compile/acl-rule.js";
import { readCounters } from "../../src/core/counters.js";
import { countFlows } from "../../src/core/flows.js";
import { Core } from "../../src/core/instance.js";
import type { RuleSet } from "../../src/core/publish.js";
import { Explainer } from "../../src/explain/explain.js";
import {
  checksum,
  echo,
  echo6,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  isSound,
  random,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { decideSlowly, type Header } from "./acl-core.js";
import { A, B, C, GSO, Host, hostOf, MTU, read } from "./host.js";

const SCTP = 132;
const rnd = random(seedOfRun("acl-flows"));
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(all: readonly T[]): T => all[below(all.length)]!;
const some = <T>(most: number, make: () => T): T[] => Array.from({ length: below(most + 1) }, make);

const OWN = {
  vni: 1,
  mac: parseMac(A.mac),
  mtu: MTU,
  leases: A.leases.map(parsePrefix),
};
const ANY = { in: [], not: [] };
const FROM_B = B.endpoint;

let host: Host;
let known: ReadonlySet<number> = new Set();
beforeEach(async () => {
  host = await Host.create();
  known = new Set();
});
const ruleSet = (rules: AclRules): RuleSet & { readonly rules: AclRules } => {
  const fresh = rules.flat().map(({ rule }) => rule.number);
  return { rules, fresh: fresh.filter((number) => !known.has(number)) };
};
const setRules = (out: readonly AclEntry[], inward: readonly AclEntry[] = []) => {
  const rules = ruleSet([out, inward]);
  host.publisher.publish(OWN, [B, C], rules);
  known = new Set(rules.rules.flat().map(({ rule }) => rule.number));
};

let numbers = 0;
const rule = (fields: Partial<AclRule> & Pick<AclRule, "action">): AclRule => ({
  number: ++numbers,
  near: ANY,
  far: ANY,
  protocols: [],
  sourcePorts: [],
  destinationPorts: [],
  ...fields,
});
const inOrder = (...rules: AclRule[]): AclEntry[] =>
  rules.map((rule, i) => ({ rule, next: i + 1 }));
const denyAll = () => inOrder(rule({ action: "deny" }));

/** One packet, as the device and as the wire bring it. */
const out = (packet: Uint8Array) => {
  const { verdicts, ...rest } = host.send([read(packet)]);
  return { verdict: verdicts[0]!, ...rest };
};
const into = (packet: Uint8Array) => {
  const { verdicts, ...rest } = host.receive([{ from: FROM_B, bytes: vxlan(packet) }]);
  return { verdict: verdicts[0]!, ...rest };
};

interface Flow {
  src: string;
  dst: string;
  protocol?: number;
  sport?: number;
  dport?: number;
}

/** A TCP SYN, a datagram, an echo or something without ports. */
function packet({ src, dst, protocol = UDP, sport = 1000, dport = 2000 }: Flow): Uint8Array {
  const isIPv4 = !src.includes(":");
  const payload = () => {
    switch (protocol) {
      case TCP:
        return tcp(src, dst, new Uint8Array(0), { sport, dport, flags: 2 });
      case UDP:
        return udp(src, dst, new Uint8Array(8), { sport, dport });
      case SCTP:
        return Uint8Array.of(
          sport >> 8,
          sport & 255,
          dport >> 8,
          dport & 255,
          ...Array(12).fill(0),
        );
      case ICMP:
        return echo(new Uint8Array(8), { type: dport >> 8, id: sport });
      case ICMPV6:
        return echo6(src, dst, new Uint8Array(8), { type: dport >> 8 });
      default:
        return new Uint8Array(20);
    }
  };
  const fields = { src, dst, protocol, payload: payload() };
  return isIPv4 ? ipv4(fields) : ipv6(fields);
}

const OURS = {
  4: ["10.244.1.1", "10.244.1.2", "10.244.1.77"],
  6: ["fd00:0:0:1::1", "fd00:0:0:1::77"],
};
const THEIRS = { 4: ["10.244.2.1", "10.244.2.200"], 6: ["fd00:0:0:2::1", "fd00:0:0:2::9"] };

describe("without rules", () => {
  it("everything passes, and nothing is counted", () => {
    expect(out(packet({ src: hostOf(A), dst: hostOf(B) })).verdict).toBe("delivered");
    expect(into(packet({ src: hostOf(B), dst: hostOf(A) })).verdict).toBe("delivered");
    const { bytes, layout } = host.core;
    const counters = bytes.subarray(
      layout.RULES,
      layout.RULES + layout.MAX_RULE_NUMBERS * layout.RULE_COUNTER_SIZE,
    );
    expect(counters.every((byte) => byte === 0)).toBe(true);
  });
});

describe("beside the slow twin", () => {
  const PORTS = [0, 53, 80, 443, 8080, 65535];
  const range = (): PortRange => {
    const [a, b] = [pick(PORTS), pick(PORTS)];
    return { from: Math.min(a, b), to: Math.max(a, b) };
  };
  const prefixes = () =>
    some(3, () => {
      const all = ["10.244.1.0/24", "10.244.2.0/24", "10.244.1.2/32", "10.244.2.200/32", "::/0"];
      return parsePrefix(pick([...all, "0.0.0.0/0", "fd00:0:0:1::/64", "fd00:0:0:2::9/128"]));
    });
  const anyRule = () =>
    rule({
      action: pick(["allow", "deny", "count"]),
      near: { in: prefixes(), not: rnd() < 0.7 ? [] : prefixes() },
      far: { in: prefixes(), not: rnd() < 0.7 ? [] : prefixes() },
      protocols: rnd() < 0.4 ? [] : some(3, () => pick([ICMP, TCP, UDP, ICMPV6, SCTP, 47])),
      sourcePorts: rnd() < 0.8 ? [] : some(2, range),
      destinationPorts: rnd() < 0.5 ? [] : some(2, range),
    });
  const anyList = (): AclEntry[] =>
    Array.from({ length: 30 }, (_, i) => ({ rule: anyRule(), next: i + 1 + below(30 - i) }));

  /** No two alike, so that none is a later packet of another's flow, nor its reply. */
  const flows = (from: Record<4 | 6, string[]>, to: Record<4 | 6, string[]>): Flow[] => {
    const seen = new Set<string>();
    const all: Flow[] = [];
    for (let i = 0; i < 2000; i++) {
      const family = rnd() < 0.7 ? 4 : 6;
      const protocol = pick([TCP, UDP, SCTP, 47, family === 4 ? ICMP : ICMPV6]);
      const icmp = family === 4 ? 8 << 8 : 128 << 8;
      const flow = {
        src: pick(from[family]),
        dst: pick(to[family]),
        protocol,
        sport: 1024 + i,
        dport: protocol === ICMP || protocol === ICMPV6 ? icmp : pick(PORTS.slice(1)),
      };
      const key = [TCP, UDP].includes(protocol) ? `${i}` : `${flow.src} ${flow.dst} ${protocol}`;
      if (!seen.has(key)) all.push(flow);
      seen.add(key);
    }
    return all;
  };

  const headerOf = ({ src, dst, protocol, sport, dport }: Flow, direction: 0 | 1): Header => {
    const hasPorts = [TCP, UDP, SCTP].includes(protocol!);
    const isIcmp = protocol === ICMP || protocol === ICMPV6;
    const [near, far]: [Address, Address] =
      direction === 0
        ? [parseAddress(src), parseAddress(dst)]
        : [parseAddress(dst), parseAddress(src)];
    return {
      near,
      far,
      protocol: protocol!,
      sourcePort: hasPorts ? sport! : 0,
      destinationPort: hasPorts || isIcmp ? dport! : 0,
    };
  };

  it.each([0, 1] as const)("every packet ends by the rule it meets, direction %i", (direction) => {
    for (let round = 0; round < 10; round++) {
      const list = anyList();
      setRules(...((direction === 0 ? [list, []] : [[], list]) as [AclEntry[], AclEntry[]]));
      const met = new Map(list.map(({ rule }) => [rule.number, { packets: 0, bytes: 0 }]));
      for (const flow of direction === 0 ? flows(OURS, THEIRS) : flows(THEIRS, OURS)) {
        const bytes = packet(flow);
        const { verdict } = direction === 0 ? out(bytes) : into(bytes);
        const { action, number, counted } = decideSlowly(list, headerOf(flow, direction));
        const denied = direction === 0 ? /denied-egress$/ : /denied-ingress$/;
        if (action === "deny") expect(verdict, JSON.stringify(flow)).toMatch(denied);
        else expect(verdict, JSON.stringify(flow)).toBe("delivered");
        for (const one of number === undefined ? counted : [...counted, number]) {
          met.get(one)!.packets++;
          met.get(one)!.bytes += bytes.length;
        }
      }
      expect(host.publisher.ruleTraffic([...met.keys()])).toEqual([...met.values()]);
    }
  });
});

describe("a rule counts what it let pass or refused, and what ends for another reason counts no rule", () => {
  const [sees, allows] = [rule({ action: "count" }), rule({ action: "allow" })];
  const counts = () =>
    host.publisher.ruleTraffic([sees.number, allows.number]).map(({ packets }) => packets);
  const segment = (
    flags: number,
    sequence: number,
    more: { ttl?: number; df?: boolean } = {},
    size = 0,
  ) => {
    const [src, dst] = [hostOf(A), hostOf(B)];
    const fields = { sport: 1000, dport: 80, flags, sequence, acknowledgment: 501 };
    const payload = tcp(src, dst, new Uint8Array(size), fields);
    return ipv4({ src, dst, protocol: TCP, payload, ...more });
  };
  const [SYN, ACK] = [2, 16];
  const setUp = async (options = {}) => {
    host = await Host.create({ core: await Core.create(options) });
    setRules(inOrder(sees, allows));
  };

  it.each([
    ["invalid-state", segment(ACK, 2_000_000_000)],
    ["ttl-exceeded", segment(ACK, 101, { ttl: 1 })],
    ["too-big", segment(ACK, 101, { df: true }, 1500)],
  ])("of a connection that is known: %s", async (reason, bytes) => {
    await setUp();
    expect(out(segment(SYN, 100)).verdict).toBe("delivered");
    const [src, dst] = [hostOf(B), hostOf(A)];
    const answer = { sport: 80, dport: 1000, flags: SYN | ACK, sequence: 500, acknowledgment: 101 };
    into(ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, new Uint8Array(0), answer) }));
    expect(out(segment(ACK, 101)).verdict).toBe("delivered");
    expect(counts()).toEqual([1, 3]);
    expect(out(bytes).verdict).toMatch(reason);
    expect(counts()).toEqual([1, 3]);
    expect(out(segment(ACK, 101)).verdict).toBe("delivered");
    expect(counts()).toEqual([1, 4]);
  });

  it.each([
    ["invalid-state", segment(ACK, 101)],
    ["ttl-exceeded", segment(SYN, 100, { ttl: 1 })],
    ["too-big", segment(SYN, 100, { df: true }, 1500)],
    ["no-host", packet({ src: "10.244.1.2", dst: "10.244.1.77" })],
  ])("of one that is not: %s", async (reason, bytes) => {
    await setUp({ pickUp: false });
    expect(out(bytes).verdict).toMatch(reason);
    expect(counts()).toEqual([0, 0]);
    // Nor does the next packet, which no rule is asked about, count for the one before.
    setRules(inOrder(allows));
    expect(out(segment(SYN, 100)).verdict).toBe("delivered");
    setRules(inOrder(sees, allows));
    expect(out(bytes).verdict).toMatch(reason);
    expect(counts()[0]).toBe(0);
  });

  it.each([
    ["bad-checksum", 1200, false],
    ["bad-header", 10, true],
  ] as const)("of a UDP super-packet in one datagram: %s", async (reason, size, isSound) => {
    await setUp();
    setRules([], inOrder(sees, allows));
    const [src, dst] = [hostOf(B), hostOf(A)];
    const bytes = vxlan(
      ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(5000)) }),
    );
    if (!isSound) bytes[bytes.length - 1]! ^= 1;
    expect(host.receive([{ from: B.endpoint, bytes, size }]).verdicts).toEqual([reason]);
    expect(counts()).toEqual([0, 0]);
    expect(countFlows(host.core)).toEqual({});
  });

  it("of a super-packet of more segments than one can be", async () => {
    await setUp();
    const [src, dst] = [hostOf(A), hostOf(B)];
    const whole = ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(2000)) });
    const { verdicts } = host.send([read(whole, { gsoType: GSO.UDP_L4, gsoSize: 1 })]);
    expect(verdicts).toEqual(["bad-offload"]);
    expect(counts()).toEqual([0, 0]);
  });

  it("of one that finds no place", async () => {
    await setUp({ flows: 64 });
    const ours = (sport: number, flags: number, sequence: number) => {
      const [src, dst] = [hostOf(A), hostOf(B)];
      const fields = { sport, dport: 80, flags, sequence, acknowledgment: 501 };
      return ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, new Uint8Array(0), fields) });
    };
    let delivered = 0;
    for (let sport = 1; sport <= 1000; sport++) {
      const { verdict } = out(ours(sport, SYN, 100));
      expect(verdict).toMatch(/delivered|flow-table-full/);
      if (verdict !== "delivered") continue;
      delivered++;
      const [src, dst] = [hostOf(B), hostOf(A)];
      const fields = { sport: 80, dport: sport, sequence: 500, acknowledgment: 101 };
      const answer = tcp(src, dst, new Uint8Array(0), { ...fields, flags: SYN | ACK });
      into(ipv4({ src, dst, protocol: TCP, payload: answer }));
      expect(out(ours(sport, ACK, 101)).verdict).toBe("delivered");
    }
    expect(delivered).toBeLessThan(1000);
    expect(counts()[0]).toBe(delivered);
  });

  it("of fragments each like the first one", async () => {
    await setUp();
    const [src, dst] = [hostOf(A), hostOf(B)];
    const whole = udp(src, dst, new Uint8Array(1600), { sport: 1000, dport: 80 });
    const piece = (from: number, to: number) =>
      ipv4({
        src,
        dst,
        protocol: UDP,
        mf: to < 1608,
        offset: from / 8,
        payload: whole.subarray(from, to),
      });
    for (const [from, to] of [
      [0, 800],
      [800, 1600],
      [1600, 1608],
    ] as const)
      out(piece(from, to));
    expect(counts()).toEqual([1, 3]);
    const denies = rule({ action: "deny" });
    setRules(inOrder(sees, denies));
    expect(out(piece(0, 800)).verdict).toBe("answered denied-egress");
    expect(out(piece(800, 1600)).verdict).toBe("denied-egress");
    const [seen, denied] = host.publisher.ruleTraffic([sees.number, denies.number]);
    expect([seen!.packets, denied!.packets]).toEqual([2, 2]);
  });
});

describe("a refused sender", () => {
  it("on the way out gets an ICMP error of this host, 3/13 or 1/1", () => {
    setRules(denyAll());
    const original = packet({ src: hostOf(A), dst: hostOf(B) });
    const { verdict, sent, written } = out(original);
    expect({ verdict, sent }).toEqual({ verdict: "answered denied-egress", sent: [] });
    const answer = written[0]!.subarray(10);
    expect(isSound(answer)).toBe(true);
    expect([...answer.subarray(12, 22)]).toEqual([10, 244, 1, 1, 10, 244, 1, 1, 3, 13]);
    expect(answer.subarray(28)).toEqual(original);

    const six = out(packet({ src: hostOf(A, 6), dst: hostOf(B, 6) }));
    expect(six.verdict).toBe("answered denied-egress");
    expect([...six.written[0]!.subarray(10 + 40, 10 + 42)]).toEqual([1, 1]);
    expect(isSound(six.written[0]!.subarray(10))).toBe(true);
  });

  it("on the way in gets an ICMP error through the tunnel that the packet came from", () => {
    setRules([], denyAll());
    const original = packet({ src: hostOf(B), dst: hostOf(A) });
    const { verdict, sent, written } = into(original);
    expect({ verdict, written }).toEqual({ verdict: "answered denied-ingress", written: [] });
    expect(sent[0]!.to).toBe(B.endpoint);
    const answer = sent[0]!.bytes.subarray(22);
    expect(isSound(answer)).toBe(true);
    expect([...answer.subarray(12, 22)]).toEqual([10, 244, 1, 1, 10, 244, 2, 1, 3, 13]);
    expect(answer.subarray(28)).toEqual(original);
    expect(host.counters().in).toMatchObject({
      received: 1,
      delivered: 0,
      answered: 1,
      answeredBy: { "denied-ingress": 1 },
      relayed: 0,
    });
  });

  it("hears of it at the rate of all errors: the rest is counted by its reason", () => {
    setRules([], denyAll());
    for (let sport = 1; sport <= 250; sport++)
      into(packet({ src: hostOf(B), dst: hostOf(A), sport }));
    expect(host.counters().in).toMatchObject({
      received: 250,
      answered: 200,
      answeredBy: { "denied-ingress": 200 },
      dropped: { "denied-ingress": 50 },
    });
  });

  it("hears nothing of an error that was refused", () => {
    setRules([], denyAll());
    const original = packet({ src: hostOf(A), dst: hostOf(B) });
    const unreachable = Buffer.alloc(8 + original.length);
    unreachable.set([3, 1]);
    unreachable.set(original, 8);
    unreachable.writeUInt16BE(checksum(unreachable), 2);
    const error = ipv4({
      src: "10.244.2.9",
      dst: "10.244.1.9",
      protocol: ICMP,
      payload: unreachable,
    });
    expect(into(error)).toMatchObject({ verdict: "denied-ingress", sent: [], written: [] });
  });
});

describe("the rules are applied", () => {
  it("by no relay: neither end is its own", () => {
    setRules(denyAll(), denyAll());
    const { verdict, sent } = into(packet({ src: hostOf(B), dst: hostOf(C) }));
    expect(verdict).toBe("delivered");
    expect(sent[0]!.to).toBe(C.endpoint);
  });

  it("in both directions to a packet between two addresses of this node", () => {
    const between = packet({ src: "10.244.1.2", dst: "10.244.1.77" });
    expect(out(between).verdict).toBe("answered no-host");
    setRules([], denyAll());
    expect(out(between).verdict).toBe("answered denied-ingress");
    setRules(denyAll(), denyAll());
    expect(out(between).verdict).toBe("answered denied-egress");
    const allow = inOrder(rule({ action: "allow" }));
    setRules(allow, allow);
    expect(out(between).verdict).toBe("answered no-host");
  });
});

describe("a change of the rules", () => {
  const flow = () => packet({ src: hostOf(A), dst: hostOf(B), protocol: TCP });

  it("is asked about by live flows, which go on or are cut", () => {
    setRules(inOrder(rule({ action: "allow", protocols: [TCP] })));
    expect(out(flow()).verdict).toBe("delivered");
    setRules(inOrder(rule({ action: "allow" })));
    expect(out(flow()).verdict).toBe("delivered");
    setRules(denyAll());
    expect(out(flow()).verdict).toBe("answered denied-egress");
    setRules([]);
    expect(out(flow()).verdict).toBe("delivered");
  });

  it("that does not fit changes nothing: no verdict, no count, no peer", () => {
    const list = denyAll();
    setRules(list);
    out(flow());
    const many = Array.from({ length: 16_385 }, (_, i) => ({
      rule: rule({ action: "allow" }),
      next: i + 1,
    }));
    const D = { ...C, name: "d", mac: "02:00:00:00:00:04", leases: ["10.244.4.0/24"] };
    expect(() => host.publisher.publish(OWN, [B, C, D], ruleSet([many, []]))).toThrow(
      /16385 rules/,
    );
    expect(out(flow()).verdict).toBe("answered denied-egress");
    expect(host.publisher.placeOf("d")).toBeUndefined();
    expect(host.publisher.ruleTraffic([list[0]!.rule.number])).toMatchObject([{ packets: 2 }]);
    // Both copies are as they should be.
    for (const peers of [[B, C, D], [B], [B, C]]) {
      host.publisher.publish(OWN, peers);
      expect(out(flow()).verdict).toBe("answered denied-egress");
    }
  });

  it("with too many routes takes the rules back that came with them", async () => {
    const whole = await Core.create();
    // A table of routes with room for little more than its root.
    const layout = { ...whole.layout, LPM6_SIZE: 6.25 * 2 ** 20 };
    host = await Host.create({
      core: Object.assign(Object.create(Core.prototype), whole, { layout }),
    });
    setRules(denyAll());
    const rules = ruleSet([inOrder(rule({ action: "allow" })), []]);
    const leases = Array.from({ length: 4000 }, (_, i) => `fd01:${i.toString(16)}::1/128`);
    const wide = { ...C, name: "wide", mac: "02:00:00:00:00:05", leases };
    expect(() => host.publisher.publish(OWN, [B, wide], rules)).toThrow(/no room/);
    expect(out(flow()).verdict).toBe("answered denied-egress");
    host.publisher.publish(OWN, [B]);
    expect(out(flow()).verdict).toBe("answered denied-egress");
  });

  it("keeps the count of a rule that stays; a new rule's number begins at nothing", () => {
    const [stays, goes] = [rule({ action: "count" }), rule({ action: "deny" })];
    setRules(inOrder(stays, goes));
    for (let i = 0; i < 3; i++) out(flow());
    host.setPeers([B]);
    const counts = () => host.publisher.ruleTraffic([stays.number, goes.number]);
    expect(counts()).toMatchObject([{ packets: 3 }, { packets: 3 }]);
    setRules(inOrder(stays));
    setRules(inOrder(stays, { ...goes }));
    expect(counts()).toMatchObject([{ packets: 3 }, { packets: 0 }]);
  });
});

describe("before it is known whether there is a policy", () => {
  it("no packet to or from this node passes or is answered; later the rules decide", () => {
    const toB = () => out(packet({ src: hostOf(A), dst: hostOf(B), dport: 53 }));
    const fromB = () => into(packet({ src: hostOf(B), dst: hostOf(A), dport: 80 }));
    host.publisher.setPolicyKnown(false);
    host.setPeers([B, C]);
    for (const ended of [toB(), fromB()]) {
      expect(ended).toMatchObject({ verdict: "policy-unknown", written: [], sent: [] });
    }
    expect(countFlows(host.core)).toEqual({});

    setRules([], inOrder(rule({ action: "deny" })));
    host.publisher.setPolicyKnown(true);
    expect(fromB().verdict).toBe("answered denied-ingress");
    expect(toB().verdict).toBe("delivered");
    setRules([], []);
    expect(fromB().verdict).toBe("delivered");
    const { out: left, in: came } = readCounters(host.core);
    expect([left, came].map(({ dropped }) => dropped["policy-unknown"])).toEqual([1, 1]);
  });

  it("explains itself", () => {
    host.publisher.setPolicyKnown(false);
    host.setPeers([B, C]);
    const explainer = new Explainer(host.core, host.publisher);
    const question = { src: hostOf(A), dst: hostOf(B), protocol: "udp", dport: 53 } as const;
    const explanation = explainer.explain(question, {
      own: OWN,
      peers: [B, C],
      places: new Map(),
    });
    expect(explanation).toMatchObject({
      verdict: "dropped",
      reason: "policy-unknown",
      counter: "out.dropped.policy-unknown",
    });
    expect(explanation.stages.find(({ stage }) => stage === "acl")).toMatchObject({
      saw: "no rules yet: it is not known whether there is a policy or a translation document",
    });
  });
});
