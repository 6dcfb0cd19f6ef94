/**
 * Longest-prefix match for a full table, IPv4 and IPv6: a Poptrie (Asai and Ohara, SIGCOMM 2015) whose
 * root is an array of nodes. The first 18 bits of an address choose a node of the root; each node
 * resolves 6 more.
 *
 *   0        +---------------------------------------------------+
 *            | u16 for every value: itself                       |
 *   HEAP     +---------------------------------------------------+
 *            | bytes of blocks in use; a list of free blocks for |
 *            | each size (src/compile/lpm.ts)                    |
 *   ROOT     +---------------------------------------------------+
 *            | 2^18 nodes                                        |
 *   BLOCKS   +---------------------------------------------------+
 *            | children and leaves of the nodes                  |
 *            +---------------------------------------------------+
 *
 *   node:  0            8            16     20          24
 *          +------------+------------+------+-----------+
 *          | children   | runs       | base | inherited |
 *          +------------+------------+------+-----------+
 *
 *   block:      child 2 | child 1 | leaf 0 | leaf 1 | leaf 2
 *                                 ^ base
 *
 * A node has 64 slots. Bit i of `children` is set if there are longer prefixes in slot i: the search
 * continues in a child, as many places before the base as there are bits up to i. Otherwise the value
 * is a leaf, as many places after the base as there are bits up to i in `runs`, whose bit i is set if
 * the value of slot i differs from that of the slot before it. The painter fills the gaps between longer
 * prefixes with the values of shorter ones, so a search never backtracks. `inherited` is the value of
 * shorter prefixes; only the painter reads it.
 *
 * `base` is an offset from the beginning of the table, so the table can be copied whole. A node with
 * one value v and no children has the base 2v, the address of that value. So a table of zeros is an
 * empty table, without any route.
 */

@unmanaged
class LpmNode {
  children: u64;
  runs: u64;
  base: u32;
  inherited: u32;
}

export const LPM_CHILDREN: usize = offsetof<LpmNode>("children");
export const LPM_RUNS: usize = offsetof<LpmNode>("runs");
export const LPM_BASE: usize = offsetof<LpmNode>("base");
export const LPM_INHERITED: usize = offsetof<LpmNode>("inherited");
export const LPM_NODE_SIZE: u32 = offsetof<LpmNode>();

export const LPM_ROOT_BITS: u32 = 18;
export const LPM_STRIDE: u32 = 6;
/** Values are less than this; 0 is "no route". */
export const LPM_VALUES: u32 = 16384;

export const LPM_HEAP: u32 = LPM_VALUES * 2;
export const LPM_HEAP_SIZE: u32 = 1024;
export const LPM_ROOT: u32 = LPM_HEAP + LPM_HEAP_SIZE;
export const LPM_BLOCKS: u32 = LPM_ROOT + (LPM_NODE_SIZE << LPM_ROOT_BITS);

/** Bytes of a table, root and blocks: 1,000,000 IPv4 routes or 250,000 IPv6 routes fit (docs/tables.md). */
export const LPM4_SIZE: u32 = 16 << 20;
export const LPM6_SIZE: u32 = 24 << 20;

/** Marks the address of a leaf: all addresses are even. */
const LEAF: usize = 1;
/** Bits that the root and its nodes resolve. */
const FIRST_DEPTH: u32 = LPM_ROOT_BITS + LPM_STRIDE;
/** Lookups that walk the trie together, one bit each in a word. */
const GROUP: u32 = 64;

/** The value of the longest prefix of `address`, which is in network order as loaded; 0 if there is none. */
export function lookup4(table: usize, address: u32): u32 {
  const key = bswap(address);
  let place = firstStep(table, key);
  for (let depth = FIRST_DEPTH; !(place & LEAF); depth += LPM_STRIDE) {
    place = descend(table, place, (key << depth) >> (32 - LPM_STRIDE));
  }
  return load<u16>(place ^ LEAF);
}

/** The same for the 16 bytes at `address`. */
export function lookup6(table: usize, address: usize): u32 {
  let place = firstStep(table, bswap(load<u32>(address)));
  for (let depth = FIRST_DEPTH; !(place & LEAF); depth += LPM_STRIDE) {
    place = descend(table, place, slotAt(address + octet(depth), shift(depth)));
  }
  return load<u16>(place ^ LEAF);
}

/**
 * Looks up `count` addresses of either family, in network order, the first at `keys` and the others
 * `stride` bytes apart, into as many u32 at `results`.
 *
 * A lookup waits for memory at every step, so a group of lookups takes each step together and waits for
 * many loads at once. No branch depends on a single address, because a misprediction would discard the
 * work of the others.
 */
export function lookupMany(
  table: usize,
  keys: usize,
  stride: u32,
  count: u32,
  results: usize,
): void {
  while (count) {
    const group = min(count, GROUP);
    lookupGroup(table, keys, stride, group, results);
    keys += group * stride;
    results += group << 2;
    count -= group;
  }
}

/** During a lookup, its result holds its current position. */
function lookupGroup(table: usize, keys: usize, stride: u32, count: u32, results: usize): void {
  let walking: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const place = firstStep(table, bswap(load<u32>(keys + i * stride)));
    store<u32>(results + (i << 2), place);
    walking |= (<u64>(~place & LEAF)) << i;
  }
  for (let depth = FIRST_DEPTH; walking; depth += LPM_STRIDE) {
    const octets = keys + octet(depth);
    const toSlot = shift(depth);
    for (let left = walking; left; left &= left - 1) {
      const i = <u32>ctz(left);
      const place = descend(
        table,
        load<u32>(results + (i << 2)),
        slotAt(octets + i * stride, toSlot),
      );
      store<u32>(results + (i << 2), place);
      walking ^= (<u64>(place & LEAF)) << i;
    }
  }
  for (const end = results + (count << 2); results < end; results += 4) {
    store<u32>(results, load<u16>(<usize>load<u32>(results) ^ LEAF));
  }
}

/** Resolves the first 24 bits of a key in host order, from the root. */
function firstStep(table: usize, key: u32): usize {
  const node = table + LPM_ROOT + (key >> (32 - LPM_ROOT_BITS)) * LPM_NODE_SIZE;
  return descend(table, node, key >> (32 - FIRST_DEPTH));
}

/** Resolves the slot in the low 6 bits of `slot`: returns the next node or, marked, a leaf. */
function descend(table: usize, node: usize, slot: u64): usize {
  // The slot's bit moves to the top: a shift by 63 - slot, because shifts are modulo 64.
  const children = load<u64>(node, LPM_CHILDREN) << ~slot;
  const runs = load<u64>(node, LPM_RUNS) << ~slot;
  const base = table + load<u32>(node, LPM_BASE);
  return select<usize>(
    base - <usize>popcnt(children) * LPM_NODE_SIZE,
    (base + ((<usize>popcnt(runs)) << 1)) | LEAF,
    <i64>children < 0,
  );
}

/**
 * Bits `depth` to depth + 5 of an address, in the low bits: from the 16 bits at octet(depth), shifted by
 * shift(depth). Only two of the last 6 bits belong to the address. The others are read from behind it,
 * and do not matter: no prefix is longer, so all slots with the same two bits have the same value.
 */
function slotAt(octets: usize, shift: u32): u64 {
  const two: u32 = load<u16>(octets);
  return <u64>(((two << 8) | (two >> 8)) >> shift);
}

function octet(depth: u32): u32 {
  return depth >> 3;
}

function shift(depth: u32): u32 {
  return 16 - LPM_STRIDE - (depth & 7);
}
