/** The records of flows as bytes; what is read from bytes is checked before the core uses it. */
import { FIRST_PEER } from "../compile/compiler.js";
import { flowStateFits, MAPPING, RELAYED } from "./flows.js";
import type { Core } from "./instance.js";

/** The facts about the tables that records refer to. */
export interface RecordBounds {
  /** The generation of the tables; no record has a later one. */
  readonly generation: number;
  /** Whether there is a peer at this position. */
  hasPeer(place: number): boolean;
}

/** All flags of a record (assembly/conntrack/flow.ts). */
const MAX_FLAGS = 15;
/** Largest window scale (RFC 7323, 2.3). */
const MAX_SCALE = 14;

/** Places of all records. */
export function occupiedPlaces(core: Core): number[] {
  const tags = tagsOf(core);
  const places: number[] = [];
  for (let place = 0; place < tags.length; place++) if (tags[place] !== 0) places.push(place);
  return places;
}

/** The address of the record at a place. */
export const recordAt = ({ layout }: Core, place: number): number =>
  layout.FLOWS + place * layout.FLOW_SIZE;

/** The place of the record at an address; not a whole number if there is none. */
export const placeOf = ({ layout }: Core, at: number): number =>
  (at - layout.FLOWS) / layout.FLOW_SIZE;

/** Copies records as they lie in the memory: u32 place, then the record. */
export function readRecords(core: Core, places: readonly number[]): Uint8Array {
  const { layout, bytes } = core;
  const stride = 4 + layout.FLOW_SIZE;
  const records = Buffer.alloc(places.length * stride);
  places.forEach((place, i) => {
    const at = recordAt(core, place);
    records.writeUInt32LE(place, i * stride);
    records.set(bytes.subarray(at, at + layout.FLOW_SIZE), i * stride + 4);
  });
  return records;
}

/**
 * Writes records into a core without any.
 * @returns false, with the core spoilt, if they are not what `readRecords` makes of a sound table
 */
export function writeRecords(core: Core, records: Uint8Array, bounds: RecordBounds): boolean {
  const { layout, bytes, view, exports } = core;
  const stride = 4 + layout.FLOW_SIZE;
  if (records.length % stride !== 0) return false;
  const given = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const most = tagsOf(core).length;
  const places = new Set<number>();
  for (let from = 0; from < records.length; from += stride) {
    const place = given.getUint32(from, true);
    if (place >= most || places.has(place)) return false;
    places.add(place);
    bytes.set(records.subarray(from + 4, from + stride), recordAt(core, place));
  }
  for (const place of places) {
    const at = recordAt(core, place);
    const twin = view.getUint32(at + layout.FLOW_TWIN, true);
    const isWhole = twin === 0 ? isAlone(core, at) : places.has(placeOf(core, twin));
    if (!isWhole || !isPossible(core, at, bounds)) return false;
    if (twin !== 0 && !areTwins(core, at, twin)) return false;
    if (!exports.enterRecord(place)) return false;
  }
  for (const place of places) if (isFirst(core, recordAt(core, place))) exports.countEntered(place);
  return true;
}

/** Whether the record at an address is that of the packet that opened the connection. */
export const isFirst = ({ view, layout }: Memory, at: number): boolean =>
  (view.getUint8(at + layout.FLOW_FLAGS) & layout.IS_FIRST) !== 0;

const isAlone = (core: Core, at: number): boolean =>
  isFirst(core, at) && core.view.getUint8(at + core.layout.FLOW_STATE) === RELAYED;

/** The memory of a core, or a copy of a part of it. */
export type Memory = Pick<Core, "layout" | "view">;

/**
 * Whether two records, each possible by itself, are those of one connection.
 * @param address where the first one was in the memory of its core, if `memory` is a copy
 */
export function areTwins(memory: Memory, at: number, twin: number, address = at): boolean {
  const { view, layout } = memory;
  const isSame = (field: number) =>
    view.getUint32(at + field, true) === view.getUint32(twin + field, true);
  return (
    view.getUint8(at + layout.FLOW_STATE) !== RELAYED &&
    view.getUint8(at + layout.FLOW_STATE) === view.getUint8(twin + layout.FLOW_STATE) &&
    view.getUint32(twin + layout.FLOW_TWIN, true) === address &&
    isFirst(memory, at) !== isFirst(memory, twin) &&
    isSame(layout.FLOW_RULE) &&
    isSame(layout.FLOW_JUDGED) &&
    view.getUint16(at + layout.FLOW_ACCOUNT, true) ===
      view.getUint16(twin + layout.FLOW_ACCOUNT, true)
  );
}

/** Whether every number in the record at an address can be used as what it is. */
export function isPossible({ view, layout }: Core, at: number, bounds: RecordBounds): boolean {
  const kind = view.getUint32(at + layout.FLOW_KIND, true);
  const family = kind & 0xff;
  const state = view.getUint8(at + layout.FLOW_STATE);
  const generation = view.getUint32(at + layout.FLOW_GENERATION, true);
  const peer = view.getUint16(at + layout.FLOW_PEER, true);
  return (
    (family === 4 || family === 6) &&
    kind >>> 18 === 0 &&
    (state === MAPPING) === kind >>> 17 > 0 &&
    flowStateFits(state, (kind >> 8) & 0xff) &&
    view.getUint8(at + layout.FLOW_FLAGS) <= MAX_FLAGS &&
    view.getUint8(at + layout.FLOW_SCALE) <= MAX_SCALE &&
    view.getUint16(at + layout.FLOW_ACCOUNT, true) < layout.MAX_ACCOUNTS &&
    view.getUint32(at + layout.FLOW_RULE, true) < layout.MAX_RULE_NUMBERS &&
    view.getUint32(at + layout.FLOW_JUDGED, true) <= bounds.generation &&
    generation <= bounds.generation &&
    peer < layout.MAX_PEERS &&
    view.getUint16(at + layout.FLOW_OWNER, true) < layout.MAX_PEERS &&
    (generation < bounds.generation || peer < FIRST_PEER || bounds.hasPeer(peer))
  );
}

/** The tags of all records; 0 for a free place. */
function tagsOf({ memory, view, layout }: Core): Uint16Array {
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  return new Uint16Array(memory.buffer, layout.FLOW_TAGS, records);
}
