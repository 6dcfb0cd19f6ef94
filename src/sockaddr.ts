/**
 * The socket addresses of Linux: struct sockaddr_in and sockaddr_in6.
 *
 *   0        2      4                 8         16        24         28
 *   +--------+------+-----------------+---------+
 *   | family | port | IPv4 address    | zeroes  |
 *   +--------+------+-----------------+---------+---------+----------+
 *   | family | port | flow label      | IPv6 address      | scope id |
 *   +--------+------+-----------------+-------------------+----------+
 *
 * The family is in host byte order; port and address are in network byte order.
 */
import { type Endpoint, toBytes } from "./address.js";
import {
  AF_INET,
  AF_INET6,
  SOCKADDR_IN_SIZE,
  SOCKADDR_IPV4,
  SOCKADDR_IPV6,
  SOCKADDR_PORT,
  SOCKADDR_SIZE,
} from "./linux.js";

/** Writes a socket address at the start of the view, and returns its length in bytes. */
export function writeSockaddr(view: DataView, { address, port }: Endpoint): number {
  const isIPv4 = address.family === 4;
  view.setUint16(0, isIPv4 ? AF_INET : AF_INET6, true);
  view.setUint16(SOCKADDR_PORT, port);
  toBytes(address).forEach((byte, i) => {
    view.setUint8((isIPv4 ? SOCKADDR_IPV4 : SOCKADDR_IPV6) + i, byte);
  });
  return isIPv4 ? SOCKADDR_IN_SIZE : SOCKADDR_SIZE;
}

/** Reads a socket address at the start of the view. */
export function readSockaddr(view: DataView): Endpoint {
  const family = view.getUint16(0, true) === AF_INET ? 4 : 6;
  let value = 0n;
  for (let i = 0; i < (family === 4 ? 4 : 16); i++) {
    value =
      (value << 8n) | BigInt(view.getUint8((family === 4 ? SOCKADDR_IPV4 : SOCKADDR_IPV6) + i));
  }
  return { address: { family, value }, port: view.getUint16(SOCKADDR_PORT) };
}
