/** The way of packets between hosts, where the mesh tries it out: small datagrams from the port that VXLAN uses. */

/** What a datagram begins with, so that it is no packet: as a VXLAN header it would have no VNI. */
export const CONTROL_MAGIC = "weft";
/** Most bytes of a datagram that are handed up; a longer one is cut, and its length is given. */
export const MAX_CONTROL_BYTES = 512;

/**
 * Receives a datagram: its sender, its first MAX_CONTROL_BYTES, its full length, and the milliseconds
 * that it has waited here since it came in.
 */
export type Receiver = (from: string, bytes: Uint8Array, length: number, waited: number) => void;

export interface DataPath {
  /** Whether congestion marks on outer headers reach the packets inside (RFC 6040). */
  readonly carriesEcn: boolean;
  /** Sends one datagram from the VXLAN port, best effort. `to` is `192.0.2.1:4789` or `[2001:db8::1]:4789`. */
  send(to: string, bytes: Uint8Array): void;
  /** Where datagrams go that came in; one receiver. */
  receive(receiver: Receiver): void;
  /** Names of the peers to which packets went since this was asked last. */
  takeActive(): string[];
  /** The least inner packet that every path takes, and the largest that is sent, in bytes. */
  readonly mtu: { readonly least: number; readonly most: number };
  /**
   * Sets the one listener for the name of a peer with a new path MTU hint; it is called again only
   * after `takeHint`.
   */
  onMtuHint(listener: (name: string) => void): void;
  /** Sets the one listener for a change of `mtu`. */
  onMtuChange(listener: () => void): void;
  /** The smallest hinted MTU since the last call. A hint may be forged, so it must be verified. */
  takeMtuHint(name: string): number | undefined;
}

/** Bytes before an inner packet in its datagram: VXLAN 8, Ethernet 14. */
export const ENCAP_BYTES = 22;

/** The IP address of an endpoint. */
export function hostOf(endpoint: string): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
