/** A file of expected verdicts, and the verdicts that a document gives: `weft policy test`. */
import {
  type Address,
  contains,
  formatAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  printable,
} from "../address.js";
import { type Entry, type FieldNames, readDocument } from "../config/entry.js";
import { wholeNumber } from "../config/read.js";
import { WeftError } from "../error.js";
import { ICMPS, PROTOCOLS, protocolName, WITH_PORTS } from "../protocol.js";
import { MAX_DOCUMENT, type PolicyDocument } from "./document.js";
import { PolicyEvaluator, type PolicyPacket } from "./evaluator.js";
import { nameOf } from "./place.js";
import { protocolNumber, readIcmp, readPorts } from "./read.js";
import type { Members } from "./resolver.js";

/** An expected verdict for one packet per port. */
export interface Expectation {
  readonly line: number;
  readonly packets: readonly PolicyPacket[];
  readonly verdict: "allow" | "deny";
  /** A rule or tier end as `nameOf` writes it, or `no rule`. If two allow the packet: one, or `ONE, OTHER`. */
  readonly by?: string;
}

export interface Expectations {
  readonly members: Members;
  readonly all: readonly Expectation[];
}

/** Result of an expectation: for the first packet that does not meet it, otherwise for the first packet. */
export interface ExpectationResult {
  readonly line: number;
  readonly isMet: boolean;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  /** Destination port, or type and code of ICMP: `8/0`. */
  readonly port?: string;
  readonly expected: string;
  readonly found: string;
}

const MAX_NODES = 16_384;
const MAX_LEASES = 1024;
const MAX_EXPECTATIONS = 10_000;
/** Most packets in one file. Each port of a range is a packet of its own. */
const MAX_PACKETS = 100_000;

const KEYS = ["src", "dst", "protocol", "sourcePort", "ports", "icmp", "verdict", "by"] as const;
const NO_RULE = "no rule";
/** An ephemeral port, as clients use. */
const SOURCE_PORT = 49_152;
const ECHO_REQUEST: Readonly<Record<number, number>> = {
  [PROTOCOLS.icmp]: 8 << 8,
  [PROTOCOLS.icmpv6]: 128 << 8,
};

/**
 * @param members the leases of each node, unless the file gives them
 * @throws WeftError POLICY_TEST
 */
export function readExpectations(text: string, file: string, members: Members): Expectations {
  if (text.length > MAX_DOCUMENT) {
    throw new WeftError(
      "POLICY_TEST",
      `${printable(file)}: ${text.length} characters are more than ${MAX_DOCUMENT}`,
      "split it into several files",
    );
  }
  const { optional, required } = readDocument(text, file, "POLICY_TEST").fields([
    "nodes",
    "expect",
  ]);
  const nodes = optional("nodes");
  const holders = nodes ? readNodes(nodes) : members;
  const leases = [...holders.values()].flat();
  let packets = 0;
  const all = required("expect")
    .list(MAX_EXPECTATIONS)
    .map((entry) => {
      const one = readExpectation(entry, leases);
      packets += one.packets.length;
      if (packets <= MAX_PACKETS) return one;
      throw entry.bad(
        `so far these are ${packets} packets`,
        `try at most ${MAX_PACKETS} in a file`,
      );
    });
  return { members: holders, all };
}

function readNodes(entry: Entry): Members {
  const nodes = new Map<string, readonly Prefix[]>();
  for (const [name, leases] of entry.named(MAX_NODES)) {
    const prefixes = leases.list(MAX_LEASES).map((lease) => lease.read(parsePrefix));
    nodes.set(name, prefixes);
  }
  return nodes;
}

function readExpectation(entry: Entry, leases: readonly Prefix[]): Expectation {
  const fields = entry.fields(KEYS);
  const { optional, required } = fields;
  const source = required("src").read(parseAddress);
  const destination = required("dst").read(parseAddress);
  if (source.family !== destination.family) {
    throw entry.bad("src and dst are of two families", "give two IPv4 or two IPv6 addresses");
  }
  if (!isHeld(leases, source) && !isHeld(leases, destination)) {
    throw entry.bad(
      "no node holds src or dst, so no policy applies to this packet",
      "give addresses of the overlay; the file can say who holds them: nodes: { NAME: [CIDR] }",
    );
  }
  const by = optional("by")?.read(String);
  return {
    line: entry.line,
    packets: readTransports(fields).map((one) => ({ source, destination, ...one })),
    verdict: required("verdict").word("allow", "deny"),
    ...(by !== undefined && { by }),
  };
}

type Transport = Omit<PolicyPacket, "source" | "destination">;

/** One transport for each port. */
function readTransports({ optional, required }: FieldNames<(typeof KEYS)[number]>): Transport[] {
  const protocol = required("protocol").read(protocolNumber);
  const icmp = optional("icmp");
  if (icmp && !ICMPS.includes(protocol)) throw icmp.bad(...noSuchField("icmp or icmpv6"));
  if (ICMPS.includes(protocol)) {
    const [type] = icmp ? readIcmp(icmp) : [];
    return [{ protocol, sourcePort: 0, destinationPort: type?.from ?? ECHO_REQUEST[protocol]! }];
  }
  if (!WITH_PORTS.includes(protocol)) {
    const ports = optional("ports") ?? optional("sourcePort");
    if (ports) throw ports.bad(...noSuchField("tcp, udp or sctp"));
    return [{ protocol, sourcePort: 0, destinationPort: 0 }];
  }
  const sourcePort = optional("sourcePort")?.read(wholeNumber(0, 65_535)) ?? SOURCE_PORT;
  return readPorts(required("ports")).flatMap(({ from, to }) =>
    Array.from({ length: to - from + 1 }, (_, i) => ({
      protocol,
      sourcePort,
      destinationPort: from + i,
    })),
  );
}

const noSuchField = (which: string) =>
  ["this protocol has no such field", `give protocol: ${which}`] as const;

const isHeld = (leases: readonly Prefix[], address: Address): boolean =>
  leases.some((lease) => contains(lease, address));

export function tryExpectations(
  document: PolicyDocument,
  { members, all }: Expectations,
): readonly ExpectationResult[] {
  const evaluator = new PolicyEvaluator(document, members);
  return all.map((expectation) => {
    const tried = expectation.packets.map((packet) => outcomeOf(expectation, packet, evaluator));
    return tried.find(({ isMet }) => !isMet) ?? tried[0]!;
  });
}

function outcomeOf(
  { line, verdict, by }: Expectation,
  packet: PolicyPacket,
  evaluator: PolicyEvaluator,
): ExpectationResult {
  const decisions = evaluator.evaluate(packet);
  const found = decisions.at(-1)!.action;
  const names = decisions.flatMap(({ place }) => (place ? [nameOf(place)] : []));
  // One place denies a packet; an allowed packet has a place at each of its two ends.
  const deciders = found === "deny" ? names.slice(-1) : names;
  const decidedBy = deciders.join(", ") || NO_RULE;
  const isBy = by === undefined || by === decidedBy || deciders.includes(by);
  return {
    line,
    isMet: found === verdict && isBy,
    source: formatAddress(packet.source),
    destination: formatAddress(packet.destination),
    protocol: nameOfProtocol(packet.protocol),
    ...portOf(packet),
    expected: by === undefined ? verdict : `${verdict} by ${printable(by)}`,
    found: `${found} by ${decidedBy}`,
  };
}

const nameOfProtocol = (number: number): string => protocolName(number) ?? String(number);

function portOf({ protocol, destinationPort }: PolicyPacket): { port?: string } {
  if (WITH_PORTS.includes(protocol)) return { port: String(destinationPort) };
  if (!ICMPS.includes(protocol)) return {};
  return { port: `${destinationPort >> 8}/${destinationPort & 255}` };
}
