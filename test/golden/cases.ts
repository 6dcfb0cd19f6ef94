/** What the golden files hold. Each case is one node's: `us`, with two peers. */
import {
  echo,
  echo6,
  ICMP,
  ICMPV6,
  ipv4,
  ipv6,
  routingHeader,
  TCP,
  type TcpFields,
  tcp,
  UDP,
  udp,
  vxlan,
} from "../packets.js";
import { TRANSLATIONS } from "./translations.js";

export const US = {
  vni: 1,
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  address: "10.244.1.1",
  leases: ["10.244.1.0/24", "fd00:244:0:1::/64"],
  underlay: "192.0.2.1:4789",
  name: "us",
};
/** Two kernel VXLAN devices, and a peer that loses what is marked on the outer header. */
export const PEERS = [
  {
    name: "b",
    endpoint: "192.0.2.2:4789",
    anyPort: true,
    mac: "02:00:00:00:00:02",
    leases: ["10.244.2.0/24", "fd00:244:0:2::/64"],
    ecn: true,
  },
  {
    name: "linux",
    endpoint: "192.0.2.3:8472",
    anyPort: true,
    mac: "02:00:00:00:00:03",
    leases: ["10.244.3.0/24"],
    ecn: true,
  },
  {
    name: "deaf",
    endpoint: "192.0.2.4:4789",
    mac: "02:00:00:00:00:04",
    leases: ["10.244.4.0/24", "fd00:244:0:4::/64"],
  },
];

/** A datagram from the wire, its sender, and the TOS of the outer header; without one 0. */
export interface Arrival {
  readonly from: string;
  readonly data: Uint8Array;
  readonly tos?: number;
}

/** An answer depends on the inner packet that left last. */
export type Turn<T> = T | ((last: Uint8Array) => T);

export interface Case {
  /** IP packets from the device. */
  readonly device: readonly Turn<Uint8Array>[];
  readonly wire: readonly Turn<Arrival>[];
  /**
   * `d` for the next packet from the device, `w` for the next from the wire, `p` for the next policy,
   * `n` for the next translation; else the device comes first.
   */
  readonly order?: string;
  /** Translation documents (docs/nat.md); before the first there is none. */
  readonly translations?: readonly object[];
  /** Policies (docs/policy.md); before the first there is none. */
  readonly policies?: readonly object[];
  /** Records of flows. */
  readonly flows?: number;
}

const OURS = "10.244.1.1";
const THEIRS = "10.244.2.1";
const LINUX = "10.244.3.1";
const OURS_6 = "fd00:244:0:1::1";
const THEIRS_6 = "fd00:244:0:2::1";
const B = "192.0.2.2:51234";
const data = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);

/** By way of 10.9.9.9. */
const LOOSE_SOURCE_ROUTE = Uint8Array.of(131, 7, 4, 10, 9, 9, 9, 0);

const ping = (src: string, dst: string, more = {}) =>
  ipv4({ src, dst, protocol: ICMP, payload: echo(data(56)), ...more });
const ping6 = (src: string, dst: string, more = {}) =>
  ipv6({ src, dst, protocol: ICMPV6, payload: echo6(src, dst, data(56)), ...more });
const datagram = (src: string, dst: string, bytes: number, more = {}) =>
  ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, data(bytes)), ...more });

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const segment = (src: string, dst: string, fields: TcpFields, size: number) =>
  ipv4({ src, dst, protocol: TCP, payload: tcp(src, dst, data(size), fields) });
const fromB = (packet: Uint8Array) => ({ from: B, data: vxlan(packet) });
const out = (fields: TcpFields, size = 0) =>
  segment(OURS, THEIRS, { sport: 1000, dport: 80, ...fields }, size);
const back = (fields: TcpFields, size = 0) =>
  fromB(segment(THEIRS, OURS, { sport: 80, dport: 1000, ...fields }, size));
/** From a port of ours to one of theirs. */
const opened = (sport = 1000, dport = 80) => [
  out({ flags: SYN, sequence: 100, sport, dport }),
  back({ flags: SYN | ACK, sequence: 500, acknowledgment: 101, sport: dport, dport: sport }),
  out({ flags: ACK, sequence: 101, acknowledgment: 501, sport, dport }),
];
/** What goes on there, the other end first: without a record of it, nobody would have asked for that. */
const goingOn = (sport = 1000, dport = 80) => [
  back({ flags: ACK, sequence: 501, acknowledgment: 101, sport: dport, dport: sport }, 20),
  out({ flags: ACK, sequence: 101, acknowledgment: 521, sport, dport }, 20),
];
const back1000 = () => {
  const payload = udp(THEIRS, OURS, data(20), { sport: 2000, dport: 1000 });
  return fromB(ipv4({ src: THEIRS, dst: OURS, protocol: UDP, payload }));
};
const unreachable = (quoted: Uint8Array) =>
  ipv4({ src: THEIRS, dst: OURS, protocol: ICMP, payload: echo(quoted, { type: 3 }) });
const pieceOf = (whole: Uint8Array, protocol: number, from: number, to: number) =>
  ipv4({
    src: OURS,
    dst: THEIRS,
    protocol,
    mf: to < whole.length,
    offset: from / 8,
    payload: whole.subarray(from, to),
  });
const piece = (from: number, to: number) => pieceOf(udp(OURS, THEIRS, data(2000)), UDP, from, to);
const segmentPiece = (from: number, to: number) =>
  pieceOf(tcp(OURS, THEIRS, data(100), { flags: SYN }), TCP, from, to);

/** What goes out may; nothing may come in unasked. */
const OUT_ONLY = {
  policies: [
    { name: "out-only", applies: ["10.244.1.0/24"], ingress: [], egress: [{ action: "allow" }] },
  ],
};

/** The same, but not to their port 22. */
const OUT_BUT_22 = {
  policies: [
    {
      ...OUT_ONLY.policies[0],
      egress: [{ action: "deny", protocol: "tcp", ports: [22] }, { action: "allow" }],
    },
  ],
};

/** What goes out may, and everyone may come to our port 443. */
const OUT_AND_443 = {
  policies: [
    { ...OUT_ONLY.policies[0], ingress: [{ action: "allow", protocol: "tcp", ports: [443] }] },
  ],
};

type Said = Uint8Array | Arrival | { readonly policies: object[] };

const isPacket = (one: Said) => one instanceof Uint8Array;
const isDatagram = (one: Said) => "from" in one;
const isPolicy = (one: Said) => "policies" in one;

/** In this order, between a policy that lets out and not in, until another comes. */
function conversation(said: readonly Said[], policy: object = OUT_ONLY): Case {
  return {
    order: `p${said.map((one) => (isPacket(one) ? "d" : isPolicy(one) ? "p" : "w")).join("")}`,
    policies: [policy, ...said.filter(isPolicy)],
    device: said.filter(isPacket),
    wire: said.filter(isDatagram),
  };
}

const FLOWS = 64;
/** SYNs for ten times as many records as there are. */
const FLOOD = 10 * FLOWS;

/** Connections go on while strangers open ten times what there is room for, and never answer. */
function flood(): Case {
  const ours = [1000, 2000, 3000];
  const syns = Array.from({ length: FLOOD }, (_, i) => {
    const fields = { sport: 1024 + i, dport: 443, sequence: i, flags: SYN };
    return fromB(segment(`10.244.2.${2 + (i % 250)}`, OURS, fields, 0));
  });
  const tenth = FLOOD / 10;
  const all = Array.from({ length: 10 }, (_, i) => [
    ...syns.slice(i * tenth, (i + 1) * tenth),
    ...ours.flatMap((port) => goingOn(port)),
  ]);
  const said = [...ours.flatMap((port) => opened(port)), ...all.flat()];
  return { ...conversation(said, OUT_AND_443), flows: FLOWS };
}

export const CASES: Readonly<Record<string, Case>> = {
  ...TRANSLATIONS,
  "ping-both-ways": {
    device: [ping(OURS, THEIRS), ping6(OURS_6, THEIRS_6)],
    wire: [
      { from: B, data: vxlan(ping(THEIRS, OURS)) },
      { from: B, data: vxlan(ping6(THEIRS_6, OURS_6)) },
    ],
  },
  "too-big": {
    device: [
      datagram(OURS, THEIRS, 1422, { df: true }),
      datagram(OURS, THEIRS, 1423, { df: true }),
      datagram(OURS, THEIRS, 3000),
    ],
    wire: [],
  },
  "cannot-go-on": {
    device: [
      ping(OURS, THEIRS, { ttl: 1 }),
      ping(OURS, "10.244.9.9"),
      ping(OURS, "10.244.1.77"),
      ping6(OURS_6, THEIRS_6, { ttl: 1 }),
      ping6(OURS_6, "fd00:244:0:9::9"),
    ],
    wire: [],
  },
  "not-let-in": {
    device: [],
    wire: [
      { from: "203.0.113.9:4789", data: vxlan(ping(THEIRS, OURS)) },
      { from: B, data: vxlan(ping("10.244.3.1", OURS)) },
      { from: B, data: vxlan(ping(THEIRS, "10.244.7.1")) },
      { from: B, data: vxlan(ping(THEIRS, OURS), { vni: 2 }) },
      { from: B, data: vxlan(ping(THEIRS, OURS), { flags: 0 }) },
      { from: B, data: vxlan(ping(THEIRS, OURS), { etherType: 0x0806 }) },
      { from: B, data: vxlan(ping(THEIRS, OURS), { etherType: 0x86dd }) },
      { from: B, data: vxlan(ping(THEIRS, OURS)).slice(0, 60) },
      { from: B, data: vxlan(ping(THEIRS, OURS, { options: LOOSE_SOURCE_ROUTE })) },
      { from: B, data: vxlan(ping6(THEIRS_6, OURS_6, { extensions: [routingHeader(0, 1)] })) },
    ],
  },
  relayed: {
    device: [],
    wire: [
      { from: B, data: vxlan(ping(THEIRS, LINUX)) },
      { from: "192.0.2.3:40000", data: vxlan(ping(LINUX, THEIRS)) },
      { from: B, data: vxlan(datagram(THEIRS, LINUX, 3000)) },
      { from: B, data: vxlan(datagram(THEIRS, LINUX, 3000, { df: true })) },
      { from: B, data: vxlan(ping(THEIRS, LINUX, { ttl: 1 })) },
      { from: B, data: vxlan(ping6(THEIRS_6, "fd00:244:0:9::9")) },
      { from: B, data: vxlan(ping(THEIRS, "10.244.2.9")) },
      { from: "203.0.113.9:4789", data: Buffer.from("weft, and what the core does not look at") },
    ],
  },
  "unfinished-checksums": {
    device: [],
    wire: (
      [
        [TCP, tcp],
        [UDP, udp],
      ] as const
    ).map(([protocol, make]) => {
      const src = "10.244.3.1";
      const payload = make(src, OURS, data(100), { partial: true });
      return { from: "192.0.2.3:40000", data: vxlan(ipv4({ src, dst: OURS, protocol, payload })) };
    }),
  },
  /** Figure 4 of RFC 6040: each inner header in each outer one. */
  "ecn-decapsulation": {
    device: [],
    wire: [0, 2, 1, 3].flatMap((inner) =>
      [0, 2, 1, 3].flatMap((outer) => [
        { from: B, data: vxlan(ping(THEIRS, OURS, { tos: inner })), tos: outer },
        { from: B, data: vxlan(ping6(THEIRS_6, OURS_6, { trafficClass: inner })), tos: outer },
      ]),
    ),
  },
  /** Figure 3 of RFC 6040: normal mode to one peer, compatibility mode to another. */
  "ecn-encapsulation": {
    device: [0, 2, 1, 3].flatMap((tos) => [
      ping(OURS, THEIRS, { tos }),
      ping6(OURS_6, THEIRS_6, { trafficClass: tos }),
      ping(OURS, "10.244.4.1", { tos }),
      ping6(OURS_6, "fd00:244:0:4::1", { trafficClass: tos }),
    ]),
    wire: [],
  },
  "ecn-relayed": {
    device: [],
    wire: [0, 2, 1, 3].flatMap((outer) => [
      { from: B, data: vxlan(ping(THEIRS, LINUX, { tos: 2 })), tos: outer },
      { from: B, data: vxlan(ping(THEIRS, "10.244.4.1", { tos: 2 })), tos: outer },
    ]),
  },
  "state-handshake": conversation([
    out({ flags: SYN, sequence: 100 }),
    back({ flags: SYN | ACK, sequence: 500, acknowledgment: 101 }),
    out({ flags: ACK, sequence: 101, acknowledgment: 501 }),
    out({ flags: ACK, sequence: 101, acknowledgment: 501 }, 100),
    back({ flags: ACK, sequence: 501, acknowledgment: 201 }),
    // Nobody asked for this one.
    back({ flags: SYN, sequence: 900, sport: 81 }),
  ]),
  "state-simultaneous-open": conversation([
    out({ flags: SYN, sequence: 100 }),
    back({ flags: SYN, sequence: 500 }),
    out({ flags: SYN | ACK, sequence: 100, acknowledgment: 501 }),
    back({ flags: SYN | ACK, sequence: 500, acknowledgment: 101 }),
    out({ flags: ACK, sequence: 101, acknowledgment: 501 }, 100),
  ]),
  "state-resets": conversation([
    ...opened(),
    back({ flags: RST, sequence: 501 + 70_000 }),
    back({ flags: RST, sequence: 501 + 1000 }),
    out({ flags: ACK, sequence: 101, acknowledgment: 501 }, 10),
    back({ flags: RST, sequence: 501 }),
  ]),
  "state-late-fin": conversation([
    ...opened(),
    out({ flags: FIN | ACK, sequence: 101, acknowledgment: 501 }),
    back({ flags: ACK, sequence: 501, acknowledgment: 102 }, 100),
    back({ flags: FIN | ACK, sequence: 601, acknowledgment: 102 }),
    out({ flags: ACK, sequence: 102, acknowledgment: 602 }),
    // The last acknowledgment was lost.
    back({ flags: FIN | ACK, sequence: 601, acknowledgment: 102 }),
    out({ flags: ACK, sequence: 102, acknowledgment: 602 }),
    back({ flags: ACK, sequence: 90_000, acknowledgment: 102 }),
  ]),
  "state-syn-flood": flood(),
  "state-policy-change": conversation([
    ...opened(1000, 80),
    ...opened(1001, 22),
    ...goingOn(1000, 80),
    ...goingOn(1001, 22),
    OUT_BUT_22,
    ...goingOn(1000, 80),
    ...goingOn(1001, 22),
    ...goingOn(1000, 80),
  ]),
  "state-udp-reply": conversation([
    back1000(),
    datagram(OURS, THEIRS, 20),
    back1000(),
    ping(OURS, THEIRS),
    fromB(ipv4({ src: THEIRS, dst: OURS, protocol: ICMP, payload: echo(data(56), { type: 0 }) })),
    fromB(ping(THEIRS, OURS)),
  ]),
  "state-unreachable": conversation([
    fromB(unreachable(datagram(OURS, THEIRS, 20))),
    datagram(OURS, THEIRS, 20),
    fromB(unreachable(datagram(OURS, THEIRS, 20))),
    fromB(unreachable(datagram(THEIRS, OURS, 20))),
  ]),
  "state-fragments": conversation([
    piece(800, 1600),
    piece(0, 800),
    piece(1600, 2008),
    piece(800, 1600),
    // Of TCP: too short for its header, over its flags, and as it should be.
    segmentPiece(0, 16),
    segmentPiece(8, 24),
    segmentPiece(0, 40),
    segmentPiece(40, 64),
  ]),
};
