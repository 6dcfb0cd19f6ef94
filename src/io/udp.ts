/**
 * The UDP socket on the underlay: one, bound to this node's own address, so that
 * peers see datagrams come from the endpoint they know.
 */
import { parseAddress, toBytes } from "../address.js";
import { WeftError } from "../error.js";
import { bindError } from "./bind.js";
import { bind, check, close, errno, setsockopt, socket } from "./libc.js";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_PROBE = 3;

/** Room for a burst while the worker is busy with the other direction. */
export const SOCKET_BUFFER = 7 * 1024 * 1024;

const SOCKADDR_IN_SIZE = 16;

/**
 * Opens the socket and returns its non-blocking descriptor.
 * Throws a WeftError: UDP_FAMILY, UDP_IN_USE, UDP_ADDRESS, UDP_PERMISSION.
 */
export function openUdp(address: string, port: number): number {
  const sockaddr = socketAddress(address, port);
  const fd = check(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "UDP socket");
  try {
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    forbidFragments(fd);
    if (bind(fd, sockaddr, sockaddr.length) < 0) throw bindError(errno(), address, port);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** struct sockaddr_in: family (host order), port and address (network order). */
function socketAddress(address: string, port: number): Uint8Array {
  const parsed = parseAddress(address);
  if (parsed.family !== 4) {
    throw new WeftError(
      "UDP_FAMILY",
      `the underlay address ${address} is IPv6, which is not supported`,
      "give this node's IPv4 address with --underlay",
    );
  }
  const bytes = new Uint8Array(SOCKADDR_IN_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  bytes.set(toBytes(parsed), 4);
  return bytes;
}

/** The forcing option may pass the system's limit and needs CAP_NET_ADMIN; the plain one is capped. */
function enlarge(fd: number, force: number, plain: number): void {
  if (setOption(fd, SOL_SOCKET, force, SOCKET_BUFFER) < 0) {
    check(setOption(fd, SOL_SOCKET, plain, SOCKET_BUFFER), "enlarge the UDP socket's buffers");
  }
}

/**
 * Outer packets carry DF: a fragmented outer packet would hide a wrong MTU and
 * cost the receiver reassembly. PROBE rather than DO, because DO believes any
 * ICMP "fragmentation needed" that reaches this host, so that one forged packet
 * could stop everything we send to a peer.
 */
function forbidFragments(fd: number): void {
  check(setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE), "set DF on the UDP socket");
}

const setOption = (fd: number, level: number, option: number, value: number): number =>
  setsockopt(fd, level, option, Int32Array.of(value), 4);
