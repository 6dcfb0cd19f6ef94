/**
 * What a node does with a sound packet from the wire, slowly and plainly, as the
 * RFCs say it of a router: the twin of the core's way in.
 */
import { formatAddress, parseEndpoint, parsePrefix } from "../../src/address.js";
import type { Reason } from "../../src/core/reasons.js";
import type { Peer } from "../../src/peer.js";
import {
  checksum,
  ICMP,
  ICMPV6,
  ip,
  ipv4,
  ipv6,
  partsOf,
  pseudoHeader,
  TCP,
  UDP,
  vxlan,
} from "../packets.js";
import { hostOf, type Sent } from "./host.js";
import { isPartial, oneHopLess, withChecksums } from "./slow.js";

export interface Way {
  /** As Host.receive tells it. */
  readonly verdict: string;
  readonly sent: readonly Sent[];
  readonly written: readonly Uint8Array[];
}

export class SlowRouter {
  readonly #own: Peer;
  readonly #peers: readonly Peer[];
  readonly #mtu: number;

  constructor(own: Peer, peers: readonly Peer[], mtu: number) {
    this.#own = own;
    this.#peers = peers;
    this.#mtu = mtu;
  }

  fromWire(packet: Uint8Array, from: string): Way {
    const sender = this.#ownerOf(partsOf(packet).src);
    if (sender === undefined || sender === this.#own || !mayComeFrom(sender, from)) {
      const isKnown = this.#peers.some((peer) => mayComeFrom(peer, from));
      return dropped(isKnown ? "spoofed-source" : "unknown-peer");
    }
    const owner = this.#ownerOf(partsOf(packet).dst);
    if (owner === this.#own)
      return { verdict: "delivered", sent: [], written: [completed(packet)] };
    if (owner === undefined) return this.#answer(packet, sender, "no-route");
    if (owner === sender || leadsTo(owner, from)) return dropped("relay-loop");
    if (owner.noPath) return dropped("no-path");
    if (packet[partsOf(packet).isIPv4 ? 8 : 7]! <= 1) {
      return this.#answer(packet, sender, "ttl-exceeded");
    }
    if (packet.length > this.#mtu && !mayFragment(packet)) {
      return this.#answer(packet, sender, "too-big");
    }
    const pieces = fragments(oneHopLess(completed(packet)), this.#mtu);
    return {
      verdict: "delivered",
      sent: pieces.map((piece) => this.#to(owner, piece)),
      written: [],
    };
  }

  #ownerOf(address: Uint8Array): Peer | undefined {
    const value = BigInt(`0x${Buffer.from(address).toString("hex")}`);
    const bits = BigInt(address.length * 8);
    return [this.#own, ...this.#peers].find(({ leases }) =>
      leases.map(parsePrefix).some(({ family, base, length }) => {
        const rest = bits - BigInt(length);
        return (family === 4) === (address.length === 4) && value >> rest === base >> rest;
      }),
    );
  }

  #to(peer: Peer, packet: Uint8Array): Sent {
    const [dst, src] = [peer, this.#own].map(({ mac }) => mac.replaceAll(":", ""));
    return { to: peer.endpoint, bytes: vxlan(packet, { dst: dst!, src: src! }) };
  }

  #answer(packet: Uint8Array, sender: Peer, reason: keyof typeof ERRORS): Way {
    if (!mayAnswer(packet)) return dropped(reason);
    if (sender.noPath) return dropped(reason);
    const family = packet[0]! >> 4 === 4 ? 4 : 6;
    const own = hostOf(this.#own, family);
    const error =
      family === 4
        ? error4(own, packet, reason, this.#mtu)
        : error6(own, packet, reason, this.#mtu);
    return { verdict: `answered ${reason}`, sent: [this.#to(sender, error)], written: [] };
  }
}

const dropped = (reason: Reason): Way => ({ verdict: reason, sent: [], written: [] });

const addressOf = (endpoint: string): string => formatAddress(parseEndpoint(endpoint).address);

const mayComeFrom = ({ endpoint, senders = [endpoint], anyPort }: Peer, from: string): boolean =>
  senders.some((sender) => sender === from || (anyPort && addressOf(sender) === addressOf(from)));

/** Whether a packet for this peer would go back to where it came from. */
const leadsTo = (peer: Peer, from: string): boolean =>
  !peer.noPath &&
  (peer.endpoint === from ||
    (addressOf(peer.endpoint) === addressOf(from) && mayComeFrom(peer, from)));

/** Flags and offset of a fragment, IPv4's; 0 for a whole packet. */
const fragmentField = (packet: Uint8Array): number =>
  packet[0]! >> 4 === 4 ? Buffer.from(packet).readUInt16BE(6) : 0;

/** With its transport checksum finished, if it is whole and a Linux peer left that to its device. */
function completed(packet: Uint8Array): Uint8Array {
  const isWhole = (fragmentField(packet) & 0x3fff) === 0;
  const hasChecksum = [TCP, UDP].includes(partsOf(packet).protocol);
  return isWhole && hasChecksum && isPartial(packet) ? withChecksums(packet) : packet;
}

const mayFragment = (packet: Uint8Array): boolean =>
  packet[0]! >> 4 === 4 && (fragmentField(packet) & 0x4000) === 0;

/** RFC 791, 3.2, of a packet without options: as it is, if it fits. */
export function fragments(packet: Uint8Array, mtu: number): Uint8Array[] {
  if (packet.length <= mtu) return [packet];
  const step = Math.floor((mtu - 20) / 8) * 8;
  const field = fragmentField(packet);
  const pieces: Uint8Array[] = [];
  for (let at = 20; at < packet.length; at += step) {
    const piece = Buffer.concat([packet.subarray(0, 20), packet.subarray(at, at + step)]);
    const isLast = at + step >= packet.length;
    piece.writeUInt16BE(piece.length, 2);
    piece.writeUInt16BE((isLast ? field & 0x2000 : 0x2000) | ((field & 0x1fff) + (at - 20) / 8), 6);
    piece.writeUInt16BE(0, 10);
    piece.writeUInt16BE(checksum(piece.subarray(0, 20)), 10);
    pieces.push(new Uint8Array(piece));
  }
  return pieces;
}

/** Type and code of ICMP, then of ICMPv6. */
const ERRORS = {
  "no-route": [3, 0, 1, 0],
  "ttl-exceeded": [11, 0, 3, 0],
  "too-big": [3, 4, 2, 0],
} as const;

/** Never about an error, nor about any fragment but the first. */
function mayAnswer(packet: Uint8Array): boolean {
  const { protocol, transport } = partsOf(packet);
  if ((fragmentField(packet) & 0x1fff) !== 0) return false;
  if (protocol === ICMP) return [0, 8, 13, 14].includes(packet[transport]!);
  return protocol !== ICMPV6 || packet[transport]! >= 128;
}

function error4(src: string, about: Uint8Array, reason: keyof typeof ERRORS, mtu: number) {
  const [type, code] = ERRORS[reason];
  const message = Buffer.alloc(8 + Math.min(about.length, 576 - 28));
  message.set([type, code]);
  if (reason === "too-big") message.writeUInt16BE(mtu, 6);
  message.set(about.subarray(0, message.length - 8), 8);
  message.writeUInt16BE(checksum(message), 2);
  const dst = textOf(partsOf(about).src);
  return ipv4({ src, dst, protocol: ICMP, tos: 0xc0, id: 0, df: true, payload: message });
}

function error6(src: string, about: Uint8Array, reason: keyof typeof ERRORS, mtu: number) {
  const [, , type, code] = ERRORS[reason];
  const message = Buffer.alloc(8 + Math.min(about.length, 1280 - 48));
  message.set([type, code]);
  if (reason === "too-big") message.writeUInt32BE(mtu, 4);
  message.set(about.subarray(0, message.length - 8), 8);
  const dst = textOf(partsOf(about).src);
  const pseudo = pseudoHeader(ip(src), ip(dst), ICMPV6, message.length);
  message.writeUInt16BE(checksum(pseudo, message), 2);
  return ipv6({ src, dst, protocol: ICMPV6, payload: message });
}

const textOf = (address: Uint8Array): string =>
  formatAddress({
    family: address.length === 4 ? 4 : 6,
    value: BigInt(`0x${Buffer.from(address).toString("hex")}`),
  });
