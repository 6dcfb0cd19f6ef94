/**
 * Tells the neighbours on a link that this host answers for an address now: a gratuitous ARP
 * (RFC 5227, section 2.3) or an unsolicited neighbor advertisement (RFC 4861, section 7.2.6).
 */
import koffi from "koffi";
import { type Address, parseAddress, toBytes } from "../address.js";
import { SystemError } from "../io/errno.js";
import { close, sendto, setsockopt, socket } from "../io/libc.js";
import {
  AF_INET6,
  AF_PACKET,
  ETH_P_ARP,
  IPPROTO_ICMPV6,
  IPPROTO_IPV6,
  IPV6_MULTICAST_HOPS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCKADDR_LL_ADDR,
  SOCKADDR_LL_HALEN,
  SOCKADDR_LL_IFINDEX,
  SOCKADDR_LL_PROTOCOL,
  SOCKADDR_LL_SIZE,
  SOCKADDR_SCOPE_ID,
  SOCKADDR_SIZE,
} from "../linux.js";
import { writeSockaddr } from "../sockaddr.js";

/** An interface as its neighbours see it. */
export interface NeighbourLink {
  readonly index: number;
  /** Its MAC address, 6 bytes. */
  readonly mac: Uint8Array;
}

const MAC_SIZE = 6;
const EVERYBODY = new Uint8Array(MAC_SIZE).fill(0xff);
const ALL_NODES = parseAddress("ff02::1");

/** @throws SystemError if this process may not send raw packets, or the link does not take them */
export function announce(address: Address, link: NeighbourLink): void {
  if (address.family === 4) announceByArp(address, link);
  else announceByAdvertisement(address, link);
}

function announceByArp(address: Address, { index, mac }: NeighbourLink): void {
  const to = new DataView(new ArrayBuffer(SOCKADDR_LL_SIZE));
  to.setUint16(0, AF_PACKET, true);
  to.setUint16(SOCKADDR_LL_PROTOCOL, ETH_P_ARP);
  to.setInt32(SOCKADDR_LL_IFINDEX, index, true);
  to.setUint8(SOCKADDR_LL_HALEN, MAC_SIZE);
  new Uint8Array(to.buffer).set(EVERYBODY, SOCKADDR_LL_ADDR);
  const fd = made(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  send(fd, gratuitousArp(address, mac), to);
}

/** The kernel fills in the checksum and a link-local source. */
function announceByAdvertisement(address: Address, { index, mac }: NeighbourLink): void {
  const to = new DataView(new ArrayBuffer(SOCKADDR_SIZE));
  writeSockaddr(to, { address: ALL_NODES, port: 0 });
  to.setUint32(SOCKADDR_SCOPE_ID, index, true);
  const fd = made(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
  // Receivers ignore an advertisement that may have come through a router (RFC 4861, section 7.1.2).
  setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, Int32Array.of(255), 4);
  send(fd, advertisement(address, mac), to);
}

/**
 *   0               2               4       5       6               8
 *   +---------------+---------------+-------+-------+---------------+
 *   | Ethernet: 1   | IPv4: 0x0800  | 6     | 4     | request: 1    |
 *   +---------------+---------------+-------+-------+---------------+
 *   | sender: MAC, address | target: zeros, the same address        |
 *   +---------------------------------------------------------------+
 */
export function gratuitousArp(address: Address, mac: Uint8Array): Uint8Array {
  const own = toBytes(address);
  return Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...mac, ...own, 0, 0, 0, 0, 0, 0, ...own);
}

/**
 *   0       1       2               4                               8
 *   +-------+-------+---------------+-------------------------------+
 *   | 136   | 0     | checksum      | flags: router, override       |
 *   +-------+-------+---------------+-------------------------------+
 *   | target address                                                |
 *   +-------+-------+-----------------------------------------------+
 *   | 2     | 1     | MAC: target link-layer address                |
 *   +-------+-------+-----------------------------------------------+
 */
export const advertisement = (address: Address, mac: Uint8Array): Uint8Array =>
  Uint8Array.of(136, 0, 0, 0, 0xa0, 0, 0, 0, ...toBytes(address), 2, 1, ...mac);

function made(fd: number): number {
  if (fd < 0) throw new SystemError("socket", koffi.errno());
  return fd;
}

function send(fd: number, bytes: Uint8Array, to: DataView): void {
  const sent = sendto(fd, bytes, bytes.length, 0, to, to.byteLength);
  const reason = koffi.errno();
  close(fd);
  if (sent < 0) throw new SystemError("sendto", reason);
}
