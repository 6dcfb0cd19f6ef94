/**
 * Paints the table that `assembly/tables/lpm.ts` searches, and draws, from the routes of a Rib. An
 * update paints only nodes whose routes changed, or whose shorter prefixes did.
 */
import { bits } from "../address.js";
import { WeftError } from "../error.js";
import { NO_NODE, type Rib, ROOT_BITS, type RouteList, SLOTS, STRIDE } from "./rib.js";

/** Offsets of the parts of a table and of a node, as the core exports them. */
export interface LpmLayout {
  readonly LPM_HEAP: number;
  readonly LPM_ROOT: number;
  readonly LPM_BLOCKS: number;
  readonly LPM_NODE_SIZE: number;
  readonly LPM_CHILDREN: number;
  readonly LPM_RUNS: number;
  readonly LPM_BASE: number;
  readonly LPM_INHERITED: number;
}

/** Blocks have whole units. The heap's first word counts those in use; lists of free blocks by size follow. */
const UNIT = 8;

/** Most nodes on the path to an address: this many steps below the root reach the end of an IPv6 address. */
const LEVELS = Math.ceil((bits(6) - ROOT_BITS) / STRIDE);

/** One copy of the table of one family. */
export class LpmTable {
  readonly #words: Uint32Array;
  readonly #leaves: Uint16Array;
  readonly #units: number;

  // Offsets of the parts of the table, and of a node, in words.
  readonly #heap: number;
  readonly #root: number;
  readonly #blocks: number;
  readonly #nodeWords: number;
  readonly #childrenAt: number;
  readonly #runsAt: number;
  readonly #baseAt: number;
  readonly #inheritedAt: number;

  /** The version of the routes in this copy. */
  #version = 0;
  /** Whether it was left half painted because its room ended. */
  #isUnusable = false;

  // One of each for every level, because painting a node continues with its children.
  readonly #places = Array.from({ length: LEVELS }, () => new Uint16Array(2 * SLOTS));
  readonly #slots = Array.from({ length: LEVELS }, () => new Uint8Array(SLOTS));
  readonly #runs = new Uint32Array(2);
  readonly #runValues = new Uint16Array(SLOTS);
  readonly #childSlots = new Uint8Array(SLOTS);
  readonly #formerChildren: Uint32Array;

  /**
   * @param at address of the table in `memory`, a multiple of 64; its bytes must be zero
   * @param size most bytes of it: LPM4_SIZE or LPM6_SIZE of the core
   */
  constructor(memory: ArrayBufferLike, at: number, size: number, layout: LpmLayout) {
    this.#words = new Uint32Array(memory, at, size / 4);
    this.#leaves = new Uint16Array(memory, at, size / 2);
    this.#units = Math.floor((size - layout.LPM_BLOCKS) / UNIT);
    this.#heap = layout.LPM_HEAP / 4;
    this.#root = layout.LPM_ROOT / 4;
    this.#blocks = layout.LPM_BLOCKS / 4;
    this.#nodeWords = layout.LPM_NODE_SIZE / 4;
    this.#childrenAt = layout.LPM_CHILDREN / 4;
    this.#runsAt = layout.LPM_RUNS / 4;
    this.#baseAt = layout.LPM_BASE / 4;
    this.#inheritedAt = layout.LPM_INHERITED / 4;
    this.#formerChildren = new Uint32Array(SLOTS * this.#nodeWords);
  }

  /** Bytes in use, including free blocks between them. */
  get used(): number {
    return this.#blocks * 4 + this.#words[this.#heap]! * UNIT;
  }

  /**
   * Brings this copy up to date with the routes. The core must not search it meanwhile.
   * @throws WeftError ROUTES_FULL when they do not fit; the copy is then unusable until an update succeeds
   */
  update(routes: Rib): void {
    // Free blocks may have the wrong sizes; painted anew, all blocks are adjacent.
    if (!this.#isUnusable && this.#paintChanges(routes)) return;
    this.#clear();
    if (!this.#paintChanges(routes)) throw tooMany(routes);
  }

  #clear(): void {
    this.#words.fill(0, this.#heap, this.used / 4);
    this.#version = 0;
    this.#isUnusable = false;
  }

  /** @returns false when the room ended */
  #paintChanges(routes: Rib): boolean {
    try {
      routes.forEachChanged(this.#version, (slot) => {
        const node = this.#root + slot * this.#nodeWords;
        const id = routes.rootNode(slot);
        const inherited = routes.inherited(slot);
        // A short prefix covers many slots, most of them without longer prefixes before and after.
        if (id === NO_NODE && this.#unitsOf(node) === 0) this.#pointToValue(node, inherited);
        else this.#paint(routes, node, id, inherited, 0);
      });
    } catch (error) {
      if (!(error instanceof TableFull)) throw error;
      this.#isUnusable = true;
      return false;
    }
    this.#version = routes.version;
    return true;
  }

  /** Paints the node at a word from node `id` of the routes, and the nodes below it as needed. */
  #paint(routes: Rib, node: number, id: number, inherited: number, level: number): void {
    const words = this.#words;
    const places = this.#places[level]!;
    routes.paint(id, inherited, places);
    const low = routes.childrenLow(id);
    const high = routes.childrenHigh(id);
    this.#rewrite(node, low, high, this.#findRuns(places));
    words[node + this.#inheritedAt] = inherited;

    const slots = this.#slots[level]!;
    const count = slotsIn(low, high, slots);
    let child = words[node + this.#baseAt]! / 4;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      child -= this.#nodeWords;
      const childId = routes.child(id, slot);
      const value = places[SLOTS + slot]!;
      if (
        routes.changedAfter(childId, this.#version) ||
        words[child + this.#inheritedAt] !== value
      ) {
        this.#paint(routes, child, childId, value, level + 1);
      }
    }
  }

  /** Finds the slots at which the value changes, and the value of each run; returns the number of runs. */
  #findRuns(places: Uint16Array): number {
    let count = 0;
    let last = -1;
    this.#runs.fill(0);
    for (let slot = 0; slot < SLOTS; slot++) {
      const value = places[SLOTS + slot]!;
      if (value === last) continue;
      if (slot > 0) this.#runs[slot >> 5]! |= 1 << (slot & 31);
      this.#runValues[count++] = last = value;
    }
    return count;
  }

  /** Gives a node these children and the runs just found; children that stay are kept as they are. */
  #rewrite(node: number, low: number, high: number, runs: number): void {
    const words = this.#words;
    const children = ones(low) + ones(high);
    const units = this.#blockUnits(children, runs);
    const formerUnits = this.#unitsOf(node);
    const childrenStay =
      words[node + this.#childrenAt] === low && words[node + this.#childrenAt + 1] === high;

    if (!childrenStay || units !== formerUnits) {
      const formerLow = words[node + this.#childrenAt]!;
      const formerHigh = words[node + this.#childrenAt + 1]!;
      this.#takeOutChildren(node, low, high);
      if (formerUnits > 0) this.#free(this.#blockOf(node), formerUnits);
      const base = units > 0 ? this.#allocate(units) + children * this.#nodeWords : 0;
      words[node + this.#childrenAt] = low;
      words[node + this.#childrenAt + 1] = high;
      words[node + this.#baseAt] = base * 4;
      this.#putInChildren(node, formerLow, formerHigh);
    }
    words[node + this.#runsAt] = this.#runs[0]!;
    words[node + this.#runsAt + 1] = this.#runs[1]!;
    if (units === 0) this.#pointToValue(node, this.#runValues[0]!);
    else {
      const first = words[node + this.#baseAt]! / 2;
      for (let i = 0; i < runs; i++) this.#leaves[first + i] = this.#runValues[i]!;
    }
  }

  /** A node with a single value needs no block: it points to that value. */
  #pointToValue(node: number, value: number): void {
    this.#leaves[value] = value;
    this.#words[node + this.#baseAt] = 2 * value;
  }

  /** Sets a node's children aside; those that do not stay are released with all below them. */
  #takeOutChildren(node: number, stayLow: number, stayHigh: number): void {
    const words = this.#words;
    const count = slotsIn(
      words[node + this.#childrenAt]!,
      words[node + this.#childrenAt + 1]!,
      this.#childSlots,
    );
    let child = words[node + this.#baseAt]! / 4;
    for (let k = 0; k < count; k++) {
      const slot = this.#childSlots[k]!;
      child -= this.#nodeWords;
      if (!has(stayLow, stayHigh, slot)) this.#release(child);
      for (let i = 0; i < this.#nodeWords; i++) {
        this.#formerChildren[slot * this.#nodeWords + i] = words[child + i]!;
      }
    }
  }

  /** Puts each child into the block: the one set aside or, if there was none, an empty one. */
  #putInChildren(node: number, formerLow: number, formerHigh: number): void {
    const words = this.#words;
    const count = slotsIn(
      words[node + this.#childrenAt]!,
      words[node + this.#childrenAt + 1]!,
      this.#childSlots,
    );
    let child = words[node + this.#baseAt]! / 4;
    for (let k = 0; k < count; k++) {
      const slot = this.#childSlots[k]!;
      child -= this.#nodeWords;
      const isFormer = has(formerLow, formerHigh, slot);
      for (let i = 0; i < this.#nodeWords; i++) {
        words[child + i] = isFormer ? this.#formerChildren[slot * this.#nodeWords + i]! : 0;
      }
    }
  }

  /** Frees the block of a node, and those of all nodes below it. */
  #release(node: number): void {
    const units = this.#unitsOf(node);
    if (units === 0) return;
    const end = this.#words[node + this.#baseAt]! / 4;
    for (let child = this.#blockOf(node); child < end; child += this.#nodeWords)
      this.#release(child);
    this.#free(this.#blockOf(node), units);
  }

  // ------------------------------------------------------------------- heap

  #unitsOf(node: number): number {
    const words = this.#words;
    const runs = 1 + ones(words[node + this.#runsAt]!) + ones(words[node + this.#runsAt + 1]!);
    return this.#blockUnits(this.#childrenOf(node), runs);
  }

  #childrenOf(node: number): number {
    return (
      ones(this.#words[node + this.#childrenAt]!) + ones(this.#words[node + this.#childrenAt + 1]!)
    );
  }

  #blockUnits(children: number, runs: number): number {
    if (children === 0 && runs === 1) return 0;
    return (children * this.#nodeWords * 4) / UNIT + Math.ceil((runs * 2) / UNIT);
  }

  #blockOf(node: number): number {
    return this.#words[node + this.#baseAt]! / 4 - this.#childrenOf(node) * this.#nodeWords;
  }

  #allocate(units: number): number {
    const words = this.#words;
    const free = words[this.#heap + units]!;
    if (free !== 0) {
      words[this.#heap + units] = words[free]!;
      return free;
    }
    const used = words[this.#heap]!;
    if (used + units > this.#units) throw new TableFull();
    words[this.#heap] = used + units;
    return this.#blocks + (used * UNIT) / 4;
  }

  /** A free block's first word points to the next one of its size. */
  #free(block: number, units: number): void {
    this.#words[block] = this.#words[this.#heap + units]!;
    this.#words[this.#heap + units] = block;
  }
}

/** Changes of one family's routes, and the copy to update. */
export interface Update {
  readonly routes: Rib;
  readonly changes: RouteList;
  readonly table: LpmTable;
}

/**
 * Makes all these changes, or none.
 * @throws WeftError ROUTES_FULL when one of the tables cannot hold its routes; the routes are unchanged then
 */
export function updateAll(updates: readonly Update[]): void {
  const undo = updates.map(({ routes, changes }) => routes.apply(changes));
  try {
    for (const { table, routes } of updates) table.update(routes);
  } catch (error) {
    updates.forEach(({ routes }, i) => {
      routes.apply(undo[i]!);
    });
    throw error;
  }
}

/** Thrown in the middle of painting, when the room ends. */
class TableFull extends Error {}

const tooMany = (routes: Rib): WeftError =>
  new WeftError(
    "ROUTES_FULL",
    `no room for ${routes.size} IPv${routes.family} routes: their table is full`,
    "use fewer prefixes, or ones that lie closer together",
  );

/** Lists the bits set in two words. */
function slotsIn(low: number, high: number, slots: Uint8Array): number {
  let count = 0;
  for (let rest = low; rest !== 0; rest &= rest - 1) slots[count++] = lowestBit(rest);
  for (let rest = high; rest !== 0; rest &= rest - 1) slots[count++] = 32 + lowestBit(rest);
  return count;
}

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word);

const has = (low: number, high: number, slot: number): boolean =>
  (((slot < 32 ? low : high) >>> (slot & 31)) & 1) === 1;

/** The bits set in a word (Warren, Hacker's Delight, 5-1). */
function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
