/**
 * The UDP socket on the underlay: one, bound to this node's own address, so that
 * peers see datagrams come from the endpoint they know.
 */
import { parseAddress, parseEndpoint } from "../address.js";
import {
  AF_INET,
  AF_INET6,
  IP_MTU_DISCOVER,
  IP_RECVERR,
  IP_RECVTOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  IPV6_RECVTCLASS,
  IPV6_V6ONLY,
  PMTUDISC_PROBE,
  SO_ERROR,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKADDR_PORT,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../linux.js";
import { writeSockaddr } from "../sockaddr.js";
import { bindError } from "./bind.js";
import {
  bind,
  check,
  close,
  errno,
  getsockname,
  getsockopt,
  sendto,
  setsockopt,
  socket,
} from "./libc.js";

/** Room for a burst while the worker is busy with the other direction. */
export const SOCKET_BUFFER = 7 * 1024 * 1024;

/**
 * Opens the socket and returns its non-blocking descriptor. `isHeld`: this process holds
 * the port already (`holdPort`).
 * Throws a WeftError: UDP_IN_USE, UDP_ADDRESS, UDP_PERMISSION.
 */
export function openUdp(address: string, port: number, { isHeld = false } = {}): number {
  const parsed = parseAddress(address);
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  const length = writeSockaddr(new DataView(sockaddr.buffer), { address: parsed, port });
  const family = parsed.family === 4 ? AF_INET : AF_INET6;
  const fd = check(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "UDP socket");
  try {
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    if (family === AF_INET6) check(setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), "IPV6_V6ONLY");
    watchPath(fd, family);
    reportTos(fd, family);
    if (isHeld) share(fd);
    if (bind(fd, sockaddr, length) < 0) throw bindError(errno(), address, port);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * Takes a port at every address of the host, so that no other user has it at any. Linux lets a
 * process with a port at one address send from all others (IP_PKTINFO, ip(7)), so also from this
 * node's. Sockets of this user can share the port. Datagrams to other addresses are dropped. Throws
 * a WeftError: UDP_IN_USE, UDP_PERMISSION.
 */
export function holdPort(port: number): number {
  const ofBoth = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const isDual = ofBoth >= 0; // A kernel can be without IPv6.
  const fd = isDual ? ofBoth : check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "UDP socket");
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  const address = isDual ? "::" : "0.0.0.0";
  const any = { address: parseAddress(address), port };
  const length = writeSockaddr(new DataView(sockaddr.buffer), any);
  try {
    if (isDual) check(setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0), "IPV6_V6ONLY");
    check(setOption(fd, SOL_SOCKET, SO_RCVBUF, 0), "shrink the buffer of a UDP socket");
    if (bind(fd, sockaddr, length) < 0) throw bindError(errno(), address, port);
    // Only after bind: a shareable socket would bind even where other sockets have the port already.
    share(fd);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Lets other sockets of this user have the port as well. */
const share = (fd: number): void => {
  check(setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1), "SO_REUSEPORT");
};

/** Sends one datagram, best effort, beside whoever else uses the socket. */
export function sendDatagram(fd: number, to: string, bytes: Uint8Array): void {
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  const length = writeSockaddr(new DataView(sockaddr.buffer), parseEndpoint(to));
  const send = () => sendto(fd, bytes, bytes.length, 0, sockaddr, length) >= 0;
  // An ICMP error about an earlier datagram makes one send fail, and is gone with that.
  if (!send()) send();
}

/** The port that the kernel chose for a socket opened on port 0. */
export function boundPort(fd: number): number {
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  check(getsockname(fd, sockaddr, Uint32Array.of(sockaddr.length)), "getsockname");
  return new DataView(sockaddr.buffer).getUint16(SOCKADDR_PORT);
}

/** Lets the kernel gather datagrams of one sender into GSO batches; false where it cannot. */
export const gather = (fd: number): boolean => setOption(fd, SOL_UDP, UDP_GRO, 1) === 0;

/** The forcing option may pass the system's limit and needs CAP_NET_ADMIN; the plain one is capped. */
function enlarge(fd: number, force: number, plain: number): void {
  if (setOption(fd, SOL_SOCKET, force, SOCKET_BUFFER) < 0) {
    check(setOption(fd, SOL_SOCKET, plain, SOCKET_BUFFER), "enlarge the UDP socket's buffers");
  }
}

/**
 * Outer packets carry DF: a fragmented outer packet would hide a wrong MTU and
 * cost the receiver reassembly. PROBE rather than DO, because DO refuses to send
 * by any ICMP error. The socket reports such errors instead (RECVERR), and the core decides which
 * take effect, for that peer alone.
 */
function watchPath(fd: number, family: number): void {
  const [level, discover] =
    family === AF_INET ? [IPPROTO_IP, IP_MTU_DISCOVER] : [IPPROTO_IPV6, IPV6_MTU_DISCOVER];
  check(setOption(fd, level, discover, PMTUDISC_PROBE), "set DF on the UDP socket");
  reportErrors(fd, true);
}

/** Each receive tells the TOS, or traffic class, of what came: congestion marks are in it. */
function reportTos(fd: number, family: number): void {
  const [level, option] =
    family === AF_INET ? [IPPROTO_IP, IP_RECVTOS] : [IPPROTO_IPV6, IPV6_RECVTCLASS];
  check(setOption(fd, level, option, 1), "report the TOS of datagrams on the UDP socket");
}

/**
 * Starts or stops the reporting of ICMP errors. While they are reported, each one fails the next
 * send or receive. Stopping discards those that wait (ip(7), IP_RECVERR); errors of an unconnected
 * socket then fail no call.
 */
export function reportErrors(fd: number, isOn: boolean): void {
  const set = (level: number, option: number) => setOption(fd, level, option, isOn ? 1 : 0);
  // A socket can refuse the option of the other family.
  const done = [set(IPPROTO_IP, IP_RECVERR), set(IPPROTO_IPV6, IPV6_RECVERR)];
  check(Math.max(...done), "report ICMP errors of the UDP socket");
  if (!isOn) getsockopt(fd, SOL_SOCKET, SO_ERROR, new Int32Array(1), Uint32Array.of(4));
}

const setOption = (fd: number, level: number, option: number, value: number): number =>
  setsockopt(fd, level, option, Int32Array.of(value), 4);
