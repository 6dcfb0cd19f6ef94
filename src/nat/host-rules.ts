/** The part of the document that a node's host does: its kernel and its routes. */
import type { Address, Endpoint, Family } from "../address.js";
import type { NatDocument } from "./document.js";
import { type Alive, gatewayOf } from "./rules.js";

export interface NatHostRules {
  /** Ports published on the underlay addresses of this host. */
  readonly ports: readonly HostPort[];
  /** Whether workloads reach the world by this host's address. */
  readonly masqueradeOutside: boolean;
  /** Addresses of services, each once: the host leads packets for them to the device. */
  readonly serviceAddresses: readonly Address[];
  /**
   * Whether the core may give a connection a source for which no device of the host is: the address
   * from which a backend of this node sees itself or its own host.
   */
  readonly hairpins: boolean;
  /** Outside addresses for which this node is the gateway: the host answers ARP and ND for them. */
  readonly egressAddresses: readonly Address[];
}

export interface HostPort {
  /** IP protocol number of TCP, UDP or SCTP. */
  readonly protocol: number;
  /** The underlay addresses of this family are meant: that of `to`. */
  readonly family: Family;
  readonly port: number;
  readonly to: Endpoint;
}

/** @param node the name of this node */
export function natHostRulesOf(document: NatDocument, node: string, alive: Alive): NatHostRules {
  const { services, ports, masqueradeOutside, egress } = document;
  const isHere = (name: string | undefined) => name === undefined || name === node;
  const leadsOut = (via: readonly string[]) => {
    const gateway = gatewayOf(via, node, alive);
    return gateway !== undefined && "self" in gateway;
  };
  return {
    ports: ports
      .filter(({ at }) => at.kind === "host" && isHere(at.name))
      .map(({ protocol, port, to }) => ({ protocol, family: to.address.family, port, to })),
    masqueradeOutside,
    serviceAddresses: distinct(services.map(({ address }) => address)),
    hairpins: services.length > 0 || ports.length > 0,
    egressAddresses: distinct(
      egress.filter(({ via }) => leadsOut(via)).map(({ address }) => address),
    ),
  };
}

const distinct = (addresses: readonly Address[]): Address[] => [
  ...new Map(addresses.map((one) => [`${one.family} ${one.value}`, one])).values(),
];
