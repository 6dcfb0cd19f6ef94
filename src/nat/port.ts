/** A published port: an address and port of a node that leads to an endpoint anywhere. */
import { type Address, type Endpoint, formatEndpoint } from "../address.js";
import type { Entry } from "../config/entry.js";
import { nodeName, port } from "../config/read.js";
import { protocolName } from "../protocol.js";
import { hostAddress, hostEndpoint, NAT_PROTOCOLS, numberOf } from "./read.js";

export interface PublishedPort {
  readonly line: number;
  /** IP protocol number. */
  readonly protocol: number;
  readonly at: PortAddress;
  readonly port: number;
  readonly to: Endpoint;
}

/**
 * The address that is published: an overlay address, the first overlay address of a node, or the
 * underlay addresses of one node or of all. Those of a node are of the family of `to`.
 */
export type PortAddress =
  | { readonly kind: "address"; readonly address: Address }
  | { readonly kind: "node"; readonly name: string }
  | { readonly kind: "host"; readonly name?: string };

const KEYS = ["protocol", "address", "port", "to"] as const;

export function readPort(entry: Entry): PublishedPort {
  const { required } = entry.fields(KEYS);
  const at = required("address").read(portAddress);
  const to = required("to").read(hostEndpoint);
  if (at.kind === "address" && at.address.family !== to.address.family) {
    throw entry.bad("address and to are of two families", "publish an address of the same family");
  }
  const protocol = numberOf(required("protocol").word(...NAT_PROTOCOLS));
  return { line: entry.line, protocol, at, port: required("port").read(port), to };
}

function portAddress(text: string): PortAddress {
  if (text === "host") return { kind: "host" };
  const [kind, name] = text.split(/:(.*)/s);
  if (kind === "node" || kind === "host") return { kind, name: nodeName(name ?? "") };
  return { kind: "address", address: hostAddress(text) };
}

/** `10.244.1.1:8080/tcp` */
export const placeName = (protocol: number, endpoint: Endpoint): string =>
  `${formatEndpoint(endpoint)}/${protocolName(protocol)}`;

/** Equal for equal endpoints. */
export const endpointKey = ({ address, port }: Endpoint): string =>
  `${address.family} ${address.value} ${port}`;

/** `node:h2:8081/tcp`: the place as the document writes it. */
export function portName({ protocol, at, port }: PublishedPort): string {
  if (at.kind === "address") return placeName(protocol, { address: at.address, port });
  const name = at.name === undefined ? at.kind : `${at.kind}:${at.name}`;
  return `${name}:${port}/${protocolName(protocol)}`;
}

/** Whether two published ports have an address, protocol and port in common. */
export function collide(a: PublishedPort, b: PublishedPort): boolean {
  if (a.to.address.family !== b.to.address.family) return false;
  return portName(a) === portName(b) || portName(onAnyHost(a, b)) === portName(onAnyHost(b, a));
}

/** The port, on every host if the other one is. */
const onAnyHost = (one: PublishedPort, { at }: PublishedPort): PublishedPort =>
  one.at.kind === "host" && at.kind === "host" && at.name === undefined ? { ...one, at } : one;
