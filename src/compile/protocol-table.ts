/** The sets of rules by protocol, for one direction. */
import { isAny } from "./acl-rule.js";
import type { PlacedRule } from "./placed-rules.js";
import { add, SET_WORDS, type SetAllocator } from "./sets.js";

export const PROTOCOLS = 256;

export class ProtocolTable {
  /** The set of each protocol. */
  readonly #words: Uint32Array;
  readonly #allocator: SetAllocator;
  readonly #owned: number[] = [];

  /** @param words PROTOCOLS words, all zero */
  constructor(words: Uint32Array, allocator: SetAllocator) {
    this.#words = words;
    this.#allocator = allocator;
  }

  clear(): void {
    this.#words.fill(0);
    this.#owned.length = 0;
  }

  paint(placed: readonly PlacedRule[]): void {
    for (const offset of this.#owned.splice(0)) this.#allocator.release(offset);
    const any = new Uint32Array(SET_WORDS);
    const named = new Map<number, number[]>();
    for (const { rule, bit } of placed) {
      if (isAny(rule.protocols)) add(any, bit);
      for (const protocol of rule.protocols) {
        const bits = named.get(protocol);
        if (bits) bits.push(bit);
        else named.set(protocol, [bit]);
      }
    }
    this.#words.fill(this.#put(any));
    for (const [protocol, bits] of named) {
      const set = any.slice();
      for (const bit of bits) add(set, bit);
      this.#words[protocol] = this.#put(set);
    }
  }

  #put(set: Uint32Array): number {
    const offset = this.#allocator.put(set);
    this.#owned.push(offset);
    return offset;
  }
}
