/** A node that translates, as the tests drive it: packets in on both sides, and what became of them. */
import { Dataplane } from "weft";
import { parsePrefix } from "../../src/address.js";
import { readNat } from "../../src/nat/document.js";
import { natRulesOf } from "../../src/nat/rules.js";
import type { Peer } from "../../src/peer.js";
import { partsOf, vxlan } from "../packets.js";
import { Oracle, type Outcome, type Side } from "./oracle.js";
import { flawOf } from "./sound.js";
import { type PacketFields, packetOf, type Tuple, tupleOf } from "./tuple.js";

/** This node; its second pair of leases is what the overlay knows of a site with other addresses. */
export const A: Peer = {
  name: "a",
  endpoint: "192.0.2.1:4789",
  mac: "02:00:00:00:00:01",
  leases: ["10.244.1.0/24", "fd00:0:0:1::/64", "10.244.9.0/24", "fd00:0:0:9::/64"],
};
export const B: Peer = {
  name: "b",
  endpoint: "192.0.2.2:4789",
  mac: "02:00:00:00:00:02",
  leases: ["10.244.2.0/24", "fd00:0:0:2::/64"],
};
export const C: Peer = {
  name: "c",
  endpoint: "192.0.2.3:4789",
  mac: "02:00:00:00:00:03",
  leases: ["10.244.3.0/24", "fd00:0:0:3::/64"],
};
export const ADDRESSES = ["10.244.1.1", "fd00:0:0:1::1"];

/** The outcome of a packet: its new tuple and side, or the reason of its drop and the answer. */
export type Result = Outcome & {
  /** The packet that went on, or the ICMP error to its sender. */
  readonly bytes?: Uint8Array;
};

export interface NodeOptions {
  readonly flows?: number;
  readonly policy?: object;
  readonly mtu?: number;
  /** Besides the usual ones. */
  readonly leases?: readonly string[];
}

export class NatNode {
  #document: object = {};

  private constructor(readonly dataplane: Dataplane) {}

  static async create(document: object, options: NodeOptions = {}): Promise<NatNode> {
    const { flows, policy, mtu = 1450, leases = [] } = options;
    const dataplane = await Dataplane.create({
      vni: 1,
      mac: A.mac,
      mtu,
      address: ADDRESSES[0]!,
      leases: [...A.leases, ...leases],
      underlay: A.endpoint,
      name: A.name,
      throughCore: true,
      ...(flows !== undefined && { flows }),
    });
    dataplane.setPeers([B, C]);
    if (policy) dataplane.setPolicy(policy);
    const node = new NatNode(dataplane);
    node.setNat(document);
    return node;
  }

  setNat(document: object): void {
    this.dataplane.setNat(document);
    this.#document = document;
  }

  /** A model of this node, with the rules that the document in force gives it. */
  oracle(): Oracle {
    const peers = [B, C].map(({ name, leases }) => ({ name, leases: leases.map(parsePrefix) }));
    const leases = A.leases.map(parsePrefix);
    const members = new Map([
      ["a", leases],
      ...peers.map((one) => [one.name, one.leases] as const),
    ]);
    const document = readNat(JSON.stringify(this.#document), "nat");
    const rules = natRulesOf(document, members, "a", (name) => members.has(name));
    return new Oracle(
      { addresses: ADDRESSES, leases, peers, throughCore: true },
      rules,
      document.profile,
    );
  }

  /** A packet from the device, or from the peer that owns its source. */
  send(from: Side, packet: Uint8Array, sender = ownerOf(packet)): Result {
    return from === "device" ? this.out(packet) : this.in(packet, sender);
  }

  out(packet: Uint8Array): Result {
    return this.#result(this.dataplane.fromDevice(packet), packet);
  }

  in(packet: Uint8Array, sender: Peer = B): Result {
    const mac = sender.mac.replaceAll(":", "");
    const datagram = vxlan(packet, { src: mac });
    return this.#result(this.dataplane.fromWire(datagram, sender.endpoint), packet);
  }

  /** A packet of this tuple out, or in. */
  go(tuple: Tuple, fields: PacketFields = {}): Result {
    return this.out(packetOf(tuple, fields));
  }
  come(tuple: Tuple, fields: PacketFields = {}): Result {
    const packet = packetOf(tuple, fields);
    return this.in(packet, ownerOf(packet));
  }

  #result(outcome: ReturnType<Dataplane["fromDevice"]>, given: Uint8Array): Result {
    const { verdict, reason, datagrams, packets } = outcome;
    const all = [...datagrams.map(({ bytes }) => bytes.subarray(22)), ...packets];
    const [bytes] = all;
    if (reason !== undefined) return { drop: reason, ...(bytes && { bytes }) };
    if (!bytes) throw new Error(`${verdict}, and no packet`);
    // A datagram whose checksums were not right need not have right ones afterwards.
    const flaw = flawOf(given) === undefined ? flawOf(bytes) : undefined;
    if (flaw) throw new Error(`${flaw}: ${Buffer.from(bytes).toString("hex")}`);
    const to = datagrams[0]?.to;
    const peer = [B, C].find(({ endpoint }) => endpoint === to)?.name;
    return { to: to === undefined ? "device" : "wire", peer, tuple: tupleOf(bytes), bytes };
  }
}

/** The peer that owns the source of the packet; B if none does. */
export function ownerOf(packet: Uint8Array): Peer {
  const { src, isIPv4 } = partsOf(packet);
  return (isIPv4 ? src[2] : src[7]) === 3 ? C : B;
}
