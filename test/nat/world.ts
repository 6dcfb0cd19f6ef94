/** A document with every kind of translation, and packets at random that meet all of it. */
import { ICMP, ICMPV6, TCP, UDP } from "../packets.js";
import type { Packet, Side } from "./oracle.js";
import { ECHO, isIcmp, SCTP, type Tuple } from "./tuple.js";

/** The same of both families: `four` for IPv4, `six` for IPv6. */
const both = <T>(make: (a: (four: string, six: string) => string) => T): T[] => [
  make((four) => four),
  make((_, six) => six),
];
const at = (address: string, port: number) =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

export const DOCUMENT = {
  services: both((a) => {
    const own = (host: string) => a(`10.244.1.${host}`, `fd00:0:0:1::${host}`);
    const far = (node: number, host: string) =>
      a(`10.244.${node}.${host}`, `fd00:0:0:${node}::${host}`);
    const service = (name: string, protocol: string, host: string, port: number, more: object) => ({
      name: `${name}${a("4", "6")}`,
      protocol,
      address: a(`10.96.0.${host}`, `fd00:0:0:ff::${host}`),
      port,
      ...more,
    });
    return [
      service("dns", "udp", "10", 53, {
        backends: [at(own("7"), 53), { to: at(far(2, "7"), 53), weight: 3 }, at(far(3, "7"), 5353)],
      }),
      service("web", "tcp", "10", 80, {
        backends: [
          at(own("20"), 8080),
          at(far(2, "20"), 8080),
          at(own("5"), 8080),
          { to: at(far(3, "20"), 8080), drain: true },
        ],
      }),
      service("signal", "sctp", "11", 9, { backends: [at(own("8"), 9), at(far(2, "8"), 10)] }),
      service("sticky", "tcp", "12", 443, {
        affinity: "client",
        backends: [at(far(2, "21"), 443), at(far(3, "21"), 443), at(own("21"), 443)],
      }),
      service("timed", "udp", "12", 443, {
        affinity: { client: "5m" },
        backends: [at(far(2, "22"), 443), at(far(3, "22"), 443)],
      }),
      service("drained", "udp", "13", 1, { backends: [{ to: at(own("9"), 1), drain: true }] }),
      service("empty", "tcp", "13", 1, { backends: [] }),
    ];
  }).flat(),
  ports: both((a) => [
    {
      protocol: "tcp",
      address: a("10.244.1.1", "fd00:0:0:1::1"),
      port: 8080,
      to: at(a("10.244.1.20", "fd00:0:0:1::20"), 80),
    },
    {
      protocol: "udp",
      address: a("10.244.1.1", "fd00:0:0:1::1"),
      port: 5300,
      to: at(a("10.244.3.7", "fd00:0:0:3::7"), 53),
    },
  ]).flat(),
  masquerade: both((a) => ({
    from: a("203.0.113.0/24", "2001:db8:5::/64"),
    to: a("10.244.0.0/16", "fd00::/48"),
  })),
  snat: both((a) => [
    {
      from: a("10.244.1.32/27", "fd00:0:0:1::a0/124"),
      to: a("0.0.0.0/0", "::/0"),
      address: a("10.244.1.250", "fd00:0:0:1::fa"),
      ports: "20000-20063",
    },
    {
      from: a("10.244.1.64/27", "fd00:0:0:1::b0/124"),
      to: a("0.0.0.0/0", "::/0"),
      address: a("10.244.1.240/29", "fd00:0:0:1::f0/125"),
    },
  ]).flat(),
  netmap: both((a) => ({
    from: a("10.1.0.0/24", "fd01::/64"),
    to: a("10.244.9.0/24", "fd00:0:0:9::/64"),
  })),
  egress: both((a) => {
    const rule = (from: string, via: string[], host: string) => ({
      from: [from],
      to: [a("198.51.100.0/24", "2001:db8:9::/64")],
      via,
      address: a(`192.0.2.${host}`, `2001:db8::${host}`),
    });
    return [
      rule(a("10.244.1.96/27", "fd00:0:0:1::c0/124"), ["a"], "250"),
      rule(a("10.244.2.0/24", "fd00:0:0:2::/64"), ["a", "b"], "251"),
      rule(a("10.244.1.128/27", "fd00:0:0:1::d0/124"), ["b"], "252"),
      rule(a("10.244.1.160/27", "fd00:0:0:1::e0/124"), ["dead"], "253"),
    ];
  }).flat(),
  limits: { perSource: 40 },
};

type Family = 4 | 6;

/** Sources by side, and destinations; hosts of a kind are few, so that all meet again and again. */
const PLACES = {
  4: {
    own: ["10.244.1.5", "10.244.1.6", "10.244.1.7", "10.244.1.20", "10.244.1.1"],
    covered: ["10.244.1.33", "10.244.1.34", "10.244.1.65", "10.244.1.66", "10.244.1.67"],
    leaving: ["10.244.1.97", "10.244.1.98", "10.244.1.129", "10.244.1.161"],
    local: ["203.0.113.5", "203.0.113.6"],
    inside: ["10.1.0.5", "10.1.0.6"],
    far: ["10.244.2.7", "10.244.2.8", "10.244.2.20", "10.244.3.7", "10.244.3.9"],
    virtual: ["10.96.0.10", "10.96.0.11", "10.96.0.12", "10.96.0.13"],
    mapped: ["10.244.9.5", "10.244.9.6"],
    outside: ["198.51.100.1", "198.51.100.2"],
  },
  6: {
    own: ["fd00:0:0:1::5", "fd00:0:0:1::6", "fd00:0:0:1::7", "fd00:0:0:1::20", "fd00:0:0:1::1"],
    covered: ["fd00:0:0:1::a1", "fd00:0:0:1::a2", "fd00:0:0:1::b1", "fd00:0:0:1::b2"],
    leaving: ["fd00:0:0:1::c1", "fd00:0:0:1::c2", "fd00:0:0:1::d1", "fd00:0:0:1::e1"],
    local: ["2001:db8:5::5", "2001:db8:5::6"],
    inside: ["fd01::5", "fd01::6"],
    far: ["fd00:0:0:2::7", "fd00:0:0:2::8", "fd00:0:0:2::20", "fd00:0:0:3::7", "fd00:0:0:3::9"],
    virtual: ["fd00:0:0:ff::10", "fd00:0:0:ff::11", "fd00:0:0:ff::12", "fd00:0:0:ff::13"],
    mapped: ["fd00:0:0:9::5", "fd00:0:0:9::6"],
    outside: ["2001:db8:9::1", "2001:db8:9::2"],
  },
} as const;

const SOURCES = ["own", "covered", "leaving", "local", "inside"] as const;
/** Where each kind of service is. */
const SERVED: Record<number, readonly [host: number, port: number][]> = {
  [UDP]: [
    [0, 53],
    [2, 443],
    [3, 1],
  ],
  [TCP]: [
    [0, 80],
    [2, 443],
    [3, 1],
  ],
  [SCTP]: [[1, 9]],
};
const PORTS = [7, 53, 80, 443, 1000, 1023, 1024, 5000, 5001, 5300, 8080, 40_000, 60_999, 65_535];
export const GRE = 47;

export class Traffic {
  constructor(readonly random: () => number) {}

  below(n: number): number {
    return Math.floor(this.random() * n);
  }
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
  chance(p: number): boolean {
    return this.random() < p;
  }

  /** The first packet of perhaps a new connection. */
  opening(): Packet {
    const family: Family = this.chance(0.5) ? 4 : 6;
    const places = PLACES[family];
    const from: Side = this.chance(0.7) ? "device" : "wire";
    const src = this.pick(from === "wire" ? places.far : places[this.pick(SOURCES)]);
    const protocol = this.pick([UDP, UDP, UDP, TCP, TCP, SCTP, echoOf(family), GRE]);
    const ports = this.#ports(protocol);
    const served = SERVED[protocol];
    if (served && this.chance(from === "device" ? 0.4 : 0.03)) {
      const [host, dport] = this.pick(served);
      return packet({ protocol, src, ...ports, dst: places.virtual[host]!, dport }, from);
    }
    if (protocol !== GRE && !isIcmp(protocol) && from === "wire" && this.chance(0.3)) {
      const dport = protocol === TCP ? 8080 : 5300;
      return packet({ protocol, src, ...ports, dst: places.own[4], dport }, from);
    }
    const kinds = from === "wire" ? FROM_WIRE : TO_ANY;
    return packet({ protocol, src, ...ports, dst: this.pick(places[this.pick(kinds)]) }, from);
  }

  #ports(protocol: number): { sport: number; dport: number } {
    if (protocol === GRE) return { sport: 0, dport: 0 };
    if (!isIcmp(protocol)) return { sport: this.pick(PORTS), dport: this.pick(PORTS) };
    const identifier = this.below(8);
    return this.chance(0.9)
      ? { sport: identifier, dport: ECHO }
      : { sport: ECHO, dport: identifier };
  }
}

const FROM_WIRE = ["own", "own", "mapped", "outside"] as const;
const TO_ANY = ["own", "far", "far", "mapped", "outside"] as const;
const echoOf = (family: Family) => (family === 4 ? ICMP : ICMPV6);
const packet = (tuple: Tuple, from: Side): Packet => ({
  tuple,
  from,
  opens: tuple.sport !== ECHO,
});
