/** Control datagrams: they leave from the VXLAN port and so take the path of packets between hosts. */

/** First bytes of a control datagram. As a VXLAN header they would lack the flag of a valid VNI. */
export const CONTROL_MAGIC = "weft";
/** Most bytes of a control datagram that are handed up; the rest is cut off. */
export const MAX_CONTROL_BYTES = 512;

/**
 * Receives a control datagram: its source endpoint, its first MAX_CONTROL_BYTES, its full length,
 * and the milliseconds since it came in on this host.
 */
export type Receiver = (from: string, bytes: Uint8Array, length: number, waited: number) => void;

export interface DataPath {
  /** Whether congestion marks on outer headers are copied to inner packets (RFC 6040). */
  readonly carriesEcn: boolean;
  /** Sends one datagram from the VXLAN port, best effort. `to` is `192.0.2.1:4789` or `[2001:db8::1]:4789`. */
  send(to: string, bytes: Uint8Array): void;
  /** Sets the one receiver of control datagrams. */
  receive(receiver: Receiver): void;
  /** Names of the peers to which packets were sent since the last call. */
  takeActive(): string[];
  /** Inner packet sizes in bytes: the one that every path must take, and the largest that is sent. */
  readonly mtu: { readonly least: number; readonly most: number };
  /**
   * Sets the one listener for the name of a peer with a new path MTU hint; it is called again only
   * after `takeHint`.
   */
  onMtuHint(listener: (name: string) => void): void;
  /** Sets the one listener for a change of `mtu`. */
  onMtuChange(listener: () => void): void;
  /** The smallest MTU hinted for this peer since the last call. A hint may be forged: verify it by probes. */
  takeMtuHint(name: string): number | undefined;
}

/** Bytes before the inner packet in a datagram: VXLAN 8, Ethernet 14. */
export const ENCAP_BYTES = 22;

/** The IP address of an endpoint. */
export function hostOf(endpoint: string): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
