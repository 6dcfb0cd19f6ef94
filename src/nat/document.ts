/**
 * The document of address translation: services, published ports and sources, as an operator wrote
 * them. It is checked whole; docs/nat.md defines each key.
 */
import { printable } from "../address.js";
import { asJson, type Entry, readDocument, readJson } from "../config/entry.js";
import { wholeNumber } from "../config/read.js";
import { WeftError } from "../error.js";
import { collide, endpointKey, type PublishedPort, placeName, portName, readPort } from "./port.js";
import { placeOfService, readService, type Service } from "./service.js";
import {
  type Covered,
  type Egress,
  type Netmap,
  readEgress,
  readMasquerade,
  readNetmap,
  readSnat,
  refuseOverlap,
  type Snat,
} from "./source.js";

export const MAX_NAT_DOCUMENT = 4 * 1024 * 1024;
export const MAX_SERVICES = 1024;
/** Most rules of each kind but services. Of egress, each source with each destination counts. */
export const MAX_NAT_RULES = 256;
/** Mappings of one inside address: the ports of one outside address bound them. */
export const PER_SOURCE = { most: 65_535, usual: 4096 };

export interface NatDocument {
  /** The timeouts of flows and mappings; absent for those of the policy. */
  readonly profile?: "rfc" | "linux";
  /** Most mappings of one inside address. */
  readonly perSource: number;
  readonly services: readonly Service[];
  readonly ports: readonly PublishedPort[];
  readonly masquerade: readonly Covered[];
  /** Whether workloads reach the world by the address of their host. */
  readonly masqueradeOutside: boolean;
  readonly snat: readonly Snat[];
  readonly netmap: readonly Netmap[];
  readonly egress: readonly Egress[];
}

/** A cluster that translates nothing. */
export const NO_NAT: NatDocument = {
  perSource: PER_SOURCE.usual,
  services: [],
  ports: [],
  masquerade: [],
  masqueradeOutside: false,
  snat: [],
  netmap: [],
  egress: [],
};

export type NatSection = (typeof SECTIONS)[number];

/** Number of entries of each section. */
export const natCounts = (document: NatDocument): Readonly<Record<NatSection, number>> => ({
  services: document.services.length,
  ports: document.ports.length,
  masquerade: document.masquerade.length + Number(document.masqueradeOutside),
  snat: document.snat.length,
  netmap: document.netmap.length,
  egress: document.egress.length,
});

const SECTIONS = ["services", "ports", "masquerade", "snat", "netmap", "egress"] as const;
const KEYS = ["profile", "limits", ...SECTIONS] as const;

/** The error for a key that belongs to the policy. */
const OF_POLICY = Object.fromEntries(
  ["groups", "tiers", "policies"].map((key) => [
    key,
    [
      `"${key}" is policy, which translates no address`,
      "put it in a document of its own, and apply that with: weft policy apply",
    ] as const,
  ]),
);

/**
 * Reads a document that an operator of this host wrote.
 * @param text YAML or JSON
 * @param file its name in messages
 * @throws WeftError NAT, naming file, line and path
 */
export const readNat = (text: string, file: string): NatDocument => read(readDocument, text, file);

/**
 * Reads a document from another node or process: JSON, as `natAsJson` makes it. It never reaches
 * the YAML parser, whose time and memory have no bound that all nodes share.
 * @throws WeftError as `readNat`
 */
export const readSealedNat = (text: string, file: string): NatDocument =>
  read(readJson, text, file);

/**
 * Returns the document as JSON with every part on its original line: meaning, errors and line
 * numbers stay the same, and JSON is read many times faster than YAML.
 */
export function natAsJson(text: string, file: string): string {
  refuseLong(text, file);
  return asJson(text, file, "NAT");
}

function read(take: typeof readDocument, text: string, file: string): NatDocument {
  refuseLong(text, file);
  const { optional } = take(text, file, "NAT").fields(KEYS, OF_POLICY);
  const profile = optional("profile")?.word("rfc", "linux");
  const services = readServices(optional("services"));
  const ports = readPorts(optional("ports"), services);
  const masquerade = rules(optional("masquerade")).map(readMasquerade);
  return {
    ...(profile && { profile }),
    perSource: readPerSource(optional("limits")),
    services,
    ports,
    masquerade: masquerade.filter((rule) => rule !== "outside"),
    masqueradeOutside: masquerade.includes("outside"),
    snat: rules(optional("snat")).map(readSnat),
    netmap: readNetmaps(optional("netmap")),
    egress: readEgressRules(optional("egress")),
  };
}

function refuseLong(text: string, file: string): void {
  if (text.length <= MAX_NAT_DOCUMENT) return;
  throw new WeftError(
    "NAT",
    `${printable(file)}: ${text.length} characters are more than ${MAX_NAT_DOCUMENT}`,
    "give the services fewer backends",
  );
}

const rules = (entry: Entry | undefined): Entry[] => entry?.list(MAX_NAT_RULES) ?? [];

const readPerSource = (limits: Entry | undefined): number =>
  limits?.fields(["perSource"]).optional("perSource")?.read(wholeNumber(1, PER_SOURCE.most)) ??
  PER_SOURCE.usual;

function readServices(entry: Entry | undefined): Service[] {
  const names = new Map<string, Service>();
  const places = new Map<string, Service>();
  const services = (entry?.list(MAX_SERVICES) ?? []).map((item) => {
    const service = readService(item);
    const place = placeOfService(service);
    const sameName = names.get(service.name);
    if (sameName) {
      throw item.bad(
        `there are two services "${service.name}" (line ${sameName.line})`,
        "give them two names",
      );
    }
    const samePlace = places.get(place);
    if (samePlace) {
      throw item.bad(
        `${place} is the service "${samePlace.name}" already (line ${samePlace.line})`,
        "give one of them another address or port",
      );
    }
    names.set(service.name, service);
    places.set(place, service);
    return { service, item };
  });
  const addresses = new Set(services.map(({ service }) => endpointKey(service)));
  for (const { service, item } of services) {
    const chained = service.backends
      .filter((to) => addresses.has(endpointKey(to)))
      .map((to) => placeName(service.protocol, to))
      .find((place) => places.has(place));
    if (chained !== undefined) throw ledToService(item, chained, places);
  }
  return services.map(({ service }) => service);
}

/** A destination is replaced once. */
const ledToService = (entry: Entry, place: string, places: ReadonlyMap<string, Service>) =>
  entry.bad(
    `${place} is the service "${places.get(place)!.name}", and a service is no backend`,
    "name the backends of that service",
  );

function readPorts(entry: Entry | undefined, services: readonly Service[]): PublishedPort[] {
  const places = new Map(services.map((service) => [placeOfService(service), service]));
  const ports: PublishedPort[] = [];
  for (const item of rules(entry)) {
    const published = readPort(item);
    const { protocol, at, to } = published;
    const service = places.get(portName(published));
    if (service) {
      throw item.bad(
        `${portName(published)} is the service "${service.name}" (line ${service.line})`,
        "give one of them another address or port",
      );
    }
    const other = ports.find((one) => collide(one, published));
    if (other) {
      throw item.bad(
        `${portName(published)} is published twice (line ${other.line})`,
        "give one of the two another port",
      );
    }
    // The kernel sends the packets of a host's port to the device, where a service can take them.
    const target = placeName(protocol, to);
    if (at.kind !== "host" && places.has(target)) throw ledToService(item, target, places);
    ports.push(published);
  }
  return ports;
}

function readNetmaps(entry: Entry | undefined): Netmap[] {
  const netmaps: Netmap[] = [];
  for (const item of rules(entry)) {
    const netmap = readNetmap(item);
    refuseOverlap(netmap, netmaps, item);
    netmaps.push(netmap);
  }
  return netmaps;
}

function readEgressRules(entry: Entry | undefined): Egress[] {
  let count = 0;
  return rules(entry).map((item) => {
    const rule = readEgress(item);
    count += rule.from.length * rule.to.length;
    if (count <= MAX_NAT_RULES) return rule;
    throw item.bad(
      `with this rule there are ${count} pairs of a source and a destination, more than ${MAX_NAT_RULES}`,
      "use wider prefixes",
    );
  });
}
