/**
 * Reasons of drops: the name for counters and tests, and a sentence for the operator. The index is the
 * core's number (`assembly/reason.ts`).
 */
const REASONS = [
  ["delivered", "not dropped"],
  ["truncated", "the packet is shorter than its headers say"],
  ["not-ip", "the packet is neither IPv4 nor IPv6"],
  ["bad-header", "a header contradicts itself, or the one around it"],
  ["bad-checksum", "the IPv4 header checksum is wrong, or that of a UDP super-packet"],
  ["header-chain", "the packet has more IPv6 extension headers than any use of them needs"],
  [
    "martian-source",
    "the source cannot be a host's address (zero, loopback, link-local IPv6, multicast)",
  ],
  ["martian-destination", "the destination is not the address of a single host"],
  ["bad-offload", "the device's virtio-net header does not fit the packet"],
  ["no-route", "no peer's lease holds the destination"],
  ["no-host", "the destination is in this node's own lease, but no device of this host has it"],
  ["ttl-exceeded", "the packet's time to live ran out here"],
  ["too-big", "the packet is larger than the path to the peer allows, and must not be fragmented"],
  ["not-vxlan", "the datagram has no VXLAN header with a network identifier"],
  ["wrong-vni", "the datagram belongs to another VXLAN network"],
  ["unknown-peer", "the datagram comes from an underlay endpoint (address and port) of no peer"],
  ["spoofed-source", "a peer sent an inner source that is not in its leases"],
  ["relay-loop", "the packet would go back to the underlay endpoint it came from"],
  ["send-buffer-full", "the UDP socket stayed full for as long as the sender waits"],
  ["send-failed", "the kernel refused to send the datagram"],
  ["device-buffer-full", "the device stayed full for as long as the writer waits"],
  ["device-failed", "the kernel refused to take the packet from the device"],
  ["denied-egress", "a policy of the node that sends denies it"],
  ["denied-ingress", "a policy of the node that receives denies it"],
  ["invalid-state", "the packet does not fit the state of its connection"],
  ["flow-table-full", "a policy needs the state of this connection, and there is no room for it"],
  ["fragment-before-first", "a later fragment arrived before the first one, which the rules need"],
  ["tiny-fragment", "the first fragment of a datagram is too short for its transport header"],
  ["fragment-overlap", "a fragment would overwrite the transport header of its datagram"],
  ["source-route", "the sender chose the packet's path (IPv4 LSRR or SSRR, IPv6 routing type 0)"],
  [
    "policy-unknown",
    "this node does not know yet whether there is a policy or a translation document",
  ],
  ["no-path", "no path to the peer has answered a probe yet"],
  [
    "not-ecn-capable",
    "the underlay marked congestion (CE) on a packet that cannot carry the mark (RFC 6040)",
  ],
  ["nat-exhausted", "no outside port is left for the source, or it has as many as it may"],
  [
    "not-translatable",
    "a rule of translation covers the packet, which opens no connection and belongs to none",
  ],
  ["no-backend", "the service has no backend for it, or its backend was removed"],
  ["no-gateway", "an egress rule covers the packet, and none of its gateways lives"],
] as const;

export type Reason = (typeof REASONS)[number][0];

/** Bit beside the reason when the sender got an ICMP error. */
export const ANSWERED = 0x100;

export const reasonNames: readonly Reason[] = REASONS.map(([name]) => name);

/** Reasons for which the sender may get an ICMP error (`isAnswerable` in assembly/stages/icmp-error.ts). */
export const ANSWERABLE: readonly Reason[] = [
  "no-route",
  "no-host",
  "ttl-exceeded",
  "too-big",
  "denied-egress",
  "denied-ingress",
  "nat-exhausted",
  "no-backend",
  "no-gateway",
];

export const reasonNumber = (name: Reason): number => reasonNames.indexOf(name);

export const explainReason = (name: Reason): string =>
  REASONS[reasonNumber(name)]?.[1] ?? "unknown";

export const SEND_BUFFER_FULL = reasonNumber("send-buffer-full");
export const SEND_FAILED = reasonNumber("send-failed");
export const DEVICE_BUFFER_FULL = reasonNumber("device-buffer-full");
export const DEVICE_FAILED = reasonNumber("device-failed");
