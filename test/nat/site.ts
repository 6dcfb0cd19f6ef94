/** A site behind this node: its hosts have the addresses 10.1.0.x and fd01::x, which the overlay does not know. */
import { expect } from "vitest";
import { ICMP, ICMPV6, UDP } from "../packets.js";
import { NatNode, type NodeOptions, type Result } from "./node.js";
import { ECHO, type PacketFields, packetOf, reverse, type Tuple, tupleOf } from "./tuple.js";

export type Profile = "rfc" | "linux";
export const PROFILES = ["rfc", "linux"] as const;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;

export const OUTSIDE = { 4: "10.244.1.250", 6: "fd00:0:0:1::fa" } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];

export const insideHost = (n: number, family: Family = 4) =>
  family === 4 ? `10.1.0.${n}` : `fd01::${n}`;
/** A host of the peer B. */
export const farHost = (n: number, family: Family = 4) =>
  family === 4 ? `10.244.2.${n}` : `fd00:0:0:2::${n}`;
export const echoProtocol = (family: Family) => (family === 4 ? ICMP : ICMPV6);

export const siteDocument = (profile: Profile = "rfc", more: object = {}) => ({
  profile,
  snat: [
    { from: "10.1.0.0/24", to: "0.0.0.0/0", address: OUTSIDE[4] },
    { from: "fd01::/64", to: "::/0", address: OUTSIDE[6] },
  ],
  ...more,
});

export class Site {
  private constructor(readonly node: NatNode) {}

  static async create(
    profile: Profile = "rfc",
    more: object = {},
    options: NodeOptions = {},
  ): Promise<Site> {
    return new Site(await NatNode.create(siteDocument(profile, more), options));
  }

  /** A packet of a host inside to one outside. */
  static out(sport = 5000, dport = 53, more: Partial<Tuple> = {}, family: Family = 4): Tuple {
    return {
      protocol: UDP,
      src: insideHost(5, family),
      sport,
      dst: farHost(7, family),
      dport,
      ...more,
    };
  }
  static ping(identifier = 7, more: Partial<Tuple> = {}, family: Family = 4): Tuple {
    return Site.out(identifier, ECHO, { protocol: echoProtocol(family), ...more }, family);
  }

  /** Sends it out of the site, and returns it as it went to the peer. */
  sent(tuple: Tuple, fields: PacketFields = {}): Tuple {
    return tupleTo("wire", this.node.go(tuple, fields));
  }
  /** Sends a packet from a peer, and returns it as it reached the site. */
  received(tuple: Tuple, fields: PacketFields = {}): Tuple {
    return tupleTo("device", this.node.come(tuple, fields));
  }
  /** Whether the answer to what went out as `goes` reaches the sender as the reverse of what it sent. */
  answers(came: Tuple, goes: Tuple, fields: PacketFields = {}): void {
    expect(this.received(reverse(goes), fields)).toEqual(reverse(came));
  }

  advance(milliseconds: number): void {
    this.node.dataplane.advance(milliseconds);
  }
}

export function tupleTo(side: "wire" | "device", result: Result): Tuple {
  if ("drop" in result) throw new Error(`dropped: ${result.drop}`);
  expect(result.to).toBe(side);
  return result.tuple;
}

/** Type and code of an ICMP error, and the tuple of the packet that it quotes. */
export function readError(packet: Uint8Array) {
  const isIPv4 = packet[0]! >> 4 === 4;
  const at = isIPv4 ? 20 : 40;
  const outer = tupleOf(packet);
  const quoted = packet.slice(at + 8);
  return {
    type: packet[at]!,
    code: packet[at + 1]!,
    src: outer.src,
    dst: outer.dst,
    quoted: tupleOf(quoted),
    bytes: quoted,
  };
}

export const bytesOf = (tuple: Tuple, fields: PacketFields = {}) => packetOf(tuple, fields);
