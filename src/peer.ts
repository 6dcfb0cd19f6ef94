/** A VTEP this node may send to and receive from. */
export interface Peer {
  readonly name: string;
  /** Underlay address and UDP port, like `192.0.2.2:4789` or `[2001:db8::2]:4789`. */
  readonly endpoint: string;
  /** The MAC address its inner frames carry. */
  readonly mac: string;
  /** The prefixes behind it, and the only inner sources accepted from it. */
  readonly leases: readonly string[];
  /** Other underlay IP addresses its packets may come from, at most 4: a NAT's before it, a relay's. */
  readonly senders?: readonly string[];
  /**
   * The largest inner packet that its path takes, in bytes, as its giver has verified: ICMP is
   * then a hint that is not acted on. Without it this node's own MTU, or what ICMP says while it
   * quotes what was sent to this peer.
   */
  readonly mtu?: number;
}
