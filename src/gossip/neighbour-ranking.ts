/**
 * With whom a node holds sessions. Each node dials the next one on the ring of
 * ids, which makes one circle of all, and a few that it alone draws, which makes
 * a random graph: a handful for each node joins them all, and stays joined when
 * many fail. The choice is stable: a new member displaces few.
 */
import type { NodeRecord } from "./record.js";

/** Sessions a node opens by itself; as many are opened to it. */
export const MIN_FANOUT = 6;

/** How many sessions a node can be told to open by itself: one on the ring and one across it, at least. */
export const FANOUT_RANGE = { least: 2, most: 256 };
/** Together with those that others open, about log2 n and a few. */
export const fanout = (members: number): number =>
  Math.max(MIN_FANOUT, Math.ceil(Math.log2(members + 1) / 2) + 2);

/** All others that a session can be held with, and in which order this node would. */
export class NeighbourRanking {
  readonly #own: string;
  readonly #salt: number;
  readonly #records = new Map<string, NodeRecord>();
  /** The ids in an order that `salt` and nobody else knows. */
  readonly #shuffled: string[] = [];
  #successor: string | undefined;

  constructor(own: string, salt: number) {
    this.#own = own;
    this.#salt = salt;
  }

  /** Sets the record of a node, which may say that it has withdrawn; undefined if none is known. */
  set(id: string, record: NodeRecord | undefined): void {
    const known = this.#records.has(id);
    if (record && !record.withdrawn && id !== this.#own) {
      this.#records.set(id, record);
      if (known) return;
      this.#shuffled.splice(this.#place(id), 0, id);
      this.#successor = this.#nearer(this.#successor, id);
    } else if (known) {
      this.#records.delete(id);
      this.#shuffled.splice(this.#place(id), 1);
      if (id !== this.#successor) return;
      this.#successor = this.#shuffled.reduce<string | undefined>(
        (a, b) => this.#nearer(a, b),
        undefined,
      );
    }
  }

  get(id: string): NodeRecord | undefined {
    return this.#records.get(id);
  }

  get size(): number {
    return this.#records.size;
  }

  /** In no order that means anything. */
  records(): Iterable<NodeRecord> {
    return this.#records.values();
  }

  /** Best first: the next on the ring, then as drawn. */
  *[Symbol.iterator](): Generator<NodeRecord> {
    const next = this.#successor;
    if (next === undefined) return;
    yield this.#records.get(next)!;
    for (const id of this.#shuffled) if (id !== next) yield this.#records.get(id)!;
  }

  /** Of two ids the one that comes sooner after the own on the ring. */
  #nearer(a: string | undefined, b: string): string {
    if (a === undefined) return b;
    const isAround = (id: string) => id < this.#own;
    if (isAround(a) !== isAround(b)) return isAround(a) ? b : a;
    return a < b ? a : b;
  }

  /** Where an id stands among the drawn, or would. */
  #place(id: string): number {
    let [from, to] = [0, this.#shuffled.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#isBefore(this.#shuffled[middle]!, id)) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #isBefore(a: string, b: string): boolean {
    const [x, y] = [hash(a, this.#salt), hash(b, this.#salt)];
    return x < y || (x === y && a < b);
  }
}

/** The finalizer of MurmurHash3 over the id's first 32 bits. */
function hash(id: string, salt: number): number {
  let h = Number.parseInt(id.slice(0, 8), 16) ^ salt;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
