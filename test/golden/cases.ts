/** What the golden files hold. Each case is one node's: `us`, with two peers. */
import { echo, echo6, ICMP, ICMPV6, ipv4, ipv6, TCP, tcp, UDP, udp, vxlan } from "../packets.js";

export const US = {
  vni: 1,
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  address: "10.244.1.1",
  leases: ["10.244.1.0/24", "fd00:244:0:1::/64"],
  underlay: "192.0.2.1:4789",
};
export const PEERS = [
  {
    name: "b",
    endpoint: "192.0.2.2:4789",
    mac: "02:00:00:00:00:02",
    leases: ["10.244.2.0/24", "fd00:244:0:2::/64"],
  },
  {
    name: "linux",
    endpoint: "192.0.2.3:8472",
    mac: "02:00:00:00:00:03",
    leases: ["10.244.3.0/24"],
  },
];

export interface Case {
  /** IP packets from the device. */
  readonly device: readonly Uint8Array[];
  /** Datagrams from the wire, and who sent them. */
  readonly wire: readonly { readonly from: string; readonly data: Uint8Array }[];
}

const OURS = "10.244.1.1";
const THEIRS = "10.244.2.1";
const LINUX = "10.244.3.1";
const OURS_6 = "fd00:244:0:1::1";
const THEIRS_6 = "fd00:244:0:2::1";
const B = "192.0.2.2:51234";
const data = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);

const ping = (src: string, dst: string, more = {}) =>
  ipv4({ src, dst, protocol: ICMP, payload: echo(data(56)), ...more });
const ping6 = (src: string, dst: string, more = {}) =>
  ipv6({ src, dst, protocol: ICMPV6, payload: echo6(src, dst, data(56)), ...more });
const datagram = (src: string, dst: string, bytes: number, more = {}) =>
  ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, data(bytes)), ...more });

export const CASES: Readonly<Record<string, Case>> = {
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
      { from: B, data: vxlan(ping(THEIRS, OURS)).slice(0, 60) },
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
};
