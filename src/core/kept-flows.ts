/**
 * The connections that an agent leaves to the next one: pairs of records, the first before its twin. What
 * another process has no use for is 0 in them: twin, account, owner, generations.
 *
 *   0                    128                  256
 *   +--------------------+--------------------+--
 *   | first record       | twin               |    instead of its time, the milliseconds without a packet
 *   +--------------------+--------------------+--
 */
import { setImmediate as pause } from "node:timers/promises";
import { FIRST_PEER } from "../compile/compiler.js";
import { betweenBatches } from "./counters.js";
import { areTwins, isFirst, isPossible, occupiedPlaces, recordAt } from "./flow-records.js";
import { MAPPING } from "./flows.js";
import type { Core } from "./instance.js";
import type { Layout } from "./layout.js";

/** Connections to adopt. */
export interface KeptFlows {
  /** Pairs of records (`pairsIn`), whose peers are positions in the tables of now. */
  readonly pairs: Uint8Array;
  /** Whether no packet passed since; if some may have, the sequence numbers are not checked any more. */
  readonly isExact: boolean;
}

/** Records copied between two batches, which takes about 20 microseconds. */
const AT_ONCE = 1024;
const LONGEST = 0xffffffff;
const NO_PEER = 0;
/** The tables never have this generation. */
const NO_GENERATION = 0;
/** Says that a policy allowed it. No packet counts for this number: its rule is found again first. */
const SOME_RULE = 1;

export const pairSize = ({ layout }: Core): number => 2 * layout.FLOW_SIZE;

/** All records of a table, in the order of their places. */
export interface FlowTable {
  /** u32 each. */
  readonly places: Uint8Array;
  readonly records: Uint8Array;
  /** The core's time when they were copied, in milliseconds. */
  readonly clock: number;
}

/** Copies the table while the worker goes on. */
export class FlowCopier {
  readonly #core: Core;
  /** Kept, because the kernel clears the pages of a new one. */
  #copy = Buffer.alloc(0);

  constructor(core: Core) {
    this.#core = core;
  }

  /** The records are valid until the next call. */
  async copy(clock: number): Promise<FlowTable> {
    const size = this.#core.layout.FLOW_SIZE;
    const places = occupiedPlaces(this.#core);
    const end = (places.at(-1) ?? -1) + 1;
    if (this.#copy.length < end * size) this.#copy = Buffer.alloc(end * size);
    for (const part of new Set(places.map((place) => Math.floor(place / AT_ONCE)))) {
      this.#copyPart(part * AT_ONCE, Math.min((part + 1) * AT_ONCE, end));
      await pause();
    }
    places.forEach((place, i) => {
      this.#copy.copyWithin(i * size, place * size, (place + 1) * size);
    });
    const records = this.#copy.subarray(0, places.length * size);
    return { places: new Uint8Array(Uint32Array.from(places).buffer), records, clock };
  }

  #copyPart(from: number, to: number): void {
    const { bytes, layout } = this.#core;
    const [at, end] = [from, to].map((place) => place * layout.FLOW_SIZE) as [number, number];
    const source = bytes.subarray(layout.FLOWS + at, layout.FLOWS + end);
    betweenBatches(this.#core, () => this.#copy.set(source, at));
  }
}

/**
 * The connections of a copied table that have two ends on this node. One whose records the worker changed
 * between the copies of both may be missing.
 */
export function pairsIn({ layout }: Core, { places, records, clock }: FlowTable): Uint8Array[] {
  const size = layout.FLOW_SIZE;
  const table = Buffer.from(records);
  const view = viewOf(table);
  const memory = { view, layout };
  const all = viewOf(places);
  const count = Math.min(Math.floor(places.length / 4), Math.floor(table.length / size));
  /** Where the record of an address is in the copy. */
  const found = new Map<number, number>();
  for (let i = 0; i < count; i++)
    found.set(layout.FLOWS + all.getUint32(i * 4, true) * size, i * size);
  const pairs: Uint8Array[] = [];
  for (const [address, first] of found) {
    const twin = found.get(view.getUint32(first + layout.FLOW_TWIN, true));
    if (!isFirst(memory, first) || twin === undefined) continue;
    if (!areTwins(memory, first, twin, address)) continue;
    for (const at of [first, twin]) setPortable(layout, view, at, Math.floor(clock));
    pairs.push(Buffer.concat([first, twin].map((at) => table.subarray(at, at + size))));
  }
  return pairs;
}

/** Whether it is a mapping of a source's port, which connections of the source use. */
export const isMapping = ({ layout }: Core, pair: Uint8Array): boolean =>
  pair[layout.FLOW_STATE] === MAPPING;

/** Turns the time of a record into a duration, and clears the numbers of this process. */
function setPortable(layout: Layout, view: DataView, at: number, now: number): void {
  const last = view.getUint32(at + layout.FLOW_LAST, true);
  // Both wrap after 2^32 milliseconds; a packet may have come since `now`.
  view.setUint32(at + layout.FLOW_LAST, Math.max(0, (now - last) | 0), true);
  view.setUint32(at + layout.FLOW_TWIN, 0, true);
  view.setUint16(at + layout.FLOW_ACCOUNT, 0, true);
  setUnjudged(layout, view, at);
}

/** The rules are asked with its next packet, and its destination is looked up. */
function setUnjudged(layout: Layout, view: DataView, at: number): void {
  view.setUint32(at + layout.FLOW_GENERATION, NO_GENERATION, true);
  view.setUint32(at + layout.FLOW_JUDGED, NO_GENERATION, true);
  // The rules need to know whether the connection ends on this node.
  const owner = view.getUint16(at + layout.FLOW_OWNER, true);
  if (owner >= FIRST_PEER) view.setUint16(at + layout.FLOW_OWNER, NO_PEER, true);
  const isPoliced = view.getUint32(at + layout.FLOW_RULE, true) !== 0;
  view.setUint32(at + layout.FLOW_RULE, isPoliced ? SOME_RULE : 0, true);
}

// ------------------------------------------------------------------------ a pair

/** Positions of the peers of both records; below FIRST_PEER there is none. */
export const peersOf = ({ layout }: Core, pair: Uint8Array): [number, number] => {
  const view = viewOf(pair);
  const of = (at: number) => view.getUint16(at + layout.FLOW_PEER, true);
  return [of(0), of(layout.FLOW_SIZE)];
};

/** The same connection with these peers, and more milliseconds without a packet. */
export function movedPair(
  { layout }: Core,
  pair: Uint8Array,
  { peers, elapsed }: { readonly peers: readonly [number, number]; readonly elapsed: number },
): Uint8Array {
  const moved = Uint8Array.from(pair);
  const view = viewOf(moved);
  peers.forEach((peer, i) => {
    const at = i * layout.FLOW_SIZE;
    const idle = view.getUint32(at + layout.FLOW_LAST, true) + Math.ceil(elapsed);
    view.setUint32(at + layout.FLOW_LAST, Math.min(idle, LONGEST), true);
    view.setUint16(at + layout.FLOW_PEER, peer, true);
  });
  return moved;
}

/** Whether it has had no packet for longer than its state allows. A mapping in use does not expire. */
export function hasExpired(core: Core, pair: Uint8Array, elapsed: number): boolean {
  const { layout, view } = core;
  const own = viewOf(pair);
  if (isMapping(core, pair) && own.getBigUint64(layout.FLOW_PACKETS, true) > 0n) return false;
  const state = own.getUint8(layout.FLOW_STATE);
  const timeout = view.getUint32(layout.TIMEOUTS + state * 4, true);
  const idle = [0, layout.FLOW_SIZE].map((at) => own.getUint32(at + layout.FLOW_LAST, true));
  return Math.min(...idle) + elapsed > timeout;
}

const viewOf = (pair: Uint8Array): DataView =>
  new DataView(pair.buffer, pair.byteOffset, pair.byteLength);

// ---------------------------------------------------------------------- adoption

/**
 * Enters connections into the table, to be judged by the rules with the next packet of each. A batch must
 * run that has no packets, since the slots are used. Left out are those that are there already, have
 * expired, find no place, or are not sound. Mappings must come before the connections that use them.
 * @returns how many were entered
 */
export function adoptFlows(core: Core, { pairs, isExact }: KeptFlows): number {
  const size = pairSize(core);
  let adopted = 0;
  for (let at = 0; at + size <= pairs.length; at += size) {
    if (adopt(core, pairs.subarray(at, at + size), isExact)) adopted++;
  }
  return adopted;
}

function adopt(core: Core, pair: Uint8Array, isExact: boolean): boolean {
  const { bytes, view, layout, exports } = core;
  const [first, twin] = [layout.SLOTS, layout.SLOTS + layout.FLOW_SIZE] as const;
  bytes.set(pair, first);
  if (isMapping(core, pair)) unuse(core, first);
  const isOut = view.getUint32(first + layout.FLOW_KIND, true) >>> 16 === 0;
  const account = isOut ? exports.sourceAccount(first) : peersOf(core, pair)[0];
  link(core, first, twin);
  for (const at of [first, twin]) {
    const idle = view.getUint32(at + layout.FLOW_LAST, true);
    view.setUint32(at + layout.FLOW_LAST, view.getUint32(layout.NOW, true) - idle, true);
    view.setUint16(at + layout.FLOW_ACCOUNT, account, true);
    view.setUint32(at + layout.FLOW_BATCH, view.getUint32(layout.BATCH_NUMBER, true), true);
    setUnjudged(layout, view, at);
    if (!isPossible(core, at, NO_TABLES)) return false;
  }
  if (!isFirst(core, first) || !areTwins(core, first, twin) || hasExpired(core, pair, 0))
    return false;
  const place = enter(core, first);
  if (place === undefined) return false;
  const other = enter(core, twin);
  if (other === undefined) {
    clear(core, place);
    return false;
  }
  link(core, recordAt(core, place), recordAt(core, other));
  exports.countEntered(place);
  exports.useEntered(place);
  if (!isExact) for (const one of [place, other]) exports.loosen(one);
  return true;
}

/** Connections that use the mapping are counted when they are adopted; from now on its hold-down runs. */
function unuse({ view, layout }: Core, first: number): void {
  if (view.getBigUint64(first + layout.FLOW_PACKETS, true) === 0n) return;
  view.setBigUint64(first + layout.FLOW_PACKETS, 0n, true);
  view.setUint32(first + layout.FLOW_LAST, 0, true);
}

/** Records of no tables have a generation before all others. */
const NO_TABLES = { generation: 1, hasPeer: () => false };

function link({ view, layout }: Core, first: number, twin: number): void {
  view.setUint32(first + layout.FLOW_TWIN, twin, true);
  view.setUint32(twin + layout.FLOW_TWIN, first, true);
}

/** Copies the record at an address to a free place. */
function enter(core: Core, from: number): number | undefined {
  const { bytes, layout, exports } = core;
  const place = exports.freePlace(from);
  if (place < 0) return undefined;
  bytes.copyWithin(recordAt(core, place), from, from + layout.FLOW_SIZE);
  exports.enterRecord(place);
  return place;
}

function clear({ view, layout }: Core, place: number): void {
  view.setUint8(layout.FLOWS + place * layout.FLOW_SIZE + layout.FLOW_STATE, 0);
  view.setUint16(layout.FLOW_TAGS + place * 2, 0, true);
}
