/** Errors of a UDP socket that cannot be bound to its address. */
import { formatEndpoint, parseAddress } from "../address.js";
import { WeftError } from "../error.js";
import { EACCES, EADDRINUSE, EADDRNOTAVAIL, SystemError } from "./errno.js";

/** Codes: UDP_IN_USE, UDP_ADDRESS, UDP_PERMISSION; SystemError for any other errno. */
export function bindError(errno: number, address: string, port: number): Error {
  const endpoint = formatEndpoint({ address: parseAddress(address), port });
  switch (errno) {
    case EADDRINUSE:
      return new WeftError(
        "UDP_IN_USE",
        `UDP ${endpoint} is in use, by another program or by a kernel vxlan device`,
        "find it (ss -ulpn, ip -d link show type vxlan), or choose another port with --port",
      );
    case EADDRNOTAVAIL:
      return new WeftError(
        "UDP_ADDRESS",
        `this host does not have the address ${address}`,
        "give one of its own addresses with --underlay (ip address shows them)",
      );
    case EACCES:
      return new WeftError(
        "UDP_PERMISSION",
        `this process may not use UDP port ${port}`,
        "choose a port above 1023 with --port, or run it as root",
      );
    default:
      return new SystemError(`bind UDP ${endpoint}`, errno);
  }
}
