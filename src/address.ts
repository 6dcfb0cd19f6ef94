/**
 * Strict parsers of addresses, prefixes, endpoints and MAC addresses, and what formats them.
 *
 * An address that two programs read differently is a security hole: `010.0.0.1` is 10.0.0.1 to one
 * and 8.0.0.1 to another. So IPv4 octets with leading zeros and the like are refused before the
 * library parses the text.
 */
import ipaddr from "ipaddr.js";
import { WeftError } from "./error.js";

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** The address as one number, first octet most significant. */
  readonly value: bigint;
}

/** All addresses that share their first `length` bits with `base`, whose other bits are zero. */
export interface Prefix {
  readonly family: Family;
  readonly base: bigint;
  readonly length: number;
}

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

const IPV4 = /^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/;
const IPV6 = /^[0-9a-fA-F:]{2,39}$/;
const LENGTH = /^(0|[1-9]\d{0,2})$/;
const PORT = /^[1-9]\d{0,4}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

const bad = (what: string, remedy: string) => new WeftError("ADDRESS", what, remedy);

export const bits = (family: Family): number => (family === 4 ? 32 : 128);

export function parseAddress(text: string): Address {
  const value = IPV4.test(text) ? ipv4(text) : IPV6.test(text) ? ipv6(text) : undefined;
  if (value !== undefined) return { family: text.includes(":") ? 6 : 4, value };
  throw bad(
    `"${printable(text)}" is not an IP address`,
    /^0\d|\.0\d/.test(text)
      ? "write each octet without leading zeros"
      : "write it like 192.0.2.1 or 2001:db8::1",
  );
}

/** The regular expression has left four numbers without leading zeros. */
function ipv4(text: string): bigint | undefined {
  const octets = text.split(".").map(Number);
  if (octets.some((octet) => octet > 255)) return undefined;
  return BigInt(octets.reduce((value, octet) => value * 256 + octet, 0));
}

const ipv6 = (text: string): bigint | undefined =>
  ipaddr.isValid(text) ? fromBytes(ipaddr.parse(text).toByteArray()) : undefined;

export const isSameAddress = (a: Address, b: Address): boolean =>
  a.family === b.family && a.value === b.value;

export function formatAddress({ family, value }: Address): string {
  if (family === 4) return octets(value, 4).join(".");
  return new ipaddr.IPv6(octets(value, 16)).toRFC5952String();
}

/** Parses `ADDRESS/LENGTH`. Bits set beyond the length are an error, because they suggest a typing mistake. */
export function parsePrefix(text: string): Prefix {
  const [address = "", length = "", ...rest] = text.split("/");
  if (rest.length > 0 || !LENGTH.test(length)) {
    throw bad(
      `"${printable(text)}" is not a network prefix`,
      "write it as ADDRESS/LENGTH, like 10.244.0.0/16",
    );
  }
  const { family, value } = parseAddress(address);
  if (Number(length) > bits(family)) {
    throw bad(
      `"${text}" has a prefix length over ${bits(family)}`,
      `use a length from 0 to ${bits(family)}`,
    );
  }
  const prefix = prefixOf({ family, value }, Number(length));
  if (prefix.base !== value) {
    throw bad(
      `"${text}" has address bits set beyond its length`,
      `did you mean ${formatPrefix(prefix)}?`,
    );
  }
  return prefix;
}

/** Parses `ADDRESS/LENGTH`, or `ADDRESS` as a prefix of full length. */
export function parsePrefixOrAddress(text: string): Prefix {
  if (text.includes("/")) return parsePrefix(text);
  const { family, value } = parseAddress(text);
  return { family, base: value, length: bits(family) };
}

export const formatPrefix = ({ family, base, length }: Prefix): string =>
  `${formatAddress({ family, value: base })}/${length}`;

/** The prefix of this length that contains the address. */
export function prefixOf({ family, value }: Address, length: number): Prefix {
  const host = BigInt(bits(family) - length);
  return { family, base: (value >> host) << host, length };
}

export const contains = (prefix: Prefix, { family, value }: Address): boolean =>
  family === prefix.family && prefixOf({ family, value }, prefix.length).base === prefix.base;

/** Whether `outer` contains every address of `inner`. */
export const covers = (outer: Prefix, inner: Prefix): boolean =>
  outer.length <= inner.length && contains(outer, { family: inner.family, value: inner.base });

export const overlaps = (a: Prefix, b: Prefix): boolean => covers(a, b) || covers(b, a);

/** Orders prefixes by family, then by first address; of equals the wider one comes first. */
export const byBase = (a: Prefix, b: Prefix): number =>
  a.family - b.family || (a.base === b.base ? a.length - b.length : a.base < b.base ? -1 : 1);

/** The first address of a host: base + 1, or the base of a prefix of full length. */
export function firstHost({ family, base, length }: Prefix): Address {
  return { family, value: length === bits(family) ? base : base + 1n };
}

/** Parses `192.0.2.1:4789` or `[2001:db8::1]:4789`. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || !PORT.test(match[3] ?? "") || port > 65535) {
    throw bad(
      `"${printable(text)}" is not an endpoint`,
      "write it as ADDRESS:PORT, like 192.0.2.1:4789",
    );
  }
  return { address: parseAddress(match[1] ?? match[2] ?? ""), port };
}

export const formatEndpoint = ({ address, port }: Endpoint): string =>
  address.family === 6
    ? `[${formatAddress(address)}]:${port}`
    : `${formatAddress(address)}:${port}`;

export function parseMac(text: string): Uint8Array {
  if (!MAC.test(text)) {
    throw bad(`"${printable(text)}" is not a MAC address`, "write it like 02:00:00:00:00:01");
  }
  const bytes = Uint8Array.from(text.split(":"), (pair) => Number.parseInt(pair, 16));
  if ((bytes[0]! & 1) === 1) {
    throw bad(`"${text}" is a multicast MAC address`, "a VTEP needs a unicast one");
  }
  return bytes;
}

export const formatMac = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");

/** The bytes of an address in network order: 4 or 16. */
export const toBytes = ({ family, value }: Address): Uint8Array =>
  Uint8Array.from(octets(value, family === 4 ? 4 : 16));

function octets(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) =>
    Number((value >> BigInt(8 * (count - 1 - i))) & 0xffn),
  );
}

/** Reads an address of 4 or 16 bytes in network order. */
export const readAddress = (bytes: Uint8Array): Address => ({
  family: bytes.length === 4 ? 4 : 6,
  value: fromBytes([...bytes]),
});

const fromBytes = (bytes: number[]): bigint =>
  bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** "This network", IPv6 ranges that embed IPv4 addresses, and multicast with all above it (RFC 6890). */
export const NO_HOST = ["0.0.0.0/8", "224.0.0.0/3", "::/8", "ff00::/8"].map(parsePrefix);
export const LOOPBACK = ["127.0.0.0/8", "::1/128"].map(parsePrefix);
/** Link-local addresses: one of them can be another host on each link. */
export const LINK_LOCAL = parsePrefix("fe80::/10");

const isIn = (ranges: readonly Prefix[], address: Address): boolean =>
  ranges.some((range) => contains(range, address));

export const isLoopback = (address: Address): boolean => isIn(LOOPBACK, address);

export const isLinkLocal = (address: Address): boolean => contains(LINK_LOCAL, address);

/** Whether other hosts can reach a host at this address: unicast, neither loopback nor link-local. */
export const isHost = (address: Address): boolean =>
  !isIn([...NO_HOST, ...LOOPBACK, LINK_LOCAL], address);

/** Makes untrusted text fit for one line of an error message: printable ASCII, at most 64 characters. */
export function printable(text: string): string {
  const safe = text.replace(/[^\x20-\x7e]/g, "?");
  return safe.length > 64 ? `${safe.slice(0, 61)}...` : safe;
}
