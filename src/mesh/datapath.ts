/** The way of packets between hosts, where the mesh tries it out: small datagrams from the port that VXLAN uses. */

/** What a datagram begins with, so that it is no packet: as a VXLAN header it would have no VNI. */
export const MAGIC = "weft";
/** The longest datagram. */
export const MAX_CONTROL_BYTES = 512;

export interface DataPath {
  /** Sends one datagram from the VXLAN port, best effort. `to` is `192.0.2.1:4789` or `[2001:db8::1]:4789`. */
  send(to: string, bytes: Uint8Array): void;
  /** Where datagrams go that came in; one receiver. */
  receive(receiver: (from: string, bytes: Uint8Array) => void): void;
  /** Names of the peers to which packets went since this was asked last. */
  active(): string[];
}

/** The IP address of an endpoint. */
export function hostOf(endpoint: string): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
