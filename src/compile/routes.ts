/**
 * Builds the table that `assembly/tables/route.ts` searches: a trie of 16, 8
 * and 8 bits. Routes are painted in, shortest prefix first, so that a longer
 * one covers what it must and a search never turns back.
 */
import { formatPrefix, type Prefix } from "../address.js";
import { WeftError } from "../error.js";

export interface Route {
  readonly prefix: Prefix;
  /** Index in the table of peers. */
  readonly peer: number;
}

const IS_NODE = 0x80000000;
const ROOT_BITS = 16;
const NODE_BITS = 8;
const NODE_ENTRIES = 1 << NODE_BITS;

/**
 * @param root 65,536 entries
 * @param nodes room for as many nodes of 256 entries as fit
 * @throws WeftError ROUTES_FULL when the prefixes are spread too widely for that room
 */
export function paintRoutes(routes: Iterable<Route>, root: Uint32Array, nodes: Uint32Array): void {
  const shortestFirst = [...routes].sort((a, b) => a.prefix.length - b.prefix.length);
  const painter = new Painter(root, nodes);
  root.fill(0);
  for (const route of shortestFirst) painter.paint(route);
}

class Painter {
  #used = 0;

  constructor(
    private readonly root: Uint32Array,
    private readonly nodes: Uint32Array,
  ) {}

  paint({ prefix, peer }: Route): void {
    const address = Number(prefix.base);
    if (prefix.length <= ROOT_BITS) {
      const first = address >>> ROOT_BITS;
      // The core indexes the root with the first two octets as it loads them: little-endian.
      for (let i = 0; i < 1 << (ROOT_BITS - prefix.length); i++) {
        this.root[swapOctets(first + i)] = peer;
      }
      return;
    }
    const middle = this.nodeBelow(this.root, swapOctets(address >>> ROOT_BITS), prefix);
    const third = (address >>> NODE_BITS) & 0xff;
    if (prefix.length <= ROOT_BITS + NODE_BITS) {
      this.fill(middle + third, 1 << (ROOT_BITS + NODE_BITS - prefix.length), peer);
      return;
    }
    const last = this.nodeBelow(this.nodes, middle + third, prefix);
    this.fill(last + (address & 0xff), 1 << (32 - prefix.length), peer);
  }

  private fill(at: number, count: number, peer: number): void {
    this.nodes.fill(peer, at, at + count);
  }

  /** Where the node under an entry begins; made, if need be, in the colour the entry had. */
  private nodeBelow(table: Uint32Array, entry: number, prefix: Prefix): number {
    const value = table[entry]!;
    if (value >= IS_NODE) return (value - IS_NODE) * NODE_ENTRIES;
    const start = this.#used * NODE_ENTRIES;
    if (start === this.nodes.length) {
      throw new WeftError(
        "ROUTES_FULL",
        `no room for the route to ${formatPrefix(prefix)}: the prefixes need more than ${this.#used} table nodes`,
        "use fewer prefixes longer than /16, or ones that lie closer together",
      );
    }
    this.nodes.fill(value, start, start + NODE_ENTRIES);
    table[entry] = IS_NODE + this.#used++;
    return start;
  }
}

const swapOctets = (half: number) => ((half & 0xff) << 8) | (half >>> 8);
