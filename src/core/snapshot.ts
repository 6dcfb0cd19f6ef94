/**
 * The state of a core as bytes, between two packets. Tables are not in it: they are built again from the
 * peers and documents that they were built from, with the same positions and numbers. Counts of
 * connections are not in it either: they follow from the records of flows.
 */
import { createHash } from "node:crypto";
import type { Region } from "./copy.js";
import { occupiedPlaces, type RecordBounds, readRecords, writeRecords } from "./flow-records.js";
import { FLOW_STATES } from "./flows.js";
import type { Core } from "./instance.js";
import type { Layout } from "./layout.js";
import { reasonNames } from "./reasons.js";

export interface CoreState {
  /** Runs of bytes: u32 address, u32 length, bytes. What is in no run is 0. */
  readonly memory: Uint8Array;
  readonly flows: Uint8Array;
}

/** The regions that are state and follow from nothing else. */
const regionsOf = (l: Layout): Region[] => [
  { from: l.CLOCK, size: 8 },
  { from: l.FLOW_SEED, size: 8 },
  { from: l.BATCH_NUMBER, size: 4 },
  { from: l.NOW, size: 4 },
  { from: l.NOW_CLOCK, size: 8 },
  { from: l.NEXT_SWEPT, size: 4 },
  { from: l.SWEPT_AT, size: 4 },
  { from: l.SWEEP_CLOCK, size: 8 },
  { from: l.COUNTERS, size: l.FLOWS_BY_STATE - l.COUNTERS },
  { from: l.DRAWN, size: 8 },
  { from: l.TRAFFIC, size: l.GUARD_1 - l.TRAFFIC },
  { from: l.FRAGMENTS, size: l.GUARD_9 - l.FRAGMENTS },
  { from: l.LIMITS, size: l.GUARD_11 - l.LIMITS },
];

/** Bytes of a block; a run is some adjacent blocks that are not all 0. */
const BLOCK = 64;
const RUN_HEADER = 8;

/** Differs between two cores if the memory of one means something else in the other. */
export function coreVersion({ layout }: Core): string {
  const meaning = JSON.stringify([layout, reasonNames, FLOW_STATES]);
  return createHash("sha256").update(meaning).digest("hex");
}

export function readState(core: Core): CoreState {
  return {
    memory: Buffer.concat(regionsOf(core.layout).flatMap((region) => runsOf(core, region))),
    flows: readRecords(core, occupiedPlaces(core)),
  };
}

/**
 * Writes the state into a new core with the same tables.
 * @returns false, with the core spoilt, if no core has this state
 */
export function writeState(core: Core, state: CoreState, bounds: RecordBounds): boolean {
  return (
    writeRuns(core, state.memory) && isPossible(core) && writeRecords(core, state.flows, bounds)
  );
}

// ---------------------------------------------------------------------- memory

function runsOf({ bytes, words }: Core, { from, size }: Region): Uint8Array[] {
  const runs: Uint8Array[] = [];
  const end = from + size;
  for (let at = from; at < end; ) {
    let to = at;
    while (to < end && !isZero(words, to, Math.min(to + BLOCK, end))) to += BLOCK;
    const until = Math.min(to, end);
    if (until > at) runs.push(runHeader(at, until - at), bytes.slice(at, until));
    at = to + BLOCK;
  }
  return runs;
}

/** Whether the memory between two multiples of 4 is 0. */
function isZero(words: Int32Array, from: number, to: number): boolean {
  for (let at = from >> 2; at < to >> 2; at++) if (words[at] !== 0) return false;
  return true;
}

function runHeader(at: number, length: number): Uint8Array {
  const header = Buffer.alloc(RUN_HEADER);
  header.writeUInt32LE(at, 0);
  header.writeUInt32LE(length, 4);
  return header;
}

function writeRuns({ bytes, layout }: Core, runs: Uint8Array): boolean {
  const view = new DataView(runs.buffer, runs.byteOffset, runs.byteLength);
  const regions = regionsOf(layout);
  for (let at = 0; at < runs.length; ) {
    if (runs.length - at < RUN_HEADER) return false;
    const [to, length] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    at += RUN_HEADER;
    const isInside = regions.some(({ from, size }) => to >= from && to + length <= from + size);
    if (!isInside || length > runs.length - at) return false;
    bytes.set(runs.subarray(at, at + length), to);
    at += length;
  }
  return true;
}

// ---------------------------------------------------------------- what it means

/** Whether every number in the regions can be used as what it is. */
function isPossible(core: Core): boolean {
  return hasTimes(core) && hasHints(core) && hasDatagrams(core) && hasBuckets(core);
}

function hasTimes({ view, layout }: Core): boolean {
  const [clock, now, sweep] = [layout.CLOCK, layout.NOW_CLOCK, layout.SWEEP_CLOCK].map((at) =>
    view.getFloat64(at, true),
  ) as [number, number, number];
  return isTime(clock, Number.MAX_SAFE_INTEGER) && isTime(now, clock) && isTime(sweep, clock);
}

/** False for NaN too. */
const isTime = (time: number, most: number): boolean => time >= 0 && time <= most;

function hasHints({ view, layout }: Core): boolean {
  const put = view.getUint32(layout.HINTS_PUT, true);
  return (put - view.getUint32(layout.HINTS_TAKEN, true)) >>> 0 <= layout.MAX_PEERS;
}

function hasDatagrams({ view, layout }: Core): boolean {
  const clock = view.getFloat64(layout.CLOCK, true);
  for (let i = 0; i < 1 << layout.FRAGMENT_BITS; i++) {
    const at = layout.FRAGMENTS + i * layout.FRAGMENT_SIZE;
    if (!isTime(view.getFloat64(at + layout.FRAGMENT_SINCE, true), clock)) return false;
    if (view.getUint32(at + layout.FRAGMENT_RULE, true) >= layout.MAX_RULE_NUMBERS) return false;
    if (view.getUint8(at + layout.FRAGMENT_VERDICT) >= reasonNames.length) return false;
  }
  return true;
}

function hasBuckets({ view, layout }: Core): boolean {
  const clock = view.getFloat64(layout.CLOCK, true);
  for (let at = layout.LIMITS; at < layout.GUARD_11; at += layout.ICMP_BUCKET_SIZE) {
    if (!isTime(view.getFloat64(at, true), layout.ICMP_RATE)) return false;
    if (!isTime(view.getFloat64(at + 8, true), clock)) return false;
  }
  return true;
}
