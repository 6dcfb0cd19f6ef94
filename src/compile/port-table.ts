/** The sets of rules by port, for one direction and one of a packet's two ports. */
import { isAny, joined, type PortField } from "./acl-rule.js";
import type { PlacedRule } from "./placed-rules.js";
import { add, remove, SET_WORDS, type SetAllocator } from "./sets.js";

export const PORTS = 65536;

export class PortTable {
  /** The set of each port. */
  readonly #words: Uint32Array;
  readonly #allocator: SetAllocator;
  readonly #field: PortField;
  #owned = new Set<number>();

  /** @param words PORTS words, all zero */
  constructor(words: Uint32Array, allocator: SetAllocator, field: PortField) {
    this.#words = words;
    this.#allocator = allocator;
    this.#field = field;
  }

  clear(): void {
    this.#words.fill(0);
    this.#owned.clear();
  }

  /**
   * From port to port the set changes only where a range begins or has ended. A port that no changed
   * rule names keeps its set; if the changed rules are not known, none does.
   */
  paint(placed: readonly PlacedRule[], changed: readonly PlacedRule[] | undefined): void {
    const isChanged = this.#portsOf(changed);
    const owned = new Set<number>();
    const set = new Uint32Array(SET_WORDS);
    for (const { rule, bit } of placed) if (isAny(rule[this.#field])) add(set, bit);
    const edges = this.#edges(placed);
    for (const [i, { port, begin, end }] of edges.entries()) {
      if (port >= PORTS) break;
      for (const bit of end) remove(set, bit);
      for (const bit of begin) add(set, bit);
      const offset = isChanged[port] ? this.#allocator.put(set) : this.#words[port]!;
      owned.add(offset);
      this.#words.fill(offset, port, edges[i + 1]?.port ?? PORTS);
    }
    for (const offset of this.#owned) if (!owned.has(offset)) this.#allocator.release(offset);
    this.#owned = owned;
  }

  /** The ports at which ranges begin or have ended, in order, and the bits of their rules. */
  #edges(placed: readonly PlacedRule[]): readonly Edge[] {
    const edges = new Map<number, Edge>();
    const edge = (port: number) => {
      const known = edges.get(port) ?? { port, begin: [], end: [] };
      edges.set(port, known);
      return known;
    };
    edge(0);
    for (const { rule, bit } of placed) {
      for (const { from, to } of joined(rule[this.#field])) {
        edge(from).begin.push(bit);
        edge(to + 1).end.push(bit);
      }
    }
    return [...edges.values()].sort((a, b) => a.port - b.port);
  }

  /** 1 for every port that one of these rules names; 1 for all if the rules are not known. */
  #portsOf(rules: readonly PlacedRule[] | undefined): Uint8Array {
    const ports = new Uint8Array(PORTS);
    if (!rules || rules.some(({ rule }) => isAny(rule[this.#field]))) return ports.fill(1);
    for (const { rule } of rules)
      for (const { from, to } of joined(rule[this.#field])) ports.fill(1, from, to + 1);
    return ports;
  }
}

interface Edge {
  readonly port: number;
  readonly begin: number[];
  readonly end: number[];
}
