/** Golden conversations through translation, each kind with both directions and both families. */

import { icmpError } from "../nat/errors.js";
import {
  ECHO,
  type PacketFields,
  packetOf,
  reverse,
  SCTP,
  type Tuple,
  tupleOf,
} from "../nat/tuple.js";
import { ICMP, ICMPV6, TCP, UDP, vxlan } from "../packets.js";
import type { Arrival, Case, Turn } from "./cases.js";

const OURS = ["10.244.1.1", "fd00:244:0:1::1"] as const;
const CLIENT = ["10.244.1.5", "fd00:244:0:1::5"] as const;
const SERVER = ["10.244.1.20", "fd00:244:0:1::20"] as const;
const THEIRS = ["10.244.2.7", "fd00:244:0:2::7"] as const;
const VIRTUAL = ["10.96.0.10", "fd00:244:0:ff::10"] as const;
/** Of a site that the overlay does not know. */
const INSIDE = ["10.1.0.5", "fd01::5"] as const;
/** Beyond the overlay. */
const WORLD = ["198.51.100.1", "2001:db8:9::1"] as const;
const FAMILIES = [0, 1] as const;
type Family = (typeof FAMILIES)[number];

const ANY = ["0.0.0.0/0", "::/0"] as const;
const SITE = ["10.1.0.0/25", "fd01::/80"] as const;
const at = (address: string, port: number) =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
const forBoth = <T>(make: (family: Family) => T): T[] => FAMILIES.map(make);
/** The steps of both families, one after the other. */
const both = (steps: (family: Family) => Step[]): Step[] => FAMILIES.flatMap(steps);

type Step =
  | { readonly side: "d"; readonly turn: Turn<Uint8Array> }
  | { readonly side: "w"; readonly turn: Turn<Arrival> };

const out = (tuple: Tuple, fields: PacketFields = {}): Step => ({
  side: "d",
  turn: packetOf(tuple, fields),
});
const arriving = (packet: Uint8Array): Arrival => ({
  from: "192.0.2.2:51234",
  data: vxlan(packet),
});
const come = (tuple: Tuple, fields: PacketFields = {}): Step => ({
  side: "w",
  turn: arriving(packetOf(tuple, fields)),
});
/** The other end answers the packet that left last: a peer, or a host behind the device. */
const peerAnswers = (fields: PacketFields = {}): Step => ({
  side: "w",
  turn: (last) => arriving(packetOf(reverse(tupleOf(last)), fields)),
});
const hostAnswers = (fields: PacketFields = {}): Step => ({
  side: "d",
  turn: (last) => packetOf(reverse(tupleOf(last)), fields),
});
/** A router, or the other end, reports an error about the packet that left last. */
const peerObjects = (src: string, more: object = {}): Step => ({
  side: "w",
  turn: (last) => arriving(icmpError(last, { src, dst: tupleOf(last).src, ...more })),
});
const hostObjects = (src: string, more: object = {}): Step => ({
  side: "d",
  turn: (last) => icmpError(last, { src, dst: tupleOf(last).src, ...more }),
});

const data = Uint8Array.from({ length: 20 }, (_, i) => i);
/** A chunk of SCTP: type, flags, length, and its only parameter. */
const HEARTBEAT = Uint8Array.of(4, 0, 0, 8, 0, 1, 0, 4);
const SYN = { flags: 2, sequence: 100 };
const SYN_ACK = { flags: 18, sequence: 500, acknowledgment: 101 };
const ACK = { flags: 16, sequence: 101, acknowledgment: 501, data };
const BACK = { flags: 16, sequence: 501, acknowledgment: 121, data };

const tuple = (
  protocol: number,
  src: string,
  sport: number,
  dst: string,
  dport: number,
): Tuple => ({
  protocol,
  src,
  sport,
  dst,
  dport,
});
const ping = (src: string, dst: string): Tuple =>
  tuple(src.includes(":") ? ICMPV6 : ICMP, src, 7, dst, ECHO);

function conversation(document: object, steps: readonly Step[]): Case {
  return {
    order: `n${steps.map(({ side }) => side).join("")}`,
    translations: [document],
    device: steps.flatMap((step) => (step.side === "d" ? [step.turn] : [])),
    wire: steps.flatMap((step) => (step.side === "w" ? [step.turn] : [])),
  };
}

const service = (protocol: string, backends: readonly string[]) => ({
  services: forBoth((f) => ({
    name: `web${f}`,
    protocol,
    address: VIRTUAL[f],
    port: 80,
    backends: [at(backends[f]!, 8080)],
  })),
});
const snat = {
  snat: [
    { from: SITE[0], to: ANY[0], address: "10.244.1.250" },
    { from: SITE[1], to: ANY[1], address: "fd00:244:0:1::fa" },
  ],
};

export const TRANSLATIONS: Readonly<Record<string, Case>> = {
  "nat-service": conversation(
    service("tcp", THEIRS),
    both((f) => [
      out(tuple(TCP, CLIENT[f], 40_000, VIRTUAL[f], 80), SYN),
      peerAnswers(SYN_ACK),
      out(tuple(TCP, CLIENT[f], 40_000, VIRTUAL[f], 80), ACK),
      peerAnswers(BACK),
      // Of another protocol there is no service here.
      out(tuple(UDP, CLIENT[f], 40_000, VIRTUAL[f], 80), { data }),
    ]),
  ),
  "nat-port": conversation(
    {
      ports: forBoth((f) => ({
        protocol: "tcp",
        address: OURS[f],
        port: 8080,
        to: at(SERVER[f], 80),
      })),
    },
    both((f) => [
      come(tuple(TCP, THEIRS[f], 40_000, OURS[f], 8080), SYN),
      hostAnswers(SYN_ACK),
      come(tuple(TCP, THEIRS[f], 40_000, OURS[f], 8080), ACK),
      hostAnswers(BACK),
      come(tuple(TCP, THEIRS[f], 40_001, OURS[f], 8081), SYN),
    ]),
  ),
  "nat-netmap": conversation(
    {
      netmap: [
        { from: SITE[0], to: "10.244.1.128/25" },
        { from: SITE[1], to: "fd00:244:0:1:1::/80" },
      ],
    },
    both((f) => [
      out(tuple(UDP, INSIDE[f], 5000, THEIRS[f], 7001), { data }),
      peerAnswers({ data }),
      come(tuple(UDP, THEIRS[f], 9, ["10.244.1.134", "fd00:244:0:1:1::6"][f]!, 7001), { data }),
      hostAnswers({ data }),
      out(ping(INSIDE[f], THEIRS[f]), { data }),
      peerAnswers({ data }),
    ]),
  ),
  "nat-snat": conversation(
    snat,
    both((f) => [
      out(tuple(UDP, INSIDE[f], 5000, THEIRS[f], 7001), { data }),
      peerAnswers({ data }),
      out(tuple(UDP, INSIDE[f], 700, THEIRS[f], 7001), { data, ...(f === 0 && { sum: false }) }),
      peerAnswers({ data }),
      out(tuple(SCTP, INSIDE[f], 5000, THEIRS[f], 9), { data: HEARTBEAT }),
      peerAnswers({ data: HEARTBEAT }),
      out(ping(INSIDE[f], THEIRS[f]), { data }),
      peerAnswers({ data }),
    ]),
  ),
  "nat-masquerade": conversation(
    {
      masquerade: [
        { from: SITE[0], to: "10.244.0.0/16" },
        { from: SITE[1], to: "fd00:244::/48" },
      ],
    },
    both((f) => [
      out(tuple(TCP, INSIDE[f], 5000, THEIRS[f], 80), SYN),
      peerAnswers(SYN_ACK),
      out(tuple(TCP, INSIDE[f], 5000, THEIRS[f], 80), ACK),
      peerAnswers(BACK),
    ]),
  ),
  "nat-hairpin": conversation(
    service("tcp", CLIENT),
    both((f) => [
      out(tuple(TCP, CLIENT[f], 40_000, VIRTUAL[f], 80), SYN),
      hostAnswers(SYN_ACK),
      out(tuple(TCP, CLIENT[f], 40_000, VIRTUAL[f], 80), ACK),
      hostAnswers(BACK),
    ]),
  ),
  "nat-egress": conversation(
    {
      egress: forBoth((f) => ({
        from: [["10.244.2.0/24", "fd00:244:0:2::/64"][f]],
        to: [ANY[f]],
        via: ["us"],
        address: ["192.0.2.250", "2001:db8::fa"][f],
      })),
    },
    both((f) => [
      come(tuple(TCP, THEIRS[f], 5000, WORLD[f], 443), SYN),
      hostAnswers(SYN_ACK),
      come(tuple(TCP, THEIRS[f], 5000, WORLD[f], 443), ACK),
      hostAnswers(BACK),
      come(ping(THEIRS[f], WORLD[f]), { data }),
      hostAnswers({ data }),
    ]),
  ),
  "nat-errors": conversation(
    { ...snat, ...service("udp", THEIRS) },
    both((f) => [
      // From a router beyond, and from the other end, about what left here.
      out(tuple(UDP, INSIDE[f], 5000, THEIRS[f], 7001), { data }),
      peerObjects(["10.244.2.1", "fd00:244:0:2::1"][f]!, { type: [11, 3][f], code: 0 }),
      out(tuple(UDP, CLIENT[f], 40_000, VIRTUAL[f], 80), { data }),
      peerObjects(THEIRS[f]),
      // From a host inside about what reached it.
      out(tuple(UDP, INSIDE[f], 5000, THEIRS[f], 7001), { data }),
      peerAnswers({ data }),
      hostObjects(INSIDE[f]),
    ]),
  ),
};
