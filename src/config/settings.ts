/**
 * All settings, each defined once: the reader of its text, and its line in `weft up --help`. Flags
 * and keys of the configuration file both come from this table, so they cannot differ.
 */
import { z } from "zod";
import { formatPrefix } from "../address.js";
import { DEFAULT_FLOWS, MAX_FLOWS, MIN_FLOWS } from "../core/flows.js";
import { WeftError } from "../error.js";
import { FANOUT_RANGE } from "../gossip/neighbour-ranking.js";
import { MAX_PROOFS as MAX_LEASES } from "../lease/bundle.js";
import type { Peer } from "../peer.js";
import { MAX_DSCP } from "../tos.js";
import * as read from "./read.js";

/** The line of a setting in `weft up --help`. */
interface Flag {
  /** Placeholder for its value. A setting without one is a switch, off unless given. */
  readonly value?: string;
  readonly help: string;
  readonly group: "Cluster" | "This node" | "Speed" | "Files and control";
  readonly repeats?: true;
}

export const flags = z.registry<Flag>();

/** A lease needs two host addresses beside its first and its last. */
export const LONGEST_LEASE = { 4: 30, 6: 126 } as const;

/** Most values of a setting that repeats. */
const MAX_VALUES = 1024;

const peerFields = z.strictObject({
  name: one(read.nodeName),
  endpoint: one(read.endpoint),
  mac: one(read.mac),
  subnets: z.preprocess(
    (value) => (typeof value === "string" ? value.split("+") : value),
    many(one((text) => formatPrefix(read.prefix(text)))),
  ),
});

export const settings = z.strictObject({
  network: z.preprocess(commaSeparated, one(read.network)).register(flags, {
    group: "Cluster",
    value: "CIDR[,CIDR]",
    help: "cluster network, IPv4, IPv6 or one of each; first node only (default: 10.244.0.0/16)",
  }),
  "subnet-len": one(read.wholeNumber(1, LONGEST_LEASE[4])).register(flags, {
    group: "Cluster",
    value: "N",
    help: "prefix length of each node's IPv4 lease (default: 24)",
  }),
  "subnet-len-6": one(read.wholeNumber(1, LONGEST_LEASE[6])).register(flags, {
    group: "Cluster",
    value: "N",
    help: "prefix length of each node's IPv6 lease (default: 64)",
  }),
  join: many(one(read.hostPort)).register(flags, {
    group: "Cluster",
    value: "HOST[:PORT]",
    help: "mesh addresses to dial; none: this is the first node",
    repeats: true,
  }),
  "secret-file": one(read.path).register(flags, {
    group: "Cluster",
    value: "FILE",
    help: "cluster secret, one a line, mode 0600 (default: $WEFT_SECRET)",
  }),
  vni: one(read.wholeNumber(1, 16_777_215)).register(flags, {
    group: "Cluster",
    value: "N",
    help: "VXLAN network identifier (default: 1)",
  }),
  "static-peer": many(staticPeer()).register(flags, {
    group: "Cluster",
    value: "SPEC",
    help: "a VTEP that runs no agent: name=..,endpoint=IP:PORT,mac=..,subnets=CIDR[+CIDR]",
    repeats: true,
  }),
  name: one(read.nodeName).register(flags, {
    group: "This node",
    value: "NAME",
    help: "this node (default: the host name)",
  }),
  underlay: one(read.address).register(flags, {
    group: "This node",
    value: "ADDR",
    help: "where peers reach this node (default: the address of the routes to known peers)",
  }),
  port: one(read.port).register(flags, {
    group: "This node",
    value: "N",
    help: "UDP port for VXLAN (default: 4789)",
  }),
  "mesh-port": one(read.port).register(flags, {
    group: "This node",
    value: "N",
    help: `TCP port for the mesh (default: ${read.MESH_PORT})`,
  }),
  tun: one(read.deviceName).register(flags, {
    group: "This node",
    value: "NAME",
    help: "network device to make (default: weft0)",
  }),
  mtu: one(read.wholeNumber(576, 65_535)).register(flags, {
    group: "This node",
    value: "N",
    help: "underlay MTU (default: that of the routes to the peers)",
  }),
  dscp: one(read.dscp).register(flags, {
    group: "This node",
    value: "N|inherit",
    help: `DSCP of outer headers, 0 to ${MAX_DSCP}, or that of the packet inside (default: 0)`,
  }),
  leases: one(read.wholeNumber(1, MAX_LEASES)).register(flags, {
    group: "This node",
    value: "N",
    help: `leases to hold in each network, at most ${MAX_LEASES} in all (default: 1)`,
  }),
  sessions: one(read.wholeNumber(FANOUT_RANGE.least, FANOUT_RANGE.most)).register(flags, {
    group: "This node",
    value: "N",
    help: "mesh sessions to open; other nodes open as many (default: grows with the cluster)",
  }),
  release: one(read.yes).register(flags, {
    group: "This node",
    help: "release the leases when the agent stops (default: keep them)",
  }),
  "through-core": one(read.yes).register(flags, {
    group: "This node",
    help: "lead every packet of this host's workloads through weft",
  }),
  "workload-interfaces": z.preprocess(commaSeparated, one(read.interfacePatterns)).register(flags, {
    group: "This node",
    value: "PATTERN[,PATTERN]",
    help: "interfaces of workloads on this host, like 'veth*,cali*', for --through-core",
  }),
  "no-pick-up": one(read.yes).register(flags, {
    group: "This node",
    help: "drop TCP connections older than this agent where a policy applies",
  }),
  "keep-flows": one(read.yes).register(flags, {
    group: "This node",
    help: "keep connections over a restart of the agent",
  }),
  "no-tso": one(read.yes).register(flags, {
    group: "Speed",
    help: "do not exchange TCP super-packets with the device",
  }),
  "no-uso": one(read.yes).register(flags, {
    group: "Speed",
    help: "do not exchange UDP super-packets with the device",
  }),
  "no-gso": one(read.yes).register(flags, {
    group: "Speed",
    help: "do not send several datagrams in one call (UDP_SEGMENT)",
  }),
  "no-gro": one(read.yes).register(flags, {
    group: "Speed",
    help: "do not receive several datagrams in one call (UDP_GRO)",
  }),
  "busy-poll": one(read.wholeNumber(0, 1_000_000)).register(flags, {
    group: "Speed",
    value: "MICROSECONDS",
    help: "poll for packets this long before sleeping: less delay, more CPU (default: 0)",
  }),
  flows: one(read.powerOfTwo(MIN_FLOWS, MAX_FLOWS)).register(flags, {
    group: "Speed",
    value: "N",
    help: `records of flows, a power of two; a connection takes two (default: ${DEFAULT_FLOWS})`,
  }),
  state: one(read.path).register(flags, {
    group: "Files and control",
    value: "DIR",
    help: "directory for identity and leases (default: /var/lib/weft)",
  }),
  socket: one(read.socketPath).register(flags, {
    group: "Files and control",
    value: "PATH",
    help: "control socket (default: /run/weft/weft.sock)",
  }),
  http: one(read.loopback).register(flags, {
    group: "Files and control",
    value: "ADDR:PORT",
    help: "serve the API on this loopback address as well (default: off)",
  }),
  "log-format": one(read.logFormat).register(flags, {
    group: "Files and control",
    value: "text|json",
    help: "format of the log on stderr (default: text on a terminal, json elsewhere)",
  }),
});

export type Setting = keyof typeof settings.shape;
export type Settings = Partial<z.output<typeof settings>>;

/** The names known at a place of the input: the settings, or the fields of a static peer. */
export const knownKeys = (path: readonly PropertyKey[]): string[] =>
  Object.keys(path.length === 0 ? settings.shape : peerFields.shape);

/** A list in the file means the same as values with commas in a flag. */
function commaSeparated(value: unknown): unknown {
  return Array.isArray(value) ? value.join(",") : value;
}

/** A setting with one value. */
function one<T>(parse: (text: string) => T) {
  return z.unknown().transform((value, context) => attempt(context, () => parse(text(value))));
}

/** A setting that may be given several times: one value, or a list of values. */
function many<T extends z.ZodType>(item: T) {
  const list = z.array(item).max(MAX_VALUES, `it has more than ${MAX_VALUES} values`);
  return z.preprocess((value) => (Array.isArray(value) ? value : [value]), list);
}

/** A static peer as one text in a flag, or as a map in the file. */
function staticPeer() {
  const apart = (value: unknown, context: z.RefinementCtx) =>
    typeof value === "string" ? attempt(context, () => read.fields(value)) : value;
  return z.preprocess(
    apart,
    peerFields.transform(
      ({ subnets, ...peer }): Peer => ({ ...peer, leases: subnets, anyPort: true, ecn: true }),
    ),
  );
}

function text(value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  const what = value === undefined || value === "" ? "it has no value" : "it takes a single value";
  throw read.bad(what, "see: weft up --help");
}

/** Turns an error of a reader into an issue with its place in the input. */
function attempt<T>(context: z.RefinementCtx, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    context.addIssue({
      code: "custom",
      message: error.message,
      params: { remedy: error.remedy },
    });
    return z.NEVER;
  }
}
