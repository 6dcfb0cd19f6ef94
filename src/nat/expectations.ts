/** A file of expected translations, and those that a document gives: `weft nat test --expect`. */
import {
  formatAddress,
  formatEndpoint,
  type Prefix,
  parseAddress,
  parsePrefix,
  parsePrefixOrAddress,
} from "../address.js";
import { type Entry, readDocument } from "../config/entry.js";
import { nodeName, port } from "../config/read.js";
import { WeftError } from "../error.js";
import { filled } from "../policy/read.js";
import type { Members } from "../policy/resolver.js";
import { protocolName } from "../protocol.js";
import { MAX_NAT_DOCUMENT, type NatDocument } from "./document.js";
import {
  NatEvaluator,
  type NatOutcome,
  type NatPacket,
  type NatWay,
  wayInWords,
} from "./evaluator.js";
import { hostEndpoint, NAT_PROTOCOLS, numberOf } from "./read.js";
import { MAX_BACKENDS } from "./service.js";

export interface NatExpectation {
  readonly line: number;
  readonly packet: NatPacket;
  /** The node whose device it comes from; the owner of the source if it is not given. */
  readonly node?: string;
  /** All destinations that it may get, as `ADDRESS:PORT`, sorted. */
  readonly to?: readonly string[];
  /** The source as it arrives: an address, or the prefix of a pool. */
  readonly source?: string;
  readonly via?: string;
  /** An entry that translates it. */
  readonly by?: string;
  /** The reason why it is dropped. */
  readonly drop?: Drop;
}

const DROPS = ["no-backend", "no-gateway"] as const;
type Drop = (typeof DROPS)[number];

export interface NatExpectations {
  readonly members: Members;
  readonly all: readonly NatExpectation[];
}

export interface NatExpectationResult {
  readonly line: number;
  readonly isMet: boolean;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly expected: string;
  /** Each way that it may go. */
  readonly found: readonly string[];
}

const MAX_NODES = 16_384;
const MAX_LEASES = 1024;
const MAX_EXPECTATIONS = 10_000;

const KEYS = [
  "src",
  "dst",
  "protocol",
  "port",
  "node",
  "to",
  "source",
  "via",
  "by",
  "drop",
] as const;

/** @throws WeftError NAT_TEST, naming file, line and path */
export function readNatExpectations(text: string, file: string): NatExpectations {
  if (text.length > MAX_NAT_DOCUMENT) {
    throw new WeftError(
      "NAT_TEST",
      `${file}: ${text.length} characters are more than ${MAX_NAT_DOCUMENT}`,
      "split it into several files",
    );
  }
  const { required } = readDocument(text, file, "NAT_TEST").fields(["nodes", "expect"]);
  const members = readNodes(required("nodes"));
  return { members, all: required("expect").list(MAX_EXPECTATIONS).map(readExpectation) };
}

function readNodes(entry: Entry): Members {
  const nodes = new Map<string, readonly Prefix[]>();
  for (const [name, leases] of entry.named(MAX_NODES)) {
    nodes.set(
      name,
      leases.list(MAX_LEASES).map((lease) => lease.read(parsePrefix)),
    );
  }
  return nodes;
}

function readExpectation(entry: Entry): NatExpectation {
  const { optional, required } = entry.fields(KEYS);
  const packet = {
    source: required("src").read(parseAddress),
    destination: required("dst").read(parseAddress),
    protocol: numberOf(required("protocol").word(...NAT_PROTOCOLS)),
    port: required("port").read(port),
  };
  if (packet.source.family !== packet.destination.family) {
    throw entry.bad("src and dst are of two families", "give two IPv4 or two IPv6 addresses");
  }
  const node = optional("node")?.read(nodeName);
  const to = optional("to");
  const via = optional("via")?.read(nodeName);
  const by = optional("by")?.read(String);
  const source = optional("source")?.read(addressOrPool);
  const drop = optional("drop")?.word(...DROPS);
  if (!to && !via && !by && !source && !drop) {
    throw entry.bad("nothing is expected", "give to, source, via, by or drop");
  }
  return {
    line: entry.line,
    packet,
    ...(node !== undefined && { node }),
    ...(to && { to: readDestinations(to) }),
    ...(source !== undefined && { source }),
    ...(via !== undefined && { via }),
    ...(by !== undefined && { by }),
    ...(drop && { drop }),
  };
}

const readDestinations = (entry: Entry): string[] =>
  (entry.isText ? [entry] : filled(entry, MAX_BACKENDS))
    .map((item) => formatEndpoint(item.read(hostEndpoint)))
    .sort();

function addressOrPool(text: string): string {
  parsePrefixOrAddress(text);
  return text.includes("/") ? text : formatAddress(parseAddress(text));
}

/** @throws WeftError NAT_TEST if no node has the packet */
export function tryNatExpectations(
  document: NatDocument,
  { members, all }: NatExpectations,
): readonly NatExpectationResult[] {
  const evaluator = new NatEvaluator(document, members);
  return all.map((expectation) => {
    const { line, packet, node = evaluator.ownerOf(packet.source) } = expectation;
    if (node === undefined || !members.has(node)) throw unknownNode(line, node);
    const outcome = evaluator.evaluate(packet, node);
    return {
      line,
      isMet: isMet(expectation, outcome),
      source: formatAddress(packet.source),
      destination: formatEndpoint({ address: packet.destination, port: packet.port }),
      protocol: protocolName(packet.protocol)!,
      expected: expectedInWords(expectation),
      found: typeof outcome === "string" ? [`dropped: ${outcome}`] : outcome.map(wayInWords),
    };
  });
}

function isMet(expected: NatExpectation, outcome: NatOutcome): boolean {
  if (typeof outcome === "string") return expected.drop === outcome;
  if (expected.drop) return false;
  const every = <T>(value: T | undefined, holds: (way: NatWay, value: T) => boolean) =>
    value === undefined || outcome.every((way) => holds(way, value));
  return (
    every(expected.source, ({ source }, value) => source === value) &&
    every(expected.via, ({ via }, value) => via === value) &&
    every(expected.by, ({ by }, value) => by.includes(value)) &&
    (expected.to === undefined || destinationsOf(outcome) === expected.to.join())
  );
}

const destinationsOf = (ways: readonly NatWay[]): string =>
  ways
    .map(({ destination }) => formatEndpoint(destination))
    .sort()
    .join();

const expectedInWords = ({ to, source, via, by, drop }: NatExpectation): string =>
  [
    ...(to ? [to.join(" or ")] : []),
    ...(source === undefined ? [] : [`from ${source}`]),
    ...(by === undefined ? [] : [`by ${by}`]),
    ...(via === undefined ? [] : [`via ${via}`]),
    ...(drop ? [`dropped: ${drop}`] : []),
  ].join(" ");

const unknownNode = (line: number, node: string | undefined): WeftError =>
  new WeftError(
    "NAT_TEST",
    node === undefined
      ? `line ${line}: no node owns src`
      : `line ${line}: "${node}" is not among the nodes`,
    "give the node whose device the packet comes from: node: NAME, one of nodes",
  );
