/** Readers shared by documents about packets: protocols, ports, types of ICMP. */
import { printable } from "../address.js";
import type { PortRange } from "../compile/acl-rule.js";
import type { Entry } from "../config/entry.js";
import { wholeNumber } from "../config/read.js";
import { WeftError } from "../error.js";
import { PROTOCOLS } from "../protocol.js";

export const MAX_PORTS = 256;

/** The caller knows the place in the document, and adds it to these words. */
const bad = (what: string, remedy: string) => new WeftError("POLICY", what, remedy);

export function protocolNumber(text: string): number {
  if (Object.hasOwn(PROTOCOLS, text)) return PROTOCOLS[text as keyof typeof PROTOCOLS];
  if (/^\d+$/.test(text)) return wholeNumber(0, 255)(text);
  throw bad(
    `"${printable(text)}" is not a protocol`,
    `use ${Object.keys(PROTOCOLS).join(", ")}, or a number from 0 to 255`,
  );
}

export function readPorts(entry: Entry): PortRange[] {
  return filled(entry, MAX_PORTS).map((item) => item.read(portRange));
}

export function portRange(text: string): PortRange {
  const [first = "", last = first, ...rest] = text.split("-");
  const port = wholeNumber(0, 65_535);
  if (rest.length > 0 || text === "-") {
    throw bad(`"${printable(text)}" is not a port`, "write 80 or 8000-8100");
  }
  const [from, to] = [port(first), port(last)];
  if (from <= to) return { from, to };
  throw bad(`${text} ends before it begins`, `did you mean ${to}-${from}?`);
}

/** Type and code as the core stores them, in the place of a port. */
export function readIcmp(entry: Entry): PortRange[] {
  const { optional, required } = entry.fields(["type", "code"]);
  const octet = wholeNumber(0, 255);
  const type = required("type").read(octet) << 8;
  const code = optional("code")?.read(octet);
  return [
    code === undefined ? { from: type, to: type | 255 } : { from: type | code, to: type | code },
  ];
}

/** An empty list could be read as "none" and as "any". */
export function filled(entry: Entry, most: number): Entry[] {
  const items = entry.list(most);
  if (items.length > 0) return items;
  throw entry.bad(
    "an empty list says neither all nor none",
    "leave the key out for all, leave the rule out for none",
  );
}
