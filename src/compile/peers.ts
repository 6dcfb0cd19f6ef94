/**
 * Writes the peers and their underlay addresses as the core searches them:
 * `assembly/tables/peer.ts` and `endpoint.ts` draw the layout.
 */
import { type Address, type Endpoint, toBytes } from "../address.js";

export interface PeerEntry {
  /** Index in the table. */
  readonly index: number;
  readonly endpoint: Endpoint;
  readonly mac: Uint8Array;
  /** The largest inner packet, bytes. */
  readonly mtu: number;
}

const AF_INET = 2;
const SOCKADDR_IN_SIZE = 16;
const SOCKADDR_LENGTH = 28;
const VXLAN = 32;
const ETHERNET = VXLAN + 8;
const MTU = 56;
const HAS_VNI = 0x08;
const TYPE_IPV4 = 0x0800;

/** Fills one record: sockaddr, ready-made VXLAN and Ethernet headers, MTU. */
export function writePeer(
  record: DataView,
  { endpoint, mac, mtu }: PeerEntry,
  own: { vni: number; mac: Uint8Array },
): void {
  const bytes = new Uint8Array(record.buffer, record.byteOffset, record.byteLength);
  bytes.fill(0);
  record.setUint16(0, AF_INET, true);
  record.setUint16(2, endpoint.port);
  bytes.set(toBytes(endpoint.address), 4);
  record.setUint32(SOCKADDR_LENGTH, SOCKADDR_IN_SIZE, true);
  record.setUint8(VXLAN, HAS_VNI);
  record.setUint32(VXLAN + 4, own.vni << 8);
  bytes.set(mac, ETHERNET);
  bytes.set(own.mac, ETHERNET + 6);
  record.setUint16(ETHERNET + 12, TYPE_IPV4);
  record.setUint32(MTU, mtu, true);
}

const SPREAD = 0x9e3779b1;

/** The hash table of underlay addresses: 2^bits places of two words, address and peer. */
export function writeEndpoints(table: Uint32Array, bits: number, peers: Iterable<PeerEntry>): void {
  table.fill(0);
  const mask = (1 << bits) - 1;
  for (const { endpoint, index } of peers) {
    const address = networkOrder(endpoint.address);
    let place = Math.imul(address, SPREAD) >>> (32 - bits);
    while (table[place * 2 + 1] !== 0 && table[place * 2] !== address) place = (place + 1) & mask;
    table[place * 2] = address;
    table[place * 2 + 1] = index;
  }
}

/** An IPv4 address as the core loads it from a packet. */
export const networkOrder = (address: Address): number =>
  new DataView(toBytes(address).buffer).getUint32(0, true);
