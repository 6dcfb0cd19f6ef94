/** Turns the document into the translations of one node, with every name resolved. */
import { type Address, firstHost, type Prefix } from "../address.js";
import type {
  BackendRule,
  EgressRule,
  NatRules,
  NetmapRule,
  ServiceRule,
  SourceRule,
} from "../compile/nat-rules.js";
import type { Members } from "../policy/resolver.js";
import type { NatDocument } from "./document.js";
import { Owners, owns, ownsAll } from "./owners.js";
import { type PublishedPort, placeName } from "./port.js";
import type { Backend, Service } from "./service.js";

/** Whether the node with this name lives. */
export type Alive = (name: string) => boolean;
/** Whether the check of this backend does not fail. */
export type Passes = (service: Service, backend: Backend) => boolean;

/**
 * @param members the leases of each node, of dead ones too
 * @param node the name of this node
 */
export function natRulesOf(
  document: NatDocument,
  members: Members,
  node: string,
  alive: Alive,
  passes: Passes = () => true,
): NatRules {
  const own = members.get(node) ?? [];
  const owners = new Owners(members);
  const isThere = ({ address }: Backend): boolean => {
    const owner = owners.of(address);
    return owner === undefined || owner === node || alive(owner);
  };
  return {
    services: [
      ...document.services.map((service) => serviceRule(service, isThere, passes)),
      ...portRules(document.ports, own, node),
    ],
    netmaps: netmapRules(document, own),
    egress: egressRules(document, node, alive),
    sources: sourceRules(document, own),
    perSource: document.perSource,
  };
}

function serviceRule(
  service: Service,
  isThere: (backend: Backend) => boolean,
  passes: Passes,
): ServiceRule {
  const { name, protocol, address, port, byClient, affinityMs } = service;
  const backendRule = (backend: Backend): BackendRule => ({
    address: backend.address,
    port: backend.port,
    weight: backend.weight,
    isActive: !backend.drain && passes(service, backend),
  });
  const backends = service.backends.filter(isThere).map(backendRule);
  return { name, isPort: false, protocol, address, port, backends, byClient, affinityMs };
}

/** The ports on addresses of this node. Of two at one place the first counts. */
function portRules(
  ports: readonly PublishedPort[],
  own: readonly Prefix[],
  node: string,
): ServiceRule[] {
  const rules = new Map<string, ServiceRule>();
  for (const { protocol, at, port, to } of ports) {
    const address = addressHere(at, own, node, to.address);
    if (!address) continue;
    const name = placeName(protocol, { address, port });
    const backends = [{ ...to, weight: 1, isActive: true }];
    if (rules.has(name)) continue;
    rules.set(name, {
      name,
      isPort: true,
      protocol,
      address,
      port,
      backends,
      byClient: false,
      affinityMs: 0,
    });
  }
  return [...rules.values()];
}

function addressHere(
  at: PublishedPort["at"],
  own: readonly Prefix[],
  node: string,
  { family }: Address,
): Address | undefined {
  if (at.kind === "address") return owns(own, at.address) ? at.address : undefined;
  if (at.kind === "host" || at.name !== node) return undefined;
  const lease = own.find((one) => one.family === family);
  return lease && firstHost(lease);
}

/** The node that owns the prefix by which the overlay knows it translates. */
const netmapRules = ({ netmap }: NatDocument, own: readonly Prefix[]): NetmapRule[] =>
  netmap
    .filter(({ to }) => ownsAll(own, to))
    .map(({ from, to }) => ({ inside: from, overlay: to }));

const egressRules = ({ egress }: NatDocument, node: string, alive: Alive): EgressRule[] =>
  egress.flatMap(({ from, to, via, address }) => {
    const gateway = gatewayOf(via, node, alive);
    return from.flatMap((source) =>
      to.map((destination) => ({ from: source, to: destination, via: gateway, address })),
    );
  });

/** The first living node of the list. */
export function gatewayOf(via: readonly string[], node: string, alive: Alive): EgressRule["via"] {
  const name = via.find((one) => one === node || alive(one));
  if (name === undefined) return undefined;
  return name === node ? { self: true } : { peer: name };
}

function sourceRules({ snat, masquerade }: NatDocument, own: readonly Prefix[]): SourceRule[] {
  return [
    ...snat
      .filter(({ addresses }) => ownsAll(own, addresses))
      .map(({ from, to, addresses, ports }) => ({ from, to, addresses, ports })),
    ...masquerade.map(({ from, to }) => ({ from, to, addresses: undefined, ports: undefined })),
  ];
}
