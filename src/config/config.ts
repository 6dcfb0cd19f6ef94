/**
 * The configuration from flags and a file. It is checked as a whole before the machine is touched. A
 * flag takes precedence over the same key in the file.
 */
import { existsSync } from "node:fs";
import { type Address, type Endpoint, type Prefix, parsePrefix, printable } from "../address.js";
import { DEFAULT_FLOWS } from "../core/flows.js";
import type { Peer } from "../peer.js";
import type { Dscp } from "../tos.js";
import { didYouMean } from "./nearest.js";
import { bad, DEFAULT_SOCKET, type HostPort, type LogFormat, MESH_PORT, nodeName } from "./read.js";
import { secretsFromFile, split } from "./secret.js";
import { knownKeys, type Setting, type Settings, settings } from "./settings.js";
import { commandLine, type SettingSource, yamlFile } from "./source.js";
import { checkTogether } from "./together.js";

export type { HostPort } from "./read.js";
export { foundedNetwork, underlayFits, underlayOutside } from "./together.js";

export interface Config {
  /** This node: 1-63 of [a-z0-9-]. */
  readonly name: string;
  /** At most one prefix of each family, IPv4 first. Used by the first node; a joiner learns the network. */
  readonly network: readonly Prefix[];
  readonly networkGiven: boolean;
  /** Prefix length of every lease in the IPv4 network. */
  readonly subnetLen: number;
  /** Prefix length of every lease in the IPv6 network. */
  readonly subnetLen6: number;
  /** Mesh addresses to dial. Empty: this is the first node. */
  readonly join: readonly HostPort[];
  /** The address at which peers reach this node. Absent: the source address of the routes to known peers. */
  readonly underlay?: Address;
  readonly vni: number;
  /** UDP port of the tunnel. */
  readonly port: number;
  /** TCP port of the mesh. */
  readonly meshPort: number;
  /** Name of the TUN device. */
  readonly tun: string;
  /** MTU of the underlay, in bytes. Absent: that of the routes to the peers. */
  readonly mtu?: number;
  /** DSCP of outer headers. */
  readonly dscp: Dscp;
  /** Offloads that the agent may use where the kernel has them. */
  readonly offloads: Offloads;
  /** How many leases to hold in each network. */
  readonly leases: number;
  /** Mesh sessions this node opens by itself. Absent: as many as the cluster's size suggests. */
  readonly sessions?: number;
  /** Whether the leases go back to their granters when the agent stops. */
  readonly release: boolean;
  /** Whether the host leads every packet of a workload to the overlay device. */
  readonly throughCore: boolean;
  /** Patterns of the names of the interfaces that workloads have on this host. */
  readonly workloadInterfaces: readonly string[];
  /** Whether a TCP connection older than the agent passes a policy. */
  readonly pickUp: boolean;
  /** Whether connections are kept over a restart of the agent. */
  readonly keepFlows: boolean;
  /** Time to poll for packets before sleeping, in microseconds. */
  readonly busyPoll: number;
  /** Records of the table of flows. */
  readonly flows: number;
  /** At least one. The node offers the first and accepts all. They are never logged. */
  readonly secrets: readonly string[];
  readonly staticPeers: readonly Peer[];
  /** Directory of the state that outlives the process. */
  readonly state: string;
  /** Path of the control socket. */
  readonly socket: string;
  /** Loopback address on which the API is served besides the control socket. */
  readonly http?: Endpoint;
  /** Absent: text on a terminal, JSON elsewhere. */
  readonly logFormat?: LogFormat;
}

/** Offloads: each moves many packets in one system call. True: allowed, or in use. */
export interface Offloads {
  /** TCP super-packets at the device. */
  readonly tso: boolean;
  /** UDP super-packets at the device. */
  readonly uso: boolean;
  /** Several datagrams sent in one call (UDP_SEGMENT). */
  readonly gso: boolean;
  /** Several datagrams received in one call (UDP_GRO). */
  readonly gro: boolean;
}

export const DEFAULT_CONFIG_FILE = "/etc/weft/weft.yaml";

const DEFAULTS = {
  network: [parsePrefix("10.244.0.0/16")],
  "subnet-len": 24,
  "subnet-len-6": 64,
  join: [],
  vni: 1,
  port: 4789,
  "mesh-port": MESH_PORT,
  tun: "weft0",
  dscp: 0,
  leases: 1,
  release: false,
  "through-core": false,
  "workload-interfaces": [],
  "no-pick-up": false,
  "keep-flows": false,
  "no-tso": false,
  "no-uso": false,
  "no-gso": false,
  "no-gro": false,
  "busy-poll": 0,
  flows: DEFAULT_FLOWS,
  "static-peer": [],
  state: "/var/lib/weft",
  socket: DEFAULT_SOCKET,
} satisfies Settings;

/** Inputs of the configuration beside the command line. */
export interface ConfigEnvironment {
  readonly hostname: string;
  /** The value of WEFT_SECRET. */
  readonly secret: string | undefined;
}

/**
 * @param flags values from the command line, by the names of the settings
 * @param file the configuration file, or undefined for the default one if it exists
 * @throws WeftError CONFIG, naming the flag, or the file, line and key
 */
export function loadConfig(
  flags: object,
  file: string | undefined,
  { hostname, secret }: ConfigEnvironment,
): Config {
  const sources = [commandLine(flags)];
  if (file !== undefined) sources.push(yamlFile(file));
  else if (existsSync(DEFAULT_CONFIG_FILE)) sources.push(yamlFile(DEFAULT_CONFIG_FILE));

  const where = (setting: Setting): string =>
    sources.find(({ values }) => setting in values)?.where([setting]) ?? `${setting} (the default)`;
  const given: Settings = Object.assign({}, ...sources.map(check).reverse());
  const all = { ...DEFAULTS, ...given };

  const config: Config = {
    name: given.name ?? nameFrom(hostname),
    network: all.network,
    networkGiven: given.network !== undefined,
    subnetLen: all["subnet-len"],
    subnetLen6: all["subnet-len-6"],
    join: all.join,
    vni: all.vni,
    port: all.port,
    meshPort: all["mesh-port"],
    tun: all.tun,
    dscp: all.dscp,
    offloads: {
      tso: !all["no-tso"],
      uso: !all["no-uso"],
      gso: !all["no-gso"],
      gro: !all["no-gro"],
    },
    leases: all.leases,
    release: all.release,
    throughCore: all["through-core"],
    workloadInterfaces: all["workload-interfaces"],
    pickUp: !all["no-pick-up"],
    keepFlows: all["keep-flows"],
    busyPoll: all["busy-poll"],
    flows: all.flows,
    secrets: secretsFrom(given["secret-file"], where("secret-file"), secret),
    staticPeers: all["static-peer"],
    state: all.state,
    socket: all.socket,
    ...(given.underlay && { underlay: given.underlay }),
    ...(given.mtu && { mtu: given.mtu }),
    ...(given.sessions && { sessions: given.sessions }),
    ...(given.http && { http: given.http }),
    ...(given["log-format"] && { logFormat: given["log-format"] }),
  };
  checkTogether(config, where);
  return config;
}

/** Reads each setting of one source. It reports one mistake; a misspelt name comes first. */
function check({ values, where }: SettingSource): Settings {
  const result = settings.partial().safeParse(values);
  if (result.success) return result.data as Settings;
  const { issues } = result.error;
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    throw bad(
      `${where([...issue.path, key])}: "${printable(key)}" is not a known name`,
      didYouMean(key, knownKeys(issue.path)) ?? `use one of: ${knownKeys(issue.path).join(", ")}`,
    );
  }
  const remedy = issue.code === "custom" ? String(issue.params?.remedy) : "see: weft up --help";
  throw bad(`${where(issue.path)}: ${issue.message}`, remedy);
}

function nameFrom(hostname: string): string {
  const label = hostname.toLowerCase().split(".")[0] ?? "";
  try {
    return nodeName(label);
  } catch {
    throw bad(
      `the host name "${printable(hostname)}" cannot be a node name`,
      "pass --name with 1 to 63 lower-case letters, digits and hyphens",
    );
  }
}

function secretsFrom(file: string | undefined, where: string, variable: string | undefined) {
  if (file !== undefined) return secretsFromFile(file, where);
  if (variable) return split(variable, "WEFT_SECRET");
  throw bad(
    "no cluster secret is given",
    "put one in a file and pass --secret-file FILE, or set WEFT_SECRET",
  );
}
