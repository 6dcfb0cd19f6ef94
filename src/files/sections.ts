/**
 * Named sections of bytes in one array that shows when it is torn or of another kind.
 *
 *   0          16        48        52      56
 *   +----------+---------+---------+-------+----------------------+-----------+-----------+--
 *   | kind     | SHA-256 | version | size  | names, sizes (JSON)  | section   | section   |
 *   +----------+---------+---------+-------+----------------------+-----------+-----------+--
 *
 * The checksum covers everything behind it. It finds mistakes, not forgers: a reader checks what it uses.
 */
import { createHash } from "node:crypto";
import { z } from "zod";

const KIND = 16;
const CHECKSUM = 32;
const VERSION_AT = KIND + CHECKSUM;
const SIZE_AT = VERSION_AT + 4;
const HEADER = SIZE_AT + 4;

const index = z.array(z.tuple([z.string(), z.int().min(0)]));

/** Why bytes cannot be read: they are of another kind or version, or not all there. */
export type Unreadable = "foreign" | "torn" | "version";

/** @param kind at most 16 ASCII characters */
export function joinSections(
  kind: string,
  version: number,
  sections: Readonly<Record<string, Uint8Array>>,
): Uint8Array {
  const all = Object.entries(sections);
  const names = Buffer.from(JSON.stringify(all.map(([name, { length }]) => [name, length])));
  const header = Buffer.alloc(HEADER);
  header.write(kind, 0, KIND, "latin1");
  header.writeUInt32LE(version, VERSION_AT);
  header.writeUInt32LE(names.length, SIZE_AT);
  const bytes = Buffer.concat([header, names, ...all.map(([, section]) => section)]);
  checksum(bytes).copy(bytes, KIND);
  return bytes;
}

/** The sections; they share the memory of `bytes`. */
export function splitSections(
  kind: string,
  version: number,
  bytes: Uint8Array,
): ReadonlyMap<string, Uint8Array> | Unreadable {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const expected = Buffer.alloc(KIND);
  expected.write(kind, "latin1");
  if (!all.subarray(0, KIND).equals(expected)) return "foreign";
  if (all.length < HEADER || !checksum(all).equals(all.subarray(KIND, VERSION_AT))) return "torn";
  if (all.readUInt32LE(VERSION_AT) !== version) return "version";
  return split(all, HEADER + all.readUInt32LE(SIZE_AT)) ?? "torn";
}

/** @param from where the first section begins */
function split(all: Buffer, from: number): ReadonlyMap<string, Uint8Array> | undefined {
  if (from > all.length) return undefined;
  const read = index.safeParse(parse(all.toString("utf8", HEADER, from)));
  if (!read.success) return undefined;
  const sections = new Map<string, Uint8Array>();
  let at = from;
  for (const [name, size] of read.data) {
    if (size > all.length - at) return undefined;
    sections.set(name, all.subarray(at, at + size));
    at += size;
  }
  return at === all.length ? sections : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const checksum = (bytes: Uint8Array): Buffer =>
  createHash("sha256").update(bytes.subarray(VERSION_AT)).digest();
