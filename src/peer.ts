/** A VTEP this node may send to and receive from. */
export interface Peer {
  readonly name: string;
  /** Where its packets are sent: underlay address and UDP port, like `192.0.2.2:4789` or `[2001:db8::2]:4789`. */
  readonly endpoint: string;
  /** The MAC address its inner frames carry. */
  readonly mac: string;
  /** The prefixes behind it, and the only inner sources accepted from it. */
  readonly leases: readonly string[];
  /**
   * The endpoints its packets come from, at most 4: its own, a NAT's before it, a relay's.
   * When they are not given, `endpoint`.
   */
  readonly senders?: readonly string[] | undefined;
  /**
   * Its packets may come from any UDP port of those addresses. A kernel VXLAN device needs
   * that: it varies the port with the flow (RFC 7348, 5). Any process of the peer's host can
   * send in its name then.
   */
  readonly anyPort?: boolean | undefined;
  /** Nothing has answered at `endpoint` yet, so nothing is sent there: packets for it are dropped (`no-path`). */
  readonly noPath?: boolean | undefined;
  /**
   * The largest inner packet that its path takes, in bytes, as its giver has verified: ICMP is
   * then a hint that is not acted on. Without it this node's own MTU, or what ICMP says while it
   * quotes what was sent to this peer.
   */
  readonly mtu?: number;
}
