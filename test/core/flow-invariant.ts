/** What must hold of the table of flows between any two batches. */
import { countFlows } from "../../src/core/flows.js";
import type { Core } from "../../src/core/instance.js";

/** @throws Error naming the record that breaks it */
export function expectSoundFlows(core: Core): void {
  const { view, layout } = core;
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  const at = (i: number) => layout.FLOWS + i * layout.FLOW_SIZE;
  const isThere = (record: number) => {
    const i = (record - layout.FLOWS) / layout.FLOW_SIZE;
    if (!Number.isInteger(i) || i < 0 || i >= records) return false;
    return view.getUint16(layout.FLOW_TAGS + i * 2, true) !== 0;
  };
  let first = 0;
  for (let i = 0; i < records; i++) {
    const record = at(i);
    const state = view.getUint8(record + layout.FLOW_STATE);
    if (isThere(record) !== (state !== 0)) throw new Error(`record ${i}: tag and state differ`);
    if (state === 0) continue;
    const isFirst = view.getUint8(record + layout.FLOW_FLAGS) & layout.IS_FIRST;
    first += isFirst;
    const twin = view.getUint32(record + layout.FLOW_TWIN, true);
    if (twin === 0 && state === RELAYED) continue;
    const isMutual = isThere(twin) && view.getUint32(twin + layout.FLOW_TWIN, true) === record;
    if (!isMutual) throw new Error(`record ${i}, state ${state}: its twin is another's`);
    if (isFirst + (view.getUint8(twin + layout.FLOW_FLAGS) & layout.IS_FIRST) !== 1) {
      throw new Error(`record ${i}: which of the two opened the connection?`);
    }
    if (view.getUint8(twin + layout.FLOW_STATE) !== state) {
      throw new Error(`record ${i}: two states in one connection`);
    }
  }
  expectUniqueKeys(core);
  expectSoundAccounts(core);
  expectSoundMappings(core);
  const counted = Object.values(countFlows(core)).reduce((sum, n) => sum + n, 0);
  if (counted !== first) throw new Error(`${first} connections, counted as ${counted}`);
}

/** The records in use. */
function recordsOf({ view, layout }: Core): number[] {
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  return Array.from({ length: records }, (_, i) => layout.FLOWS + i * layout.FLOW_SIZE).filter(
    (record) => view.getUint8(record + layout.FLOW_STATE) !== 0,
  );
}

const keyOf = ({ bytes, layout }: Core, record: number) => {
  const length = bytes[record + layout.FLOW_KIND] === 4 ? 8 : 32;
  const at = (offset: number, size: number) =>
    Buffer.from(bytes.subarray(record + offset, record + offset + size)).toString("hex");
  return [at(layout.FLOW_KIND, 4), at(layout.FLOW_PORTS, 4), at(layout.FLOW_ADDRESSES, length)];
};

/** A key exists once, so that no two connections share a tuple inside or outside. */
function expectUniqueKeys(core: Core): void {
  const keys = new Set<string>();
  for (const record of recordsOf(core)) {
    const key = keyOf(core, record).join(" ");
    if (keys.has(key)) throw new Error(`the key ${key} exists twice`);
    keys.add(key);
  }
}

/** Each mapping counts the connections that use it. */
function expectSoundMappings(core: Core): void {
  const { view, layout } = core;
  const uses = new Map<string, number>();
  /** The source of the one record stands as the destination of the other. */
  const use = (inside: number, outside: number) => {
    const [kind, ports, addresses] = keyOf(core, inside);
    const half = addresses!.length / 2;
    const outer = keyOf(core, outside)[2]!.slice(half);
    const key = [kind!.slice(0, 4), ports!.slice(0, 4), addresses!.slice(0, half), outer].join(" ");
    uses.set(key, (uses.get(key) ?? 0) + 1);
  };
  const firsts = recordsOf(core).filter(
    (record) => view.getUint8(record + layout.FLOW_FLAGS) & layout.IS_FIRST,
  );
  for (const record of firsts) {
    const flags = view.getUint8(record + layout.FLOW_FLAGS);
    const twin = view.getUint32(record + layout.FLOW_TWIN, true);
    if (flags & IS_SOURCE_MAPPED) use(record, twin);
    if (flags & IS_DESTINATION_MAPPED) use(twin, record);
  }
  for (const record of firsts) {
    if (view.getUint8(record + layout.FLOW_STATE) !== MAPPED) continue;
    const [kind, ports, addresses] = keyOf(core, record);
    const half = addresses!.length / 2;
    const ends = [addresses!.slice(0, half), addresses!.slice(half)];
    const key = [kind!.slice(0, 4), ports!.slice(0, 4), ...ends].join(" ");
    const counted = Number(view.getBigUint64(record + layout.FLOW_PACKETS, true));
    const used = uses.get(key) ?? 0;
    if (counted !== used) throw new Error(`mapping ${key} has ${used} uses, and counts ${counted}`);
    uses.delete(key);
  }
  const [lost] = uses.keys();
  if (lost !== undefined)
    throw new Error(`connections use the mapping ${lost}, which is not there`);
}

/** Accounts hold the policed and translated connections there are, and no others. */
function expectSoundAccounts({ view, layout }: Core): void {
  const { MAX_PEERS, MAX_ACCOUNTS } = layout;
  const [held, opening] = [new Uint32Array(MAX_ACCOUNTS), new Uint32Array(MAX_PEERS)];
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  for (let i = 0; i < records; i++) {
    const record = layout.FLOWS + i * layout.FLOW_SIZE;
    const state = view.getUint8(record + layout.FLOW_STATE);
    const flags = view.getUint8(record + layout.FLOW_FLAGS);
    const isPoliced = view.getUint32(record + layout.FLOW_RULE, true) !== 0;
    const isKept = isPoliced || (flags & layout.IS_TRANSLATED) !== 0;
    if (state === 0 || !isKept || (flags & layout.IS_FIRST) === 0) continue;
    const account = view.getUint16(record + layout.FLOW_ACCOUNT, true);
    const party = account < MAX_PEERS ? account : THIS_NODE;
    held[account]!++;
    if (party !== account) held[party]!++;
    if (HALF_OPEN.includes(state)) opening[party]!++;
  }
  held.forEach((count, i) => {
    const said = view.getUint32(layout.HELD + i * 4, true);
    if (said !== count) throw new Error(`account ${i} holds ${count}, and is said to hold ${said}`);
  });
  opening.forEach((count, i) => {
    const said = view.getUint32(layout.OPENING + i * 4, true);
    if (said !== count) throw new Error(`party ${i}: ${count} half-open, said to be ${said}`);
  });
}

const RELAYED = 1;
const MAPPED = 15;
// Flags of assembly/conntrack/flow.ts.
const IS_SOURCE_MAPPED = 4;
const IS_DESTINATION_MAPPED = 8;
const HALF_OPEN = [RELAYED, 2, 4, 6, 8, 9];
const THIS_NODE = 1;
