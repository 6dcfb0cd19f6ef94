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
   * The endpoints that its packets come from, at most 4: its own, that of a NAT in front of it,
   * or a relay's. Without them, `endpoint`.
   */
  readonly senders?: readonly string[] | undefined;
  /**
   * Its packets may come from any UDP port of those addresses. A kernel VXLAN device needs this,
   * because it varies the port with the flow (RFC 7348, 5). Any process of the peer's host can then
   * send in its name.
   */
  readonly anyPort?: boolean | undefined;
  /** Nothing has answered at `endpoint` yet, so nothing is sent there: packets for it are dropped (`no-path`). */
  readonly noPath?: boolean | undefined;
  /**
   * It carries congestion marks of the outer header into the packet (RFC 6040), as Linux does. To
   * others packets go without ECN on the outside, so that no mark is lost.
   */
  readonly ecn?: boolean | undefined;
  /**
   * The largest inner packet that its path takes, in bytes, verified by the caller: ICMP errors are
   * then only hints. Without it, this node's own MTU, or a smaller one from an ICMP error that
   * quotes a packet sent to this peer.
   */
  readonly mtu?: number;
}
