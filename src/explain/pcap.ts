/**
 * Reads packets from a capture file: pcap (draft-ietf-opsawg-pcap) or pcapng
 * (draft-ietf-opsawg-pcapng), in either byte order. Every length in it is checked.
 */
import { WeftError } from "../error.js";
import { wordsOf } from "./headers.js";

/** Most bytes of a frame, as many as capture tools keep. */
export const MAX_FRAME = 262_144;

export interface Frame {
  /** Counted from 1, as capture tools do. */
  readonly number: number;
  /** From its IP header on, with zeros for bytes not captured; absent when the frame holds no IP packet. */
  readonly packet?: Uint8Array;
}

/** A frame of the file. */
interface Kept {
  readonly linkType: number;
  readonly bytes: Uint8Array;
  /** Length of the frame on the wire, before truncation. */
  readonly length: number;
}

/**
 * Yields the first `count` frames, and reads nothing behind them.
 * @throws WeftError PCAP when the file is not a capture file, or is truncated
 */
export function* framesIn(file: Uint8Array, count: number): Generator<Frame> {
  const order = PCAP_ORDERS.get(file.length < 4 ? 0 : new Words(file, false).u32(0));
  let number = 0;
  try {
    for (const kept of order === undefined ? sections(file) : records(file, order)) {
      const packet = packetIn(kept);
      yield { number: ++number, ...(packet && { packet }) };
      if (number === count) return;
    }
  } catch (error) {
    throw error instanceof MalformedPcap ? error.after(number) : error;
  }
}

// ---- the two formats

/** Magic numbers of pcap files, read as big endian; true: the file is little endian. */
const PCAP_ORDERS: ReadonlyMap<number, boolean> = new Map([
  [0xa1b2c3d4, false],
  [0xa1b23c4d, false],
  [0xd4c3b2a1, true],
  [0x4d3cb2a1, true],
]);

const [PCAP_HEADER, RECORD_HEADER] = [24, 16];

function* records(file: Uint8Array, isLittle: boolean): Generator<Kept> {
  const words = new Words(file, isLittle);
  const linkType = words.u32(20) & 0xffff;
  for (let at = PCAP_HEADER; at < file.length; ) {
    const [kept, length] = [words.u32(at + 8), words.u32(at + 12)];
    at += RECORD_HEADER;
    yield { linkType, bytes: words.part(at, kept), length };
    at += kept;
  }
}

const BLOCK = { section: 0x0a0d0d0a, interface: 1, old: 2, simple: 3, enhanced: 6 } as const;
/** Byte-order magic of a section, read as big endian; true: the section is little endian. */
const SECTION_ORDERS: ReadonlyMap<number, boolean> = new Map([
  [0x1a2b3c4d, false],
  [0x4d3c2b1a, true],
]);
const LEAST_BLOCK = 12;
const MAX_INTERFACES = 1024;

function* sections(file: Uint8Array): Generator<Kept> {
  let interfaces: { readonly linkType: number; readonly most: number }[] = [];
  let words = new Words(file, false);
  for (let at = 0; at < file.length; ) {
    const type = words.u32(at);
    if (at === 0 && type !== BLOCK.section)
      throw new MalformedPcap("it is no pcap and no pcapng file");
    if (type === BLOCK.section) {
      const order = SECTION_ORDERS.get(new Words(file, false).u32(at + 8));
      if (order === undefined) throw new MalformedPcap("a section has no byte order");
      words = new Words(file, order);
      interfaces = [];
    }
    const size = words.u32(at + 4);
    if (size < LEAST_BLOCK || size % 4 !== 0)
      throw new MalformedPcap(`a block is ${size} bytes long`);
    const block = words.within(at, size);
    if (block.u32(size - 4) !== size) throw new MalformedPcap("the two lengths of a block differ");
    if (type === BLOCK.interface) {
      if (interfaces.length === MAX_INTERFACES)
        throw new MalformedPcap("it has too many interfaces");
      interfaces.push({ linkType: block.u16(8), most: block.u32(12) || MAX_FRAME });
    }
    const place = placeOf(type, block);
    if (place) {
      const link = interfaces[place.interface];
      if (!link) throw new MalformedPcap(`interface ${place.interface} is not described`);
      const kept = place.kept ?? Math.min(place.length, link.most);
      yield { linkType: link.linkType, bytes: block.part(place.at, kept), length: place.length };
    }
    at += size;
  }
}

/** The position of the frame in a block that has one. */
function placeOf(type: number, block: Words) {
  switch (type) {
    case BLOCK.enhanced:
      return { interface: block.u32(8), kept: block.u32(20), length: block.u32(24), at: 28 };
    case BLOCK.old:
      return { interface: block.u16(8), kept: block.u32(20), length: block.u32(24), at: 28 };
    case BLOCK.simple:
      return { interface: 0, kept: undefined, length: block.u32(8), at: 12 };
    default:
      return undefined;
  }
}

/** Reads numbers from bytes. Reading past their end throws. */
class Words {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #isLittle: boolean;

  constructor(bytes: Uint8Array, isLittle: boolean) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#isLittle = isLittle;
  }

  u16(at: number): number {
    this.#check(at, 2);
    return this.#view.getUint16(at, this.#isLittle);
  }

  u32(at: number): number {
    this.#check(at, 4);
    return this.#view.getUint32(at, this.#isLittle);
  }

  /** A frame, or a part of one. Its length is bounded. */
  part(at: number, length: number): Uint8Array {
    if (length > MAX_FRAME) throw new MalformedPcap(`a frame is ${length} bytes long`);
    this.#check(at, length);
    return this.#bytes.subarray(at, at + length);
  }

  within(at: number, length: number): Words {
    this.#check(at, length);
    return new Words(this.#bytes.subarray(at, at + length), this.#isLittle);
  }

  #check(at: number, length: number): void {
    if (at + length > this.#bytes.length) throw new MalformedPcap("it ends in the middle");
  }
}

class MalformedPcap extends Error {
  after(frames: number): WeftError {
    const where = frames > 0 ? ` after frame ${frames}` : "";
    return new WeftError(
      "PCAP",
      `the capture file cannot be read${where}: ${this.message}`,
      frames > 0
        ? `try the frames before that with --count ${frames}`
        : "give a pcap or pcapng file with packets of IP, Ethernet or Linux cooked",
    );
  }
}

// ---- from a frame to the packet in it

const [IPV4, IPV6] = [0x0800, 0x86dd];
const VLAN_TAGS: readonly number[] = [0x8100, 0x88a8];
const LINK = { null: 0, ethernet: 1, loop: 108, cooked: 113, cooked2: 276 } as const;
/** Link types whose frames are IP packets. */
const RAW: readonly number[] = [12, 14, 101, 228, 229];

/** Offset of the packet in its frame, and of the two bytes with its protocol. */
function layoutOf({ linkType, bytes }: Kept): { readonly ip: number; readonly type?: number } {
  if (RAW.includes(linkType)) return { ip: 0 };
  switch (linkType) {
    case LINK.null:
    case LINK.loop:
      return { ip: 4 };
    case LINK.ethernet: {
      let type = 12;
      while (VLAN_TAGS.includes(typeAt(bytes, type))) type += 4;
      return { ip: type + 2, type };
    }
    case LINK.cooked:
      return { ip: 16, type: 14 };
    case LINK.cooked2:
      return { ip: 20, type: 0 };
    default:
      throw new MalformedPcap(`its link type ${linkType} is not known here`);
  }
}

const typeAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

function packetIn(kept: Kept): Uint8Array | undefined {
  const { ip, type } = layoutOf(kept);
  if (type !== undefined && ![IPV4, IPV6].includes(typeAt(kept.bytes, type))) return undefined;
  if (kept.bytes.length <= ip) return undefined;
  const length = Math.min(Math.max(kept.length, kept.bytes.length), MAX_FRAME) - ip;
  const packet = new Uint8Array(length);
  packet.set(kept.bytes.subarray(ip));
  // Short Ethernet frames are padded: the length in the IP header is the packet's.
  return ip === 0 ? packet : packet.subarray(0, wordsOf(packet)?.length || length);
}
