/** An explanation says what would happen, stage by stage, and changes nothing. */
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane, type Explanation, type Peer, type Question, WeftError } from "weft";
import { parseMac, parsePrefix } from "../../src/address.js";
import { Explainer } from "../../src/explain/explain.js";
import { NO_RULES } from "../../src/policy/rules.js";
import { A as HOST_A, B as HOST_B, Host, hostOf, MTU, read } from "../core/host.js";
import {
  echo,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  random,
  seedOfRun,
  TCP,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { rounds } from "../rounds.js";

const POLICY = `
policies:
  - name: web
    order: 100
    applies: [10.244.1.80/32, "fd00:0:0:1::80/128"]
    ingress:
      - { action: log, from: [10.244.2.66/32] }
      - { action: deny, from: [10.244.2.13/32] }
      - { action: allow, protocol: tcp, from: [10.244.2.0/24], ports: [80], sourcePorts: [1024-65535] }
  - name: ping
    order: 200
    applies: [10.244.1.81/32]
    ingress:
      - { action: allow, protocol: icmp, icmp: { type: 8 } }
  - name: careful
    order: 300
    applies: [10.244.1.0/24]
    egress:
      - { action: deny, protocol: udp, ports: [53] }
      - { action: allow }
`;
const B: Peer = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.244.2.0/24", "fd00:0:0:2::/64"],
};
const C: Peer = { ...B, name: "c", mac: "02:00:00:00:00:03", endpoint: "192.0.2.3:4789" };
const PEERS: Peer[] = [B, { ...C, leases: ["10.244.3.0/24", "fd00:0:0:3::/64"] }];

let dp: Dataplane;
beforeEach(async () => {
  dp = await Dataplane.create({
    vni: 1,
    mac: "02:00:00:00:00:01",
    mtu: 1450,
    address: "10.244.1.1",
    leases: ["10.244.1.0/24", "fd00:0:0:1::/64"],
    underlay: "192.0.2.1:4789",
  });
  dp.setPeers(PEERS);
  dp.setPolicy(POLICY);
});

const web = { src: "10.244.2.1", dst: "10.244.1.80", protocol: "tcp", dport: 80 } as const;
const stagesOf = ({ stages }: Explanation) => stages.map(({ stage }) => stage).join(" ");

describe("the way of a packet", () => {
  const ways: [string, Question, string, Partial<Explanation>][] = [
    [
      "out",
      { src: "10.244.1.7", dst: "10.244.2.1", dport: 22 },
      "parse offload flow lookup ct-lookup acl route track clamp encap",
      { verdict: "sent", counter: "out.delivered", peer: "b" },
    ],
    [
      "out, denied",
      { src: "10.244.1.7", dst: "10.244.2.1", protocol: "udp", dport: 53 },
      "parse offload flow lookup ct-lookup acl icmp-error",
      { verdict: "answered", reason: "denied-egress", counter: "out.answeredBy.denied-egress" },
    ],
    [
      "out, to nobody",
      { src: "10.244.1.7", dst: "10.9.9.9", protocol: 47 },
      "parse offload flow lookup ct-lookup acl route icmp-error",
      { verdict: "answered", reason: "no-route" },
    ],
    [
      "in",
      { ...web, direction: "in" },
      "decap parse flow lookup admit ecn ct-lookup acl track clamp coalesce",
      { verdict: "delivered", counter: "in.delivered", peer: "b" },
    ],
    [
      "in, from another than it should",
      { ...web, peer: "c" },
      "decap parse flow lookup admit",
      { verdict: "dropped", reason: "spoofed-source", counter: "in.dropped.spoofed-source" },
    ],
    [
      "in, for another node",
      { ...web, dst: "10.244.3.1", peer: "b" },
      "decap parse flow lookup admit ecn relay encap",
      { verdict: "sent", counter: "in.delivered", peer: "c" },
    ],
    [
      "of what is no packet",
      { packet: Uint8Array.of(0x45, 0) },
      "parse icmp-error",
      { verdict: "dropped", reason: "truncated", counter: "out.dropped.truncated" },
    ],
  ];

  it.each(ways)("%s", (_, question, stages, end) => {
    const explanation = dp.explain(question);
    expect(stagesOf(explanation)).toBe(stages);
    expect(explanation).toMatchObject(end);
    // Every stage lets it go on but the one that gives the reason, and the answer to it.
    const reasons = explanation.stages.filter(({ verdict }) => verdict !== "goes on");
    for (const { verdict } of reasons) expect(verdict).toBe(explanation.reason);
    expect(reasons.length > 0).toBe(explanation.reason !== undefined);
  });

  it("names what each stage changed in the headers", () => {
    const mss = tcp("10.244.1.7", "10.244.2.1", new Uint8Array(0), {
      flags: 2,
      options: Uint8Array.of(2, 4, 1460 >> 8, 1460 & 255),
    });
    const packet = ipv4({ src: "10.244.1.7", dst: "10.244.2.1", protocol: TCP, payload: mss });
    const { stages } = dp.explain({ packet });
    const changes = (name: string) => stages.find(({ stage }) => stage === name)?.changes;
    expect(changes("parse")).toEqual([]);
    expect(changes("route")).toContainEqual({ field: "ttl", from: "64", to: "63" });
    expect(changes("clamp")).toContainEqual({
      field: "tcp maximum segment size",
      from: "1460",
      to: "1410",
    });
    expect(changes("encap")).toContainEqual({
      field: "ethernet destination",
      to: "02:00:00:00:00:02",
    });
  });

  it("says of a known flow that it is", () => {
    const packet = ipv4({
      src: web.src,
      dst: web.dst,
      protocol: TCP,
      payload: tcp(web.src, web.dst, new Uint8Array(0), { sport: 5000, dport: 80, flags: 2 }),
    });
    const flowOf = () =>
      dp.explain({ packet, peer: "b" }).stages.find(({ stage }) => stage === "flow")!.saw;
    expect(flowOf()).toBe("no known flow");
    dp.fromWire(vxlan(packet), B.endpoint);
    expect(flowOf()).toBe("a known flow");
    expect(dp.explain({ packet, peer: "b" }).rule).toMatchObject({ policy: "web", index: 2 });
  });
});

describe("the rule", () => {
  it("that decides is named with its tier, policy, index and line", () => {
    expect(dp.explain({ ...web, peer: "b" })).toMatchObject({
      verdict: "delivered",
      rule: { tier: "default", policy: "web", index: 2, line: 9, action: "allow" },
    });
    const denied = dp.explain({ ...web, src: "10.244.2.13", peer: "b" });
    expect(denied.rule).toMatchObject({ policy: "web", index: 1, line: 8, action: "deny" });
    expect(denied.almost).toBeUndefined();
  });

  it("that only counted is among those that were met", () => {
    const { stages, rule } = dp.explain({ ...web, src: "10.244.2.66", peer: "b" });
    const acl = stages.find(({ stage }) => stage === "acl")!;
    expect(acl.rules!.map(({ action }) => action)).toEqual(["log", "allow"]);
    expect(rule).toMatchObject({ index: 2 });
  });

  it.each([
    ["ports", { dport: 81 }],
    ["source ports", { sport: 1023 }],
    ["protocol", { protocol: "udp" }],
    ["peer", { src: "10.244.3.1", peer: "c" }],
  ] as const)(
    "that almost matched is named when none did, with the field that failed: %s",
    (field, change) => {
      const { reason, rule, almost } = dp.explain({ ...web, peer: "b", ...change });
      expect(reason).toBe("denied-ingress");
      expect(rule).toMatchObject({ kind: "tier default", tier: "default" });
      expect(almost).toEqual({
        field,
        rule: expect.objectContaining({ policy: "web", index: 2, line: 9 }),
      });
    },
  );

  it("for other endpoints comes last, and ICMP has its type in place of ports", () => {
    expect(dp.explain({ src: web.src, dst: web.dst, peer: "b" }).almost).toMatchObject({
      field: "applies",
      rule: { policy: "ping" },
    });
    const question = { src: web.src, dst: "10.244.1.81", icmp: { type: 13 }, peer: "b" };
    expect(dp.explain(question).almost).toMatchObject({ field: "ports", rule: { policy: "ping" } });
  });

  it("has no rule without a policy", () => {
    const open = dp.explain({ ...web, dst: "10.244.1.90", peer: "b" });
    expect(open.verdict).toBe("delivered");
    expect(open.rule).toBeUndefined();
  });

  it("follows a change of policy", () => {
    expect(dp.explain({ ...web, dport: 81, peer: "b" }).verdict).toBe("answered");
    dp.setPolicy(POLICY.replace("ports: [80]", "ports: [80, 81]"));
    expect(dp.explain({ ...web, dport: 81, peer: "b" }).verdict).toBe("delivered");
    dp.setPolicy({ policies: [] });
    expect(dp.explain({ ...web, dport: 82, peer: "b" }).rule).toBeUndefined();
  });
});

describe("an explanation", () => {
  it("says of any packet what then happens to it", () => {
    const rnd = random(seedOfRun("explain"));
    const below = (n: number) => Math.floor(rnd() * n);
    const pick = <T>(all: readonly T[]): T => all[below(all.length)]!;
    const addresses = {
      4: ["10.244.1.80", "10.244.1.81", "10.244.1.7", "10.244.2.1", "10.244.2.13", "10.244.2.66"],
      6: ["fd00:0:0:1::80", "fd00:0:0:1::7", "fd00:0:0:2::1", "fd00:0:0:3::1"],
    };
    const anyPacket = (): Uint8Array => {
      const family = rnd() < 0.7 ? 4 : 6;
      const [src, dst] = [pick(addresses[family]), pick([...addresses[family], "10.9.9.9"])];
      if (src.includes(":") !== dst.includes(":")) return anyPacket();
      const protocol = pick([TCP, UDP, family === 4 ? ICMP : ICMPV6, 47]);
      const ports = { sport: pick([1, 1024, 5000]), dport: pick([53, 80, 81]) };
      const data = new Uint8Array(pick([0, 8, 100, 1500, 4000]));
      const payload =
        protocol === TCP
          ? tcp(src, dst, data, { ...ports, flags: pick([2, 16, 24]) })
          : protocol === UDP
            ? udp(src, dst, data, ports)
            : protocol === 47
              ? data
              : echo(data, { type: pick([8, 0, 13, 128]) });
      const packet =
        family === 4
          ? ipv4({ src, dst, protocol, payload, ttl: pick([64, 64, 1]), df: rnd() < 0.5 })
          : ipv6({ src, dst, protocol, payload, hopLimit: pick([64, 64, 1]) });
      return rnd() < 0.9 ? packet : packet.subarray(0, below(packet.length));
    };
    const seen = new Set<string>();
    for (let i = 0; i < rounds(500, 1_500); i++) {
      const packet = anyPacket();
      const peer = pick(PEERS);
      const isOut = rnd() < 0.5;
      const { verdict, reason, datagrams, packets, counter } = dp.explain(
        isOut ? { packet } : { packet, peer: peer.name },
      );
      const counted = () => counter.split(".").reduce<unknown>(childOf, dp.counters()) ?? 0;
      const before = counted();
      const frame = { etherType: packet[0]! >> 4 === 6 ? 0x86dd : 0x0800 };
      const outcome = isOut
        ? dp.fromDevice(packet)
        : dp.fromWire(vxlan(packet, frame), peer.endpoint);
      expect({ verdict, datagrams, packets, ...(reason && { reason }) }).toEqual(outcome);
      expect(counted()).toBe((before as number) + 1);
      seen.add(`${counter} ${reason}`);
      if (rnd() < 0.1) dp.advance(1000);
    }
    expect(seen.size).toBeGreaterThan(12);
  });

  const childOf = (value: unknown, key: string): unknown => (value as Record<string, unknown>)[key];

  it("changes no byte of the memory, and leaves no trace there", async () => {
    const host = await Host.create();
    const packet = ipv4({
      src: hostOf(HOST_A),
      dst: hostOf(HOST_B),
      protocol: UDP,
      payload: udp(hostOf(HOST_A), hostOf(HOST_B), new Uint8Array(9)),
    });
    host.send([read(packet)]);
    const explainer = new Explainer(host.core, host.publisher);
    const surroundings = {
      own: { vni: 1, mac: parseMac(HOST_A.mac), mtu: MTU, leases: HOST_A.leases.map(parsePrefix) },
      peers: [HOST_B],
      places: NO_RULES.places,
    };
    const digest = () => createHash("sha1").update(host.core.bytes).digest("hex");
    const before = digest();
    expect(explainer.explain({ packet }, surroundings).verdict).toBe("sent");
    const back = { src: hostOf(HOST_B), dst: hostOf(HOST_A), peer: "b" };
    expect(explainer.explain(back, surroundings).verdict).toBe("delivered");
    expect(digest()).toBe(before);
    expect(host.core.view.getUint32(host.layout.TRACE_COUNT, true)).toBe(0);
  });

  it("tells of a congestion mark that the packet cannot carry", () => {
    const explanation = dp.explain({ ...web, peer: "b", tos: 3 });
    expect(stagesOf(explanation)).toBe("decap parse flow lookup admit ecn");
    expect(explanation).toMatchObject({ verdict: "dropped", reason: "not-ecn-capable" });
    expect(explanation.stages.at(-1)?.saw).toBe("a congestion mark on the outer header");
  });

  it("keeps its last stages, however many rules count", () => {
    const log = "      - { action: log }\n";
    dp.setPolicy(`
policies:
  - name: talkative
    order: 1
    applies: [10.244.1.80/32]
    ingress:
${log.repeat(3000)}`);
    const explanation = dp.explain({ ...web, peer: "b" });
    expect(stagesOf(explanation)).toBe(
      "decap parse flow lookup admit ecn ct-lookup acl icmp-error",
    );
    expect(explanation.rule).toMatchObject({ kind: "tier default" });
  });

  it.each([
    [{ src: "10.244.2.1", dst: "fd00::1" }, /not of the family/],
    [{ src: "10.244.2.1", dst: "10.244.1.1", protocol: 300 }, /protocol 300 cannot be/],
    [{ src: "10.244.2.1", dst: "10.244.1.1", dport: 65_536 }, /port 65536 cannot be/],
    [{ src: "10.244.2.1", dst: "10.244.1.1", peer: "x" }, /no peer is named "x"/],
    [{ src: "10.9.9.9", dst: "10.244.1.1", direction: "in" }, /no peer holds the source 10.9.9.9/],
    [{ src: "10.244.2.1", dst: "10.244.1.1", peer: "b", tos: 256 }, /a TOS of 256 cannot be/],
    [{ src: "here", dst: "10.244.1.1" }, /"here" is not an IP address/],
  ] as const)("refuses a question that makes no packet: %j", (question, message) => {
    expect(() => dp.explain(question)).toThrow(message);
    expect(() => dp.explain(question)).toThrow(WeftError);
  });
});
