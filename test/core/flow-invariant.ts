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
  expectSoundAccounts(core);
  const counted = Object.values(countFlows(core)).reduce((sum, n) => sum + n, 0);
  if (counted !== first) throw new Error(`${first} connections, counted as ${counted}`);
}

/** Accounts hold the policed connections there are, and no others. */
function expectSoundAccounts({ view, layout }: Core): void {
  const { MAX_PEERS, MAX_ACCOUNTS } = layout;
  const [held, opening] = [new Uint32Array(MAX_ACCOUNTS), new Uint32Array(MAX_PEERS)];
  const records = 8 << view.getUint32(layout.FLOW_SET_BITS, true);
  for (let i = 0; i < records; i++) {
    const record = layout.FLOWS + i * layout.FLOW_SIZE;
    const state = view.getUint8(record + layout.FLOW_STATE);
    const isPoliced = view.getUint32(record + layout.FLOW_RULE, true) !== 0;
    if (
      state === 0 ||
      !isPoliced ||
      (view.getUint8(record + layout.FLOW_FLAGS) & layout.IS_FIRST) === 0
    )
      continue;
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
const HALF_OPEN = [RELAYED, 2, 4, 6, 8, 9];
const THIS_NODE = 1;
