/** A service of the document: a virtual address and port in front of backends. */
import { type Address, type Endpoint, formatAddress, formatEndpoint } from "../address.js";
import type { Entry } from "../config/entry.js";
import { port, wholeNumber, yes } from "../config/read.js";
import { endpointKey, placeName } from "./port.js";
import { bad, duration, hostAddress, hostEndpoint, NAT_PROTOCOLS, numberOf } from "./read.js";

export const MAX_BACKENDS = 256;
export const MAX_WEIGHT = 100;
const MAX_PATH = 256;
/** Milliseconds. */
export const AFFINITY = { least: 1_000, most: 86_400_000 };
export const INTERVAL = { least: 1_000, most: 3_600_000, usual: 5_000 };
export const TIMEOUT = { least: 100, most: 60_000, usual: 2_000 };

export interface Service {
  readonly name: string;
  readonly line: number;
  /** IP protocol number. */
  readonly protocol: number;
  readonly address: Address;
  readonly port: number;
  readonly backends: readonly Backend[];
  /** Whether a client's address alone chooses the backend. */
  readonly byClient: boolean;
  /** Milliseconds for which a client keeps its backend; 0 for none. */
  readonly affinityMs: number;
  readonly check?: Check;
}

export interface Backend extends Endpoint {
  readonly weight: number;
  /** It gets no new flows, and keeps those it has. */
  readonly drain: boolean;
}

/** A connection to the backend's address and port, and for `http` a request that must be answered with 2xx or 3xx. */
export interface Check {
  readonly kind: "tcp" | "http";
  /** Of an http check. */
  readonly path?: string;
  /** Milliseconds. */
  readonly interval: number;
  readonly timeout: number;
}

const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const KEYS = ["name", "protocol", "address", "port", "backends", "affinity", "check"] as const;

/** `10.96.0.10:80/tcp` */
export const placeOfService = ({ protocol, address, port }: Service): string =>
  placeName(protocol, { address, port });

export function readService(entry: Entry): Service {
  const { optional, required } = entry.fields(KEYS);
  const address = required("address").read(hostAddress);
  const check = optional("check");
  return {
    name: required("name").read(serviceName),
    line: entry.line,
    protocol: numberOf(required("protocol").word(...NAT_PROTOCOLS)),
    address,
    port: required("port").read(port),
    backends: readBackends(required("backends"), address),
    ...readAffinity(optional("affinity")),
    ...(check && { check: readCheck(check) }),
  };
}

function serviceName(name: string): string {
  if (NAME.test(name)) return name;
  throw bad(
    "this is not a name",
    "use 1 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at each end",
  );
}

/** A service may have no backend: its clients are told that none is there. */
function readBackends(entry: Entry, service: Address): Backend[] {
  const seen = new Set<string>();
  return entry.list(MAX_BACKENDS).map((item) => {
    const backend = readBackend(item);
    const place = endpointKey(backend);
    if (backend.address.family !== service.family) {
      throw item.bad(
        `the backend ${formatEndpoint(backend)} is of another family than ${formatAddress(service)}`,
        "make a service for each family",
      );
    }
    if (seen.has(place)) {
      throw item.bad(`${formatEndpoint(backend)} occurs twice`, "raise its weight instead");
    }
    seen.add(place);
    return backend;
  });
}

function readBackend(entry: Entry): Backend {
  if (entry.isText) return { ...entry.read(hostEndpoint), weight: 1, drain: false };
  const { optional, required } = entry.fields(["to", "weight", "drain"]);
  return {
    ...required("to").read(hostEndpoint),
    weight: optional("weight")?.read(wholeNumber(1, MAX_WEIGHT)) ?? 1,
    drain: optional("drain")?.read(yes) ?? false,
  };
}

function readAffinity(entry: Entry | undefined): Pick<Service, "byClient" | "affinityMs"> {
  if (!entry || entry.isText) {
    return { byClient: entry?.word("none", "client") === "client", affinityMs: 0 };
  }
  const client = entry.fields(["client"]).required("client");
  return { byClient: true, affinityMs: client.read(duration(AFFINITY.least, AFFINITY.most)) };
}

function readCheck(entry: Entry): Check {
  const { optional } = entry.fields(["tcp", "http", "interval", "timeout"]);
  const [tcp, http] = [optional("tcp"), optional("http")];
  if ((tcp === undefined) === (http === undefined)) {
    throw entry.bad("a check is either tcp or http", "write tcp: true, or http: /PATH");
  }
  if (tcp && !tcp.read(yes)) throw tcp.bad("this is no check", "leave check out for none");
  const interval = optional("interval")?.read(duration(INTERVAL.least, INTERVAL.most));
  const timeout = optional("timeout")?.read(duration(TIMEOUT.least, TIMEOUT.most));
  const times = {
    interval: interval ?? Math.max(INTERVAL.usual, timeout ?? 0),
    timeout: timeout ?? Math.min(TIMEOUT.usual, interval ?? TIMEOUT.usual),
  };
  if (times.timeout > times.interval) {
    throw entry.bad("the timeout is longer than the interval", "give a shorter timeout");
  }
  return http ? { kind: "http", path: http.read(urlPath), ...times } : { kind: "tcp", ...times };
}

function urlPath(text: string): string {
  if (/^\/[\x21-\x7e]*$/.test(text) && text.length <= MAX_PATH) return text;
  throw bad(
    "this is not a path",
    `begin with /, use at most ${MAX_PATH} characters of ASCII, and encode spaces as %20`,
  );
}
