/** The way of packets between hosts, where the mesh tries it out: small datagrams from the port that VXLAN uses. */

/** What a datagram begins with, so that it is no packet: as a VXLAN header it would have no VNI. */
export const MAGIC = "weft";
/** What is handed up of a datagram; of a longer one, its first bytes and its length. */
export const MAX_CONTROL_BYTES = 512;

/** Takes a datagram that came in: who sent it, its first MAX_CONTROL_BYTES, and how long it was. */
export type Receiver = (from: string, bytes: Uint8Array, length: number) => void;

export interface DataPath {
  /** Sends one datagram from the VXLAN port, best effort. `to` is `192.0.2.1:4789` or `[2001:db8::1]:4789`. */
  send(to: string, bytes: Uint8Array): void;
  /** Where datagrams go that came in; one receiver. */
  receive(receiver: Receiver): void;
  /** Names of the peers to which packets went since this was asked last. */
  active(): string[];
  /** The least inner packet that every path takes, and the largest that is sent, in bytes. */
  readonly mtu: { readonly least: number; readonly most: number };
  /** Who is told the name of a peer when somebody says that the path there takes less; again only after `takeHint`. One listener. */
  hinted(listener: (name: string) => void): void;
  /** The smallest MTU that was said since this was asked last. Anybody can say it: it is to be verified. */
  takeHint(name: string): number | undefined;
}

/** Bytes before an inner packet in its datagram: VXLAN 8, Ethernet 14. */
export const ENCAP_BYTES = 22;

/** The IP address of an endpoint. */
export function hostOf(endpoint: string): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
