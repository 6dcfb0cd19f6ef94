/** Writes a peer as the core reads it: `assembly/tables/peer.ts` draws the layout. */
import { type Address, type Endpoint, toBytes } from "../address.js";
import { AF_INET, AF_INET6, SIN_ADDR, SIN_PORT, writeSockaddr } from "../sockaddr.js";
import type { OuterTos } from "../tos.js";

export interface PeerEntry {
  /** Index in the table. */
  readonly index: number;
  /** Destination of its packets; missing while no path is known. */
  readonly endpoint: Endpoint | undefined;
  readonly mac: Uint8Array;
  /** The underlay endpoints that its packets come from, at most MAX_SENDERS. Port 0 stands for any. */
  readonly senders: readonly Endpoint[];
  /** The largest inner packet, bytes. */
  readonly mtu: number;
  /** The control plane verifies that MTU by probes. */
  readonly isVerified: boolean;
  readonly tos: OuterTos;
}

const SOCKADDR_LENGTH = 28;
const VXLAN = 32;
const ETHERNET = VXLAN + 8;
const TOS_KEPT = 54;
const TOS_SET = 55;
const MTU = 56;
const IS_VERIFIED = 60;
const SENDERS = 64;
const SENDER_SIZE = 24;
const SENDER_ADDRESS_6 = 8;
/** The port of a sender that may use any port. */
export const ANY_PORT = 0;
/** The core's record has room for so many (assembly/memory.ts). */
export const MAX_SENDERS = 4;
/** Bytes of an inner packet that every path takes: 576 outside (RFC 791, 3.1), less the 70 of the largest headers. */
export const LEAST_MTU = 506;
const HAS_VNI = 0x08;
const TYPE_IPV4 = 0x0800;

/** Fills one record: sockaddr, ready-made VXLAN and Ethernet headers, TOS, MTU, senders. */
export function writePeer(
  record: DataView,
  { endpoint, mac, senders, mtu, isVerified, tos }: PeerEntry,
  own: { vni: number; mac: Uint8Array },
): void {
  const bytes = clearPeer(record);
  if (endpoint) record.setUint32(SOCKADDR_LENGTH, writeSockaddr(record, endpoint), true);
  record.setUint8(VXLAN, HAS_VNI);
  record.setUint32(VXLAN + 4, own.vni << 8);
  bytes.set(mac, ETHERNET);
  bytes.set(own.mac, ETHERNET + 6);
  record.setUint16(ETHERNET + 12, TYPE_IPV4);
  record.setUint8(TOS_KEPT, tos.kept);
  record.setUint8(TOS_SET, tos.set);
  record.setUint32(MTU, mtu, true);
  record.setUint32(IS_VERIFIED, isVerified ? 1 : 0, true);
  for (const [i, sender] of senders.entries()) {
    const at = record.byteOffset + SENDERS + i * SENDER_SIZE;
    writeSender(new DataView(record.buffer, at, SENDER_SIZE), sender);
  }
}

/** Laid out as a sockaddr, but an IPv6 address follows the port, without the scope. */
function writeSender(view: DataView, { address, port }: Endpoint): void {
  const isIPv4 = address.family === 4;
  view.setUint16(0, isIPv4 ? AF_INET : AF_INET6, true);
  view.setUint16(SIN_PORT, port);
  const at = view.byteOffset + (isIPv4 ? SIN_ADDR : SENDER_ADDRESS_6);
  new Uint8Array(view.buffer, at).set(toBytes(address));
}

/** Zeroes the record. */
export function clearPeer(record: DataView): Uint8Array {
  return new Uint8Array(record.buffer, record.byteOffset, record.byteLength).fill(0);
}

/** The underlay addresses that its packets go to or come from. */
export const addressesOf = ({ endpoint, senders }: PeerEntry): Address[] =>
  [...(endpoint ? [endpoint] : []), ...senders].map(({ address }) => address);

/** An IPv4 address as the core loads it from a packet. */
export const networkOrder = (address: Address): number =>
  new DataView(toBytes(address).buffer).getUint32(0, true);
