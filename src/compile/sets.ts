/**
 * Packs sets of rules for the core (`assembly/tables/acl.ts` draws one) into their part of the table.
 * A freed block is reused for sets of the same size.
 */
import { WeftError } from "../error.js";

/** Words of 32 bits in a set of all rules, before it is packed. */
export const SET_WORDS = 512;
export const MAX_RULES = SET_WORDS * 32;

const QUARTERS = 4;
/** Words of 64 rules in a quarter. */
const QUARTER_WORDS = MAX_RULES / 64 / QUARTERS;

/** Offset and size of that part, and offsets of the parts of a set, as the core exports them. */
export interface SetLayout {
  readonly ACL_SETS: number;
  readonly ACL_SETS_SIZE: number;
  readonly ACL_SET_RANKS: number;
  readonly ACL_SET_WORDS: number;
}

export function add(set: Uint32Array, bit: number): void {
  set[bit >> 5]! |= 1 << (bit & 31);
}

export function remove(set: Uint32Array, bit: number): void {
  set[bit >> 5]! &= ~(1 << (bit & 31));
}

export const has = (set: Uint32Array, bit: number): boolean =>
  (set[bit >> 5]! & (1 << (bit & 31))) !== 0;

export class SetAllocator {
  /** The whole table, because a set is identified by its offset in it. */
  readonly #words: Uint32Array;
  readonly #from: number;
  readonly #to: number;
  /** First free word, and the lists of free blocks by size in 64-bit words. */
  #next: number;
  readonly #free: number[];
  /** Words before the ranks of a set, and words before its words of rules. */
  readonly #summaryWords: number;
  readonly #headerWords: number;

  constructor(words: Uint32Array, layout: SetLayout) {
    const { ACL_SETS, ACL_SETS_SIZE, ACL_SET_RANKS, ACL_SET_WORDS } = layout;
    this.#words = words;
    this.#from = ACL_SETS / 4;
    this.#to = (ACL_SETS + ACL_SETS_SIZE) / 4;
    this.#next = this.#from;
    this.#summaryWords = ACL_SET_RANKS / 4;
    this.#headerWords = ACL_SET_WORDS / 4;
    this.#free = new Array(MAX_RULES / 64 + this.#headerWords / 2 + 1).fill(0);
  }

  /** Bytes in use, including free blocks. */
  get used(): number {
    return (this.#next - this.#from) * 4;
  }

  clear(): void {
    this.#next = this.#from;
    this.#free.fill(0);
  }

  /**
   * Packs a set and returns its offset in the table, 0 for the empty set.
   * @throws WeftError ACL_FULL
   */
  put(set: Uint32Array): number {
    let count = 0;
    for (let w = 0; w < SET_WORDS; w += 2) if (set[w]! | set[w + 1]!) count++;
    if (count === 0) return 0;
    const words = this.#words;
    const at = this.#allocate(this.#headerWords / 2 + count);
    words.fill(0, at, at + this.#headerWords);
    let next = at + this.#headerWords;
    let before = 0;
    for (let w = 0; w < SET_WORDS / 2; w++) {
      if (w % QUARTER_WORDS === 0) this.#rank(at, w / QUARTER_WORDS, before);
      if (!(set[2 * w]! | set[2 * w + 1]!)) continue;
      words[at + (w >> 5)]! |= 1 << (w & 31);
      words[next++] = set[2 * w]!;
      words[next++] = set[2 * w + 1]!;
      before++;
    }
    return at * 4;
  }

  /** Frees a set that `put` returned. */
  release(offset: number): void {
    if (offset === 0) return;
    const at = offset / 4;
    const size = this.#headerWords / 2 + this.#countOf(at);
    this.#words[at] = this.#free[size]!;
    this.#free[size] = at;
  }

  /** Stores the number of words before a quarter, as a u16. */
  #rank(at: number, quarter: number, before: number): void {
    this.#words[at + this.#summaryWords + (quarter >> 1)]! |= before << (16 * (quarter & 1));
  }

  #countOf(at: number): number {
    let count = 0;
    for (let w = at; w < at + this.#summaryWords; w++) count += ones(this.#words[w]!);
    return count;
  }

  #allocate(size: number): number {
    const free = this.#free[size]!;
    if (free !== 0) {
      this.#free[size] = this.#words[free]!;
      return free;
    }
    const at = this.#next;
    if (at + 2 * size > this.#to) throw full((this.#to - this.#from) * 4);
    this.#next += 2 * size;
    return at;
  }
}

const full = (bytes: number): WeftError =>
  new WeftError(
    "ACL_FULL",
    `the sets of rules, one for each prefix, port and protocol that they name, take more than ${bytes / MIB} MiB`,
    "use fewer rules, or let them name fewer prefixes and ports",
  );

const MIB = 2 ** 20;

/** The bits set in a word (Warren, Hacker's Delight, 5-1). */
function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
