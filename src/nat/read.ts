/** Readers of single values in a document of address translation. */
import {
  type Address,
  contains,
  covers,
  type Endpoint,
  formatAddress,
  LINK_LOCAL,
  LOOPBACK,
  NO_HOST,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parsePrefix,
  parsePrefixOrAddress,
  printable,
} from "../address.js";
import { WeftError } from "../error.js";
import { PROTOCOLS } from "../protocol.js";

/** Protocols whose ports are translated. */
export const NAT_PROTOCOLS = ["tcp", "udp", "sctp"] as const;
export type NatProtocol = (typeof NAT_PROTOCOLS)[number];

export const numberOf = (protocol: NatProtocol): number => PROTOCOLS[protocol];

/** The caller knows the place in the document, and adds it to these words. */
export const bad = (what: string, remedy: string) => new WeftError("NAT", what, remedy);

const LINK_LOCAL_4 = parsePrefix("169.254.0.0/16");
const UNUSABLE = [...NO_HOST, ...LOOPBACK, LINK_LOCAL, LINK_LOCAL_4];

/** A unicast address that other hosts can reach. */
export const hostAddress = (text: string): Address => usable(parseAddress(text));

/** `ADDRESS:PORT` with an address as above. */
export function hostEndpoint(text: string): Endpoint {
  const { address, port } = parseEndpoint(text);
  return { address: usable(address), port };
}

function usable(address: Address): Address {
  if (!UNUSABLE.some((range) => contains(range, address))) return address;
  throw noHost(formatAddress(address));
}

/** A prefix or an address. It may contain every address, and some that hosts can have at least. */
export function matched(text: string): Prefix {
  const prefix = parsePrefixOrAddress(text);
  if (UNUSABLE.some((range) => covers(range, prefix))) throw noHost(printable(text));
  return prefix;
}

/** A prefix or an address whose addresses all are those of hosts. */
export function hostPrefix(text: string): Prefix {
  const prefix = parsePrefixOrAddress(text);
  if (UNUSABLE.some((range) => covers(range, prefix) || covers(prefix, range))) {
    throw noHost(printable(text));
  }
  return prefix;
}

const noHost = (text: string) =>
  bad(
    `${text} is loopback, link-local, multicast or reserved`,
    "give addresses that other hosts can reach, like 10.244.1.5 or fd00:244::5",
  );

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A time with its unit, as `5s` or `30m`. @param most,least milliseconds */
export const duration =
  (least: number, most: number) =>
  (text: string): number => {
    const [, count, unit = ""] = /^([1-9]\d{0,8})(ms|s|m|h)$/.exec(text) ?? [];
    const ms = Number(count) * UNITS[unit]!;
    if (ms >= least && ms <= most) return ms;
    throw bad(
      `"${printable(text)}" is not a time from ${inWords(least)} to ${inWords(most)}`,
      "write a number and ms, s, m or h, like 5s or 30m",
    );
  };

export function inWords(ms: number): string {
  const [unit, size] = Object.entries(UNITS)
    .reverse()
    .find(([, size]) => ms % size === 0)!;
  return `${ms / size}${unit}`;
}
