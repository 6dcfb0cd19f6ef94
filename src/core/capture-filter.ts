/**
 * The filter of a capture, as text and as the words that the core reads:
 *
 *     [PROTOCOL] [END [END]]     END: ADDRESS, CIDR, ADDRESS:PORT, [IPV6]:PORT or :PORT
 *
 * Either end may be the source, so the filter matches both directions of a connection.
 */
import {
  bits,
  type Family,
  type Prefix,
  parsePrefixOrAddress,
  printable,
  toBytes,
} from "../address.js";
import { WeftError } from "../error.js";
import { PROTOCOLS } from "../protocol.js";
import type { Core } from "./instance.js";

export interface CaptureFilter {
  readonly family?: Family;
  readonly protocol?: number;
  /** An absent field of an end matches any value. */
  readonly ends: readonly [FilterEnd, FilterEnd];
}

export interface FilterEnd {
  readonly prefix?: Prefix;
  readonly port?: number;
}

const MAX_PORT = 65_535;
const MAX_PROTOCOL = 255;
const NUMBER = /^\d{1,5}$/;

/** @throws WeftError CAPTURE if the text is not a filter */
export function readFilter(text: string): CaptureFilter {
  const words = text.trim().split(/\s+/).filter(Boolean);
  const [first = ""] = words;
  const isProtocol = Object.hasOwn(PROTOCOLS, first) || NUMBER.test(first);
  const [one = {}, other = {}, ...rest] = words.slice(isProtocol ? 1 : 0).map(readEnd);
  if (rest.length > 0) {
    throw wrong(
      `the filter "${printable(text)}" has more than two ends`,
      "write it like: tcp 10.244.1.5 10.244.2.80:443",
    );
  }
  const family = familyOf(one, other);
  return {
    ...(family && { family }),
    ...(isProtocol && { protocol: protocolOf(first, family) }),
    ends: [one, other],
  };
}

function protocolOf(word: string, family: Family | undefined): number {
  if (word === "icmp" && family === 6) return PROTOCOLS.icmpv6;
  const number = PROTOCOLS[word as keyof typeof PROTOCOLS] ?? Number(word);
  if (number <= MAX_PROTOCOL) return number;
  throw wrong(`protocol ${word} cannot be`, `give a number up to ${MAX_PROTOCOL}`);
}

function readEnd(word: string): FilterEnd {
  const match = /^\[(.+)\]:(.*)$/.exec(word) ?? /^([^:]*):([^:]*)$/.exec(word);
  const [, address = word, port] = match ?? [];
  return {
    ...(address !== "" && { prefix: readPrefix(address) }),
    ...(port !== undefined && { port: readPort(port) }),
  };
}

function readPrefix(text: string): Prefix {
  try {
    return parsePrefixOrAddress(text);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    throw wrong(error.message, error.remedy);
  }
}

function readPort(text: string): number {
  const port = Number(text);
  if (NUMBER.test(text) && port <= MAX_PORT) return port;
  throw wrong(`"${printable(text)}" is not a port`, `give a whole number up to ${MAX_PORT}`);
}

function familyOf(one: FilterEnd, other: FilterEnd): Family | undefined {
  const [a, b] = [one.prefix?.family, other.prefix?.family];
  if (a && b && a !== b) {
    throw wrong("the two ends are not of one family", "no packet goes from IPv4 to IPv6");
  }
  return a ?? b;
}

/** Writes the filter; undefined turns the capture off. */
export function writeFilter({ view, bytes, layout }: Core, filter: CaptureFilter | undefined) {
  view.setUint32(layout.CAPTURE_FILTERED, filter ? 1 : 0, true);
  if (!filter) return;
  view.setUint32(layout.CAPTURE_FAMILY, filter.family ?? layout.CAPTURE_ANY, true);
  view.setUint32(layout.CAPTURE_PROTOCOL, filter.protocol ?? layout.CAPTURE_ANY, true);
  for (const [i, { prefix, port }] of filter.ends.entries()) {
    const at = layout.CAPTURE_ENDS + i * layout.CAPTURE_END_SIZE;
    bytes.fill(0, at, at + layout.CAPTURE_END_SIZE);
    if (prefix) {
      bytes.set(toBytes({ family: prefix.family, value: prefix.base }), at);
      bytes.set(toBytes(maskOf(prefix)), at + layout.CAPTURE_END_MASK);
    }
    view.setUint32(at + layout.CAPTURE_END_PORT, port ?? layout.CAPTURE_ANY, true);
  }
}

/** The mask of a prefix. */
function maskOf({ family, length }: Prefix) {
  const all = (1n << BigInt(bits(family))) - 1n;
  return { family, value: all ^ (all >> BigInt(length)) };
}

export const wrong = (what: string, remedy: string): WeftError =>
  new WeftError("CAPTURE", what, remedy);
