/** The records of flows as bytes, for a snapshot; what is read from one is checked before it is used. */
import { FIRST_PEER } from "../compile/compiler.js";
import { flowStateFits, RELAYED } from "./flows.js";
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

/** Copies records as they lie in the memory: u32 place, then the record. */
export function readRecords(core: Core, places: readonly number[]): Uint8Array {
  const { layout, bytes } = core;
  const stride = 4 + layout.FLOW_SIZE;
  const records = Buffer.alloc(places.length * stride);
  places.forEach((place, i) => {
    const at = layout.FLOWS + place * layout.FLOW_SIZE;
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
  const { layout, bytes, exports } = core;
  const stride = 4 + layout.FLOW_SIZE;
  if (records.length % stride !== 0) return false;
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const most = tagsOf(core).length;
  const places = new Set<number>();
  for (let at = 0; at < records.length; at += stride) {
    const place = view.getUint32(at, true);
    if (place >= most || places.has(place)) return false;
    places.add(place);
    bytes.set(records.subarray(at + 4, at + stride), layout.FLOWS + place * layout.FLOW_SIZE);
  }
  const checker = new RecordChecker(core, bounds);
  for (const place of places) {
    if (!checker.isSound(place, places) || !exports.enterRecord(place)) return false;
  }
  for (const place of places) if (checker.isFirst(place)) exports.countEntered(place);
  return true;
}

export class RecordChecker {
  readonly #core: Core;
  readonly #bounds: RecordBounds;

  constructor(core: Core, bounds: RecordBounds) {
    this.#core = core;
    this.#bounds = bounds;
  }

  isFirst(place: number): boolean {
    const { view, layout } = this.#core;
    return (view.getUint8(this.#at(place) + layout.FLOW_FLAGS) & layout.IS_FIRST) !== 0;
  }

  /** Whether record and twin can be those of one connection. @param places all records that there are */
  isSound(place: number, places: ReadonlySet<number>): boolean {
    if (!this.#isPossible(place)) return false;
    const { view, layout } = this.#core;
    const at = this.#at(place);
    const twin = view.getUint32(at + layout.FLOW_TWIN, true);
    if (view.getUint8(at + layout.FLOW_STATE) === RELAYED) return twin === 0 && this.isFirst(place);
    const other = (twin - layout.FLOWS) / layout.FLOW_SIZE;
    return (
      places.has(other) &&
      other !== place &&
      view.getUint32(twin + layout.FLOW_TWIN, true) === at &&
      this.isFirst(place) !== this.isFirst(other) &&
      view.getUint8(twin + layout.FLOW_STATE) === view.getUint8(at + layout.FLOW_STATE) &&
      this.#isSame(at, twin, layout.FLOW_RULE) &&
      this.#isSame(at, twin, layout.FLOW_JUDGED) &&
      view.getUint16(twin + layout.FLOW_ACCOUNT, true) ===
        view.getUint16(at + layout.FLOW_ACCOUNT, true)
    );
  }

  /** Whether every number in it can be used as what it is. */
  #isPossible(place: number): boolean {
    const { view, layout } = this.#core;
    const at = this.#at(place);
    const kind = view.getUint32(at + layout.FLOW_KIND, true);
    const family = kind & 0xff;
    const generation = view.getUint32(at + layout.FLOW_GENERATION, true);
    const peer = view.getUint16(at + layout.FLOW_PEER, true);
    const owner = view.getUint16(at + layout.FLOW_OWNER, true);
    return (
      (family === 4 || family === 6) &&
      kind >>> 18 === 0 &&
      flowStateFits(view.getUint8(at + layout.FLOW_STATE), (kind >> 8) & 0xff) &&
      view.getUint8(at + layout.FLOW_FLAGS) <= MAX_FLAGS &&
      view.getUint8(at + layout.FLOW_SCALE) <= MAX_SCALE &&
      view.getUint16(at + layout.FLOW_ACCOUNT, true) < layout.MAX_ACCOUNTS &&
      view.getUint32(at + layout.FLOW_RULE, true) < layout.MAX_RULE_NUMBERS &&
      view.getUint32(at + layout.FLOW_JUDGED, true) <= this.#bounds.generation &&
      generation <= this.#bounds.generation &&
      peer < layout.MAX_PEERS &&
      owner < layout.MAX_PEERS &&
      (generation < this.#bounds.generation || this.#isThere(peer))
    );
  }

  #isThere(peer: number): boolean {
    return peer < FIRST_PEER || this.#bounds.hasPeer(peer);
  }

  #isSame(a: number, b: number, field: number): boolean {
    const { view } = this.#core;
    return view.getUint32(a + field, true) === view.getUint32(b + field, true);
  }

  #at(place: number): number {
    const { layout } = this.#core;
    return layout.FLOWS + place * layout.FLOW_SIZE;
  }
}

/** The tags of all records; 0 for a free place. */
function tagsOf({ memory, view, layout }: Core): Uint16Array {
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  return new Uint16Array(memory.buffer, layout.FLOW_TAGS, records);
}
