/**
 * A dataplane that continues from a snapshot is the one that was copied: the same packets have the same
 * outcomes, and leave the same state. Bytes that no snapshot can be change nothing.
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Dataplane, type Outcome } from "weft";
import { joinSections, splitSections } from "../../src/files/sections.js";
import type { Peer } from "../../src/peer.js";
import {
  echo,
  echo6,
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
import { A, B, C, hostOf, MTU } from "./host.js";

const seed = seedOfRun("snapshot");
const rnd = random(seed);
const below = (n: number) => Math.floor(rnd() * n);
const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;

const options = {
  ...A,
  vni: 1,
  mtu: MTU,
  address: hostOf(A),
  underlay: A.endpoint,
  name: "a",
  flows: 64,
  throughCore: true,
};
const fresh = () => Dataplane.create(options);

const D: Peer = {
  name: "d",
  endpoint: "192.0.2.4:4789",
  mac: "02:00:00:00:00:04",
  leases: ["10.244.4.0/24", "fd00:0:0:4::/64"],
};
const PEERS: readonly (readonly Peer[])[] = [
  [B, C],
  [C, B, D],
  [D],
  [C, { ...B, endpoint: "192.0.2.77:4789", mtu: 1300 }, { ...D, noPath: true }],
];
const allow = (more: object, name = "some") => ({
  profile: "linux",
  policies: [{ name, applies: ["0.0.0.0/0", "::/0"], ...more }],
});
const ALL = [{ action: "allow" }];
const POLICIES: readonly (string | object)[] = [
  { policies: [] },
  allow({ ingress: ALL, egress: ALL }),
  allow({ ingress: [{ action: "allow", from: ["node:b"] }, { action: "log" }], egress: ALL }),
  allow({ ingress: ALL, egress: [{ action: "allow", to: ["node:b", "node:d"] }] }, "other"),
  "policies:\n  - name: dark\n    mode: shadow\n    applies: ['node:a']\n    ingress: []\n",
];

const SERVICE = "10.96.0.10";
const service = (protocol: string) => ({
  name: protocol,
  protocol,
  address: SERVICE,
  port: 1005,
  backends: ["10.244.1.1:1006", "10.244.2.1:1006", { to: "10.244.3.1:1006", weight: 2 }],
});
const NATS: readonly object[] = [
  {},
  { services: ["udp", "tcp"].map(service) },
  {
    services: [service("udp")],
    snat: [{ from: A.leases[0], to: B.leases[0], address: "10.244.1.250" }],
  },
  {
    profile: "linux",
    limits: { perSource: 3 },
    masquerade: [{ from: A.leases[0], to: "10.244.0.0/16" }],
  },
];

type Step = (dp: Dataplane) => unknown;

function packet(family: 4 | 6, near: Peer, far: Peer): Uint8Array {
  const [src, plain] = [hostOf(near, family), hostOf(far, family)];
  const dst = family === 4 && rnd() < 0.3 ? pick([SERVICE, "10.244.1.250", "192.0.2.200"]) : plain;
  const ports = { sport: 1000 + below(20), dport: 1000 + below(20) };
  const data = new Uint8Array(pick([0, 8, 100, 1420]));
  const numbers = { sequence: below(5) * 700, acknowledgment: below(5) * 700, window: 3000 };
  const [protocol, payload] = pick<() => [number, Uint8Array]>([
    () => [UDP, udp(src, dst, data, ports)],
    () => [TCP, tcp(src, dst, data, { ...ports, ...numbers, flags: pick([2, 16, 18, 17, 20]) })],
    () => (family === 4 ? [ICMP, echo(data)] : [ICMPV6, echo6(src, dst, data)]),
    () => [below(256), data],
  ])();
  const hops = pick([0, 64, 64, 64]);
  if (family === 6) return ipv6({ src, dst, protocol, payload, hopLimit: hops });
  const pieces = pick([{}, {}, { mf: true }, { offset: below(20) }]);
  return ipv4({ src, dst, protocol, payload, id: below(4), ttl: hops, df: rnd() < 0.3, ...pieces });
}

function damaged(bytes: Uint8Array): Uint8Array {
  if (rnd() < 0.8) return bytes;
  const other = Uint8Array.from(bytes);
  other[below(other.length)] = below(256);
  return other.slice(0, rnd() < 0.3 ? 1 + below(other.length) : undefined);
}

function step(): Step {
  const what = rnd();
  const family = pick([4, 6] as const);
  const far = pick([B, C, D]);
  if (what < 0.45) {
    const bytes = damaged(packet(family, A, far));
    return (dp) => dp.fromDevice(bytes);
  }
  if (what < 0.9) {
    const bytes = vxlan(damaged(packet(family, far, pick([A, A, A, B, D]))));
    const from = rnd() < 0.9 ? far.endpoint : "192.0.2.77:4789";
    return (dp) => dp.fromWire(bytes, from, { tos: 0 });
  }
  if (what < 0.94) {
    const time = pick([1, 500, 20_000, 200_000, 2 ** 31]);
    return (dp) => dp.advance(time);
  }
  if (what < 0.95) {
    const nat = pick(NATS);
    return (dp) => dp.setNat(nat);
  }
  if (what < 0.96) {
    const peers = pick(PEERS);
    return (dp) => dp.setPeers(peers);
  }
  if (what < 0.98) {
    const policy = pick(POLICIES);
    return (dp) => dp.setPolicy(policy);
  }
  if (what < 0.999) return (dp) => dp.active().sort();
  const question = {
    src: hostOf(A),
    dst: hostOf(far),
    protocol: "udp" as const,
    sport: 1001,
    dport: 1002,
  };
  return (dp) => dp.explain(question);
}

const schedule = (length: number): Step[] => Array.from({ length }, step);

const digests = (snapshot: Uint8Array) => {
  const sections = splitSections("weft snapshot", 1, snapshot);
  if (typeof sections === "string") throw new Error(sections);
  return Object.fromEntries(
    Array.from(sections, ([name, bytes]) => [
      name,
      name === "host"
        ? JSON.parse(Buffer.from(bytes).toString())
        : createHash("sha256").update(bytes).digest("hex"),
    ]),
  );
};

/** Everything that can be seen of a dataplane. */
const seenOf = (dp: Dataplane) => ({
  counters: dp.counters(),
  flows: dp.flows(),
  traffic: ["b", "c", "d"].map((name) => dp.traffic(name)),
  services: dp.services(),
  snapshot: digests(dp.snapshot()),
});

it(`continues bit for bit from any point of ${rounds(20, 400)} schedules`, {
  timeout: 600_000,
}, async () => {
  const reasons = new Set<string | undefined>();
  for (let i = 0; i < rounds(20, 400); i++) {
    const [one, other] = [await fresh(), await fresh()];
    for (const each of schedule(below(300))) each(one);
    const taken = one.snapshot();
    for (const each of schedule(below(20))) each(other);
    other.restore(taken);
    expect(seenOf(other)).toEqual(seenOf(one));
    for (const each of schedule(100)) {
      const outcome = each(one);
      const again = each(other);
      // `toEqual` takes milliseconds for a packet.
      if (!isDeepStrictEqual(again, outcome)) expect(again).toEqual(outcome);
      reasons.add((outcome as Outcome | undefined)?.reason);
    }
    expect(seenOf(other)).toEqual(seenOf(one));
  }
  for (const met of ["invalid-state", "denied-ingress", "nat-exhausted", "too-big"]) {
    expect(reasons).toContain(met);
  }
});

describe("a snapshot", () => {
  let dp: Dataplane;
  let taken: Uint8Array;
  beforeEach(async () => {
    dp = await fresh();
    dp.setPeers([B, C]);
    dp.setPolicy(allow({ ingress: ALL, egress: ALL }));
    for (const each of schedule(100)) each(dp);
    dp.setPeers([B, C]);
    dp.setPolicy(allow({ ingress: ALL, egress: ALL }));
    dp.setNat({});
    taken = dp.snapshot();
  });

  const refused = (bytes: Uint8Array, message?: string) => {
    const before = digests(dp.snapshot());
    let error: unknown;
    try {
      dp.restore(bytes);
    } catch (thrown) {
      error = thrown;
    }
    if (error === undefined) return false;
    expect(error).toMatchObject({ name: "WeftError", code: "SNAPSHOT" });
    if (message !== undefined) expect((error as Error).message).toContain(message);
    expect(digests(dp.snapshot())).toEqual(before);
    return true;
  };

  const sections = () => {
    const all = splitSections("weft snapshot", 1, taken);
    if (typeof all === "string") throw new Error(all);
    return Object.fromEntries(all) as Record<"host" | "memory" | "flows", Uint8Array>;
  };
  const joined = (other: object) =>
    joinSections("weft snapshot", 1, { ...sections(), ...other } as Record<string, Uint8Array>);
  const withHost = (change: (host: Record<string, unknown>) => unknown) => {
    const host = JSON.parse(Buffer.from(sections().host).toString());
    return joined({ host: Buffer.from(JSON.stringify(change(host))) });
  };

  it("is refused when it is cut off, changed, or something else", () => {
    expect(refused(taken.slice(0, -1), "checksum")).toBe(true);
    expect(refused(Uint8Array.from(taken, (byte, i) => byte ^ Number(i === 300)))).toBe(true);
    expect(refused(new Uint8Array(0), "no snapshot")).toBe(true);
    expect(refused(joinSections("weft flows", 1, sections()), "no snapshot")).toBe(true);
  });

  it("is refused when another version or another node made it", async () => {
    expect(refused(joinSections("weft snapshot", 2, sections()), "version")).toBe(true);
    expect(
      refused(
        withHost((host) => ({ ...host, version: "0" })),
        "version",
      ),
    ).toBe(true);
    const other = await Dataplane.create({ ...options, flows: 128 });
    expect(refused(other.snapshot(), "flows 128, and this one has 64")).toBe(true);
  });

  it("is not restored during a capture", () => {
    const capture = dp.capture();
    expect(() => dp.restore(taken)).toThrow(expect.objectContaining({ code: "CAPTURE_BUSY" }));
    capture.stop();
    dp.restore(taken);
  });

  it("ends when its dataplane goes on without it: each restore begins at the same point", () => {
    dp.restore(taken);
    const before = digests(dp.snapshot());
    for (const each of schedule(100)) each(dp);
    dp.restore(taken);
    expect(digests(dp.snapshot())).toEqual(before);
  });

  it("is refused with places, numbers or peers that contradict each other", () => {
    const numbers = (other: object) =>
      refused(
        withHost((host) => ({ ...host, numbers: { ...(host.numbers as object), ...other } })),
      );
    expect(numbers({ places: [] })).toBe(true);
    expect(numbers({ places: [["b", 2], ["c", 2]] })).toBe(true); // biome-ignore format: one line
    expect(numbers({ places: [["b", 2], ["c", 8192]] })).toBe(true); // biome-ignore format: one line
    expect(numbers({ ruleSince: [[1 << 20, 1]] })).toBe(true);
    expect(refused(withHost((host) => ({ ...host, rules: [] })))).toBe(true);
    expect(refused(withHost((host) => ({ ...host, policy: "policies: 7" })))).toBe(true);
    expect(refused(withHost((host) => ({ ...host, peers: [B, B] })))).toBe(true);
    expect(refused(withHost((host) => ({ ...host, more: 1 })))).toBe(true);
  });

  it("is refused with runs or records outside their places", () => {
    const run = (at: number, size: number) => {
      const bytes = Buffer.alloc(8 + 16);
      bytes.writeUInt32LE(at, 0);
      bytes.writeUInt32LE(size, 4);
      return joined({ memory: bytes });
    };
    for (const at of [0, 65536, 2 ** 31, 2 ** 32 - 8]) expect(refused(run(at, 16))).toBe(true);
    expect(refused(run(65536, 2 ** 32 - 1))).toBe(true);
    dp.setPeers([B, C]);
    dp.setPolicy({ policies: [] });
    dp.advance(2 ** 31);
    const [src, dst] = [hostOf(A), hostOf(B)];
    const payload = udp(src, dst, new Uint8Array(8));
    dp.fromDevice(ipv4({ src, dst, protocol: UDP, payload }));
    taken = dp.snapshot();
    const { flows } = sections();
    expect(flows).toHaveLength(2 * 132);
    expect(refused(joined({ flows: flows.slice(0, -132) }))).toBe(true);
    expect(refused(joined({ flows: flows.slice(1) }))).toBe(true);
    expect(refused(joined({ flows: Buffer.concat([flows, flows.slice(0, 132)]) }))).toBe(true);
  });

  it("with any bytes changed and a right checksum is refused, or the dataplane goes on soundly", () => {
    let taken = 0;
    fc.assert(
      fc.property(
        fc.constantFrom("memory" as const, "flows" as const, "host" as const),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.boolean(),
        (name, changes, isShort) => {
          const bytes = Uint8Array.from(sections()[name]);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          const end = isShort ? changes[0]![0] % bytes.length : undefined;
          if (refused(joined({ [name]: bytes.slice(0, end) }))) return;
          taken++;
          for (const each of schedule(30)) each(dp);
          dp.advance(2 ** 31);
          expect(dp.flows()).toEqual([]);
        },
      ),
      { seed, numRuns: rounds(100, 1000) },
    );
    expect(taken).toBeGreaterThan(0);
  });
});
