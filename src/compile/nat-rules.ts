/** The translations of one node, as the compiler takes them: all names are resolved. */
import type { Address, Prefix } from "../address.js";

/** The lists are in the order of application. */
export interface NatRules {
  /** Services, and published ports with addresses of this node. */
  readonly services: readonly ServiceRule[];
  readonly netmaps: readonly NetmapRule[];
  /** Every rule: a node is the sources' node, the gateway, or both. */
  readonly egress: readonly EgressRule[];
  /** The rules of `snat`, then those of `masquerade`. */
  readonly sources: readonly SourceRule[];
  /** Most mappings of one inside address. */
  readonly perSource: number;
}

export const NO_NAT: NatRules = {
  services: [],
  netmaps: [],
  egress: [],
  sources: [],
  perSource: 4096,
};

export interface ServiceRule {
  /** Name of the service; of a published port: `ADDRESS:PORT/PROTOCOL`. */
  readonly name: string;
  /** A published port is also for packets from other nodes; a service, only for those of this node. */
  readonly isPort: boolean;
  /** IP protocol number of TCP, UDP or SCTP. */
  readonly protocol: number;
  readonly address: Address;
  readonly port: number;
  /** Backends on dead nodes are not among them. */
  readonly backends: readonly BackendRule[];
  /** Whether a client's address alone chooses the backend. */
  readonly byClient: boolean;
  /** Milliseconds for which a client should keep its backend; 0 for none. The core has no use of it yet. */
  readonly affinityMs: number;
}

export interface BackendRule {
  readonly address: Address;
  readonly port: number;
  /** 1 to 100. */
  readonly weight: number;
  /** Whether it gets new flows: it is not drained, and its check does not fail. */
  readonly isActive: boolean;
}

export interface NetmapRule {
  readonly inside: Prefix;
  /** Of the same length: the addresses by which the overlay knows it. */
  readonly overlay: Prefix;
}

export interface EgressRule {
  readonly from: Prefix;
  readonly to: Prefix;
  /** The first living gateway: this node or a peer; undefined when none lives. */
  readonly via: { readonly self: true } | { readonly peer: string } | undefined;
  /** The outside address. */
  readonly address: Address;
}

export interface SourceRule {
  readonly from: Prefix;
  readonly to: Prefix;
  /** The outside addresses; undefined for this node's own address. */
  readonly addresses: Prefix | undefined;
  /** The outside ports, both ends included; undefined for the default classes. */
  readonly ports: { readonly low: number; readonly high: number } | undefined;
}
