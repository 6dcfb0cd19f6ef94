/**
 * The UDP socket on the underlay. There is one, bound to this node's own address, so that peers see
 * datagrams from the endpoint that they know.
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

/** Bytes. Holds a burst while the worker handles the other direction. */
export const SOCKET_BUFFER = 7 * 1024 * 1024;

/**
 * Opens the socket and returns its non-blocking descriptor.
 * Throws a WeftError: UDP_IN_USE, UDP_ADDRESS, UDP_PERMISSION.
 * @param isHeld whether this process already has the port (`holdPort`)
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
 * Binds a port at all addresses of the host, so that no other user has it at any of them. Linux lets a
 * process with a port at one address send from all others (IP_PKTINFO, ip(7)), so also from this
 * node's. Sockets of this user can share the port. Datagrams to other addresses are dropped. Throws a
 * WeftError: UDP_IN_USE, UDP_PERMISSION.
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
    // Only after bind: a socket that shares its port binds even if other sockets have the port.
    share(fd);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Lets other sockets of this user bind the same port. */
const share = (fd: number): void => {
  check(setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1), "SO_REUSEPORT");
};

/** Sends one datagram, best effort. Other threads may use the socket at the same time. */
export function sendDatagram(fd: number, to: string, bytes: Uint8Array): void {
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  const length = writeSockaddr(new DataView(sockaddr.buffer), parseEndpoint(to));
  const send = () => sendto(fd, bytes, bytes.length, 0, sockaddr, length) >= 0;
  // An ICMP error about an earlier datagram fails one send, which clears it.
  if (!send()) send();
}

/** The port that the kernel chose for a socket opened on port 0. */
export function boundPort(fd: number): number {
  const sockaddr = new Uint8Array(SOCKADDR_SIZE);
  check(getsockname(fd, sockaddr, Uint32Array.of(sockaddr.length)), "getsockname");
  return new DataView(sockaddr.buffer).getUint16(SOCKADDR_PORT);
}

/** Lets the kernel gather datagrams of one sender into GSO batches; false if it cannot. */
export const gather = (fd: number): boolean => setOption(fd, SOL_UDP, UDP_GRO, 1) === 0;

/** The force option may exceed the system's limit and needs CAP_NET_ADMIN; the plain one is capped. */
function enlarge(fd: number, force: number, plain: number): void {
  if (setOption(fd, SOL_SOCKET, force, SOCKET_BUFFER) < 0) {
    check(setOption(fd, SOL_SOCKET, plain, SOCKET_BUFFER), "enlarge the UDP socket's buffers");
  }
}

/**
 * Outer packets carry DF: fragments would hide a wrong MTU and cost the receiver reassembly. PROBE
 * instead of DO, because with DO any ICMP error can stop the sending. The socket reports ICMP errors
 * (RECVERR), and the core decides which of them take effect, and only for the peer concerned.
 */
function watchPath(fd: number, family: number): void {
  const [level, discover] =
    family === AF_INET ? [IPPROTO_IP, IP_MTU_DISCOVER] : [IPPROTO_IPV6, IPV6_MTU_DISCOVER];
  check(setOption(fd, level, discover, PMTUDISC_PROBE), "set DF on the UDP socket");
  reportErrors(fd, true);
}

/** Makes each receive return the TOS or traffic class of the datagram, which has congestion marks. */
function reportTos(fd: number, family: number): void {
  const [level, option] =
    family === AF_INET ? [IPPROTO_IP, IP_RECVTOS] : [IPPROTO_IPV6, IPV6_RECVTCLASS];
  check(setOption(fd, level, option, 1), "report the TOS of datagrams on the UDP socket");
}

/**
 * Starts or stops the reports of ICMP errors. While it is on, each error fails the next send or
 * receive. Stopping discards the queued ones (ip(7), IP_RECVERR); errors of an unconnected socket then
 * fail no call.
 */
export function reportErrors(fd: number, isOn: boolean): void {
  const set = (level: number, option: number) => setOption(fd, level, option, isOn ? 1 : 0);
  // A socket may refuse the option of the other family.
  const done = [set(IPPROTO_IP, IP_RECVERR), set(IPPROTO_IPV6, IPV6_RECVERR)];
  check(Math.max(...done), "report ICMP errors of the UDP socket");
  if (!isOn) getsockopt(fd, SOL_SOCKET, SO_ERROR, new Int32Array(1), Uint32Array.of(4));
}

const setOption = (fd: number, level: number, option: number, value: number): number =>
  setsockopt(fd, level, option, Int32Array.of(value), 4);
