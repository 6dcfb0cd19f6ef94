/** Writes a peer for the core: `assembly/tables/peer.ts` draws the layout. */
import { type Address, type Endpoint, toBytes } from "../address.js";
import { writeSockaddr } from "../sockaddr.js";
import type { OuterTos } from "../tos.js";

export interface PeerEntry {
  /** Index in the table. */
  readonly index: number;
  /** Destination of its packets; undefined while no path is known. */
  readonly endpoint: Endpoint | undefined;
  readonly mac: Uint8Array;
  /** Underlay sources of its packets, at most MAX_SENDERS. Port 0 stands for any port. */
  readonly senders: readonly Endpoint[];
  /** Largest inner packet, in bytes. */
  readonly mtu: number;
  /** Whether the control plane verifies that MTU by probes. */
  readonly isVerified: boolean;
  readonly tos: OuterTos;
}

/** Offsets of the fields of a record in the core. */
export interface PeerLayout {
  readonly PEER_SOCKADDR_LENGTH: number;
  readonly PEER_HEADERS: number;
  readonly PEER_TOS_KEPT: number;
  readonly PEER_TOS_SET: number;
  readonly PEER_MTU: number;
  readonly PEER_IS_VERIFIED: number;
  readonly PEER_SENDERS: number;
  readonly PEER_SENDER_SIZE: number;
}

/** The port of a sender that may use any port. */
export const ANY_PORT = 0;
/** Most senders in the core's record (assembly/memory.ts). */
export const MAX_SENDERS = 4;
/** Bytes of an inner packet that every path carries: 576 (RFC 791, 3.1) less 70 of the largest headers. */
export const LEAST_MTU = 506;
// VXLAN (RFC 7348, 5) and Ethernet.
const VXLAN_SIZE = 8;
const HAS_VNI = 0x08;
const MAC_SIZE = 6;
const TYPE_IPV4 = 0x0800;

/** Fills one record: sockaddr, ready-made VXLAN and Ethernet headers, TOS, MTU, senders. */
export function writePeer(
  record: DataView,
  { endpoint, mac, senders, mtu, isVerified, tos }: PeerEntry,
  own: { vni: number; mac: Uint8Array },
  layout: PeerLayout,
): void {
  const bytes = clearPeer(record);
  if (endpoint) {
    record.setUint32(layout.PEER_SOCKADDR_LENGTH, writeSockaddr(record, endpoint), true);
  }
  const vxlan = layout.PEER_HEADERS;
  record.setUint8(vxlan, HAS_VNI);
  record.setUint32(vxlan + 4, own.vni << 8);
  const ethernet = vxlan + VXLAN_SIZE;
  bytes.set(mac, ethernet);
  bytes.set(own.mac, ethernet + MAC_SIZE);
  record.setUint16(ethernet + 2 * MAC_SIZE, TYPE_IPV4);
  record.setUint8(layout.PEER_TOS_KEPT, tos.kept);
  record.setUint8(layout.PEER_TOS_SET, tos.set);
  record.setUint32(layout.PEER_MTU, mtu, true);
  record.setUint32(layout.PEER_IS_VERIFIED, isVerified ? 1 : 0, true);
  for (const [i, sender] of senders.entries()) {
    const at = record.byteOffset + layout.PEER_SENDERS + i * layout.PEER_SENDER_SIZE;
    writeSockaddr(new DataView(record.buffer, at, layout.PEER_SENDER_SIZE), sender);
  }
}

/** Zeroes the record. */
export function clearPeer(record: DataView): Uint8Array {
  return new Uint8Array(record.buffer, record.byteOffset, record.byteLength).fill(0);
}

/** The underlay addresses that it sends from or receives at. */
export const addressesOf = ({ endpoint, senders }: PeerEntry): Address[] =>
  [...(endpoint ? [endpoint] : []), ...senders].map(({ address }) => address);

/** An IPv4 address as the core loads it from a packet. */
export const networkOrder = (address: Address): number =>
  new DataView(toBytes(address).buffer).getUint32(0, true);
