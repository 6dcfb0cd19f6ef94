/**
 * Readers of single settings: each turns a text into its value. A reader accepts exactly one
 * spelling, and its error says which.
 */
import { resolve } from "node:path";
import {
  type Address,
  covers,
  type Endpoint,
  formatAddress,
  formatEndpoint,
  formatMac,
  formatPrefix,
  isHost,
  isLinkLocal,
  isLoopback,
  LINK_LOCAL,
  LOOPBACK,
  NO_HOST,
  overlaps,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parseMac,
  parsePrefix,
  printable,
} from "../address.js";
import { WeftError } from "../error.js";
import { type Dscp, MAX_DSCP } from "../tos.js";

/** A mesh address to dial. The host is an IP address, without brackets, or a DNS name. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export const MESH_PORT = 6783;
/** The path of the control socket. */
export const DEFAULT_SOCKET = "/run/weft/weft.sock";

const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Longest path of a Unix socket (`sun_path`, unix(7)), in bytes. */
const MAX_SOCKET_PATH = 107;
/** IFNAMSIZ without the closing zero, in bytes. */
const MAX_DEVICE_NAME = 15;
const MAX_DNS_NAME = 253;

const NODE_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;
const NUMERIC_LABEL = /^(\d+|0x[0-9a-f]*)$/i;
const WHOLE_NUMBER = /^(0|[1-9]\d{0,9})$/;
const HOST_PORT = /^(?:\[(?<ipv6>[^\]]*:[^\]]*)\]|(?<host>[^:]*))(?::(?<port>[^:]*))?$/;
/** Linux accepts other characters too; these need no quoting anywhere. */
const DEVICE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const INTERFACE_PATTERN = /^[A-Za-z0-9_*?][A-Za-z0-9_.*?-]*$/;
/** Each pattern is tried on each interface at every check. */
const MAX_PATTERNS = 64;
/** Reserved names: `all` and `default` by sysctl, `lo` by the loopback device. */
const RESERVED_DEVICES = ["all", "default", "lo"];

export const bad = (what: string, remedy: string) => new WeftError("CONFIG", what, remedy);

export function nodeName(text: string): string {
  if (NODE_NAME.test(text)) return text;
  throw bad(
    `"${printable(text)}" is not a node name`,
    "use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at each end",
  );
}

export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (WHOLE_NUMBER.test(text) && value >= least && value <= most) return value;
    throw bad(
      `"${printable(text)}" is not a whole number from ${least} to ${most}`,
      `give a number from ${least} to ${most}`,
    );
  };

export function dscp(text: string): Dscp {
  if (text === "inherit") return text;
  const value = Number(text);
  if (WHOLE_NUMBER.test(text) && value <= MAX_DSCP) return value;
  throw bad(
    `"${printable(text)}" is not a DSCP`,
    `give a number from 0 to ${MAX_DSCP}, like 46 for EF, or inherit`,
  );
}

export const port = wholeNumber(1, 65535);

export const powerOfTwo =
  (least: number, most: number) =>
  (text: string): number => {
    const value = wholeNumber(least, most)(text);
    if (Number.isInteger(Math.log2(value))) return value;
    const lower = 2 ** Math.floor(Math.log2(value));
    throw bad(`${text} is not a power of two`, `give ${lower} or ${2 * lower}`);
  };

/** A switch: YAML's other spellings of true and false mean different things to different readers. */
export function yes(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw bad(`"${printable(text)}" is neither true nor false`, "write true or false");
}

export function logFormat(text: string): LogFormat {
  const format = LOG_FORMATS.find((it) => it === text);
  if (format) return format;
  throw bad(`"${printable(text)}" is not a format of the log`, "write text or json");
}

export function address(text: string): Address {
  if (text.includes("%")) throw linkLocal(text);
  const value = parseAddress(text);
  if (isLinkLocal(value)) throw linkLocal(text);
  if (isHost(value) || isLoopback(value)) return value;
  throw bad(
    `${text} is not an address of a host`,
    "give a unicast address like 192.0.2.1 or 2001:db8::1",
  );
}

const linkLocal = (text: string) =>
  bad(
    `${printable(text)} is link-local: on every link it can be another host`,
    "give a global or unique local address, like 2001:db8::1 or fd00::1",
  );

/** A prefix whose addresses hosts may have. */
export function prefix(text: string): Prefix {
  const value = parsePrefix(text);
  if (covers(LINK_LOCAL, value)) throw linkLocal(text);
  const unusable = [...LOOPBACK, ...NO_HOST, LINK_LOCAL].find((range) => overlaps(range, value));
  if (unusable) {
    throw bad(
      `${text} overlaps ${formatPrefix(unusable)}, which hosts cannot use`,
      "use a private range, like 10.244.0.0/16 or fd00:244::/48",
    );
  }
  return value;
}

/** `CIDR[,CIDR]`: at most one prefix of each family. The IPv4 one comes first. */
export function network(text: string): Prefix[] {
  const prefixes = text.split(",").map(prefix);
  for (const family of [4, 6] as const) {
    const count = prefixes.filter((one) => one.family === family).length;
    if (count <= 1) continue;
    throw bad(
      `"${printable(text)}" names ${count} IPv${family} networks`,
      "give one prefix of each family; a wider one has room for more leases",
    );
  }
  return prefixes.sort((a, b) => a.family - b.family);
}

/** `HOST`, `HOST:PORT` or `[IPV6]:PORT`. An IPv6 address without a port needs no brackets. */
export function hostPort(text: string): HostPort {
  const parts = HOST_PORT.exec(text)?.groups ?? { ipv6: text };
  return {
    host:
      parts.ipv6 === undefined ? hostName(parts.host ?? "") : formatAddress(address(parts.ipv6)),
    port: parts.port === undefined ? MESH_PORT : port(parts.port),
  };
}

/**
 * Reads a host name. Some resolvers read a name whose last label is a number as an address, so it
 * must be an address. A dot at the end marks the DNS root (RFC 1034 section 3.1) and stays: without
 * it the resolver may add a search domain.
 */
function hostName(text: string): string {
  const labels = text.replace(/(?<=[^.])\.$/, "").split(".");
  if (NUMERIC_LABEL.test(labels.at(-1) ?? "")) return formatAddress(address(text));
  if (labels.join(".").length <= MAX_DNS_NAME && labels.every((label) => DNS_LABEL.test(label)))
    return text;
  throw noHost(text);
}

const noHost = (text: string) =>
  bad(
    `"${printable(text)}" is neither an IP address nor a host name`,
    "write HOST or HOST:PORT, like 192.0.2.1, [2001:db8::1]:6783 or node1.example.org:6783",
  );

export function deviceName(text: string): string {
  if (!DEVICE_NAME.test(text) || text.length > MAX_DEVICE_NAME) {
    throw bad(
      `"${printable(text)}" is not a device name`,
      `use 1 to ${MAX_DEVICE_NAME} letters, digits, ".", "_" and "-", beginning with a letter or digit`,
    );
  }
  if (!RESERVED_DEVICES.includes(text)) return text;
  throw bad(`"${text}" is a device name that Linux reserves`, "choose another, like weft0");
}

/** `PATTERN[,PATTERN]`: names of interfaces, in which `*` stands for any characters and `?` for one. */
export function interfacePatterns(text: string): string[] {
  const patterns = text.split(",");
  const wrong = patterns.find((it) => !isInterfacePattern(it));
  if (wrong !== undefined) {
    throw bad(
      `"${printable(wrong)}" is not a pattern of interface names`,
      `give names of at most ${MAX_DEVICE_NAME} characters, in which * stands for any and ? for one, like 'veth*,cali*'`,
    );
  }
  if (patterns.length <= MAX_PATTERNS) return patterns;
  throw bad(
    `${patterns.length} patterns are more than ${MAX_PATTERNS}`,
    `give at most ${MAX_PATTERNS}`,
  );
}

const isInterfacePattern = (text: string): boolean =>
  INTERFACE_PATTERN.test(text) && text.replaceAll("*", "").length <= MAX_DEVICE_NAME;

export function path(text: string): string {
  if (text !== "" && !text.includes("\0")) return resolve(text);
  throw bad("the path is empty", "give the path of a file or directory");
}

export function socketPath(text: string): string {
  const value = path(text);
  if (Buffer.byteLength(value) <= MAX_SOCKET_PATH) return value;
  throw bad(
    `the path is longer than the ${MAX_SOCKET_PATH} bytes a Unix socket may have`,
    "choose a shorter path, like /run/weft/weft.sock",
  );
}

/** The API has no login, so it stays on this host. */
export function loopback(text: string): Endpoint {
  const value = parseEndpoint(text);
  if (isLoopback(value.address)) return value;
  throw bad(
    `${text} can be reached from other hosts, and the HTTP interface has no login`,
    "use a loopback address, like 127.0.0.1:6784",
  );
}

/** An underlay address and UDP port in canonical spelling. */
export function endpoint(text: string): string {
  const { address: host, port } = parseEndpoint(text);
  return formatEndpoint({ address: address(formatAddress(host)), port });
}

export const mac = (text: string): string => formatMac(parseMac(text));

/** Splits `name=..,endpoint=IP:PORT,mac=..,subnets=CIDR[+CIDR]` into its fields, as texts. */
export function fields(text: string): Record<string, string> {
  const found = new Map<string, string>();
  for (const field of text.split(",")) {
    const [key = "", ...value] = field.split("=");
    if (value.length === 0 || found.has(key)) {
      throw bad(
        `"${printable(field)}" is ${value.length ? "given twice" : "not KEY=VALUE"}`,
        "write name=NAME,endpoint=IP:PORT,mac=MAC,subnets=CIDR[+CIDR]",
      );
    }
    found.set(key, value.join("="));
  }
  return Object.fromEntries(found);
}
