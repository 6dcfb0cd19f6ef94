/** A VTEP that this node sends to and receives from. */
export interface Peer {
  readonly name: string;
  /** The underlay endpoint that its packets are sent to, like `192.0.2.2:4789` or `[2001:db8::2]:4789`. */
  readonly endpoint: string;
  /** The MAC address of its VTEP, the destination of inner frames to it. */
  readonly mac: string;
  /** The prefixes behind it, which are also the only inner sources accepted from it. */
  readonly leases: readonly string[];
  /**
   * The endpoints that its packets come from, at most 4: its own, that of a NAT in front of it, or a
   * relay's. By default `endpoint`.
   */
  readonly senders?: readonly string[] | undefined;
  /**
   * Whether its packets may come from any UDP port of those addresses. A kernel VXLAN device needs
   * this, because it varies the port with the flow (RFC 7348, 5). Any process on the peer's host can
   * then send in its name.
   */
  readonly anyPort?: boolean | undefined;
  /** Whether `endpoint` is unproved, so that packets for the peer are dropped (`no-path`). */
  readonly noPath?: boolean | undefined;
  /**
   * Whether it copies congestion marks of the outer header to the packet (RFC 6040), as Linux does.
   * Packets to other peers have no ECN in the outer header, so that no mark is lost.
   */
  readonly ecn?: boolean | undefined;
  /**
   * The largest inner packet that its path takes, in bytes, as the caller has verified; ICMP errors
   * are then only hints. By default this node's MTU, or a smaller one from an ICMP error that quotes
   * a packet sent to this peer.
   */
  readonly mtu?: number;
}
