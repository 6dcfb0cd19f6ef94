/**
 * The routes of one family, in the shape of the table that the core searches
 * (assembly/tables/lpm.ts): each route is in the node whose 6 bits its length ends in, prefixes of up
 * to 18 bits in the root. A node that changed, and each one above it, has the version of the change,
 * so an update of a table visits only the nodes that changed after the table's version.
 *
 * In a node, the position of a prefix of k bits is as in a heap: bit k set, its bits below. So
 * position 1 is the whole node, p/2 the next shorter prefix of p, and positions 64 to 127 are the
 * slots.
 *
 * Routes are in typed arrays: some 8 bytes each, and 40 for a node.
 */
import { bits, type Family, type Prefix } from "../address.js";

export const ROOT_BITS = 18;
export const STRIDE = 6;
export const SLOTS = 1 << STRIDE;
export const ROOT_SLOTS = 1 << ROOT_BITS;

/** Values are less than this: peer indexes. */
export const VALUES = 16384;

/** "No route": the result of a lookup without a match, and the value that removes a route. */
export const NO_ROUTE = 0;

/** Stands for a missing node: it is empty, and so is everything below. */
export const NO_NODE = 0;

/** Many routes without an object for each. */
export interface RouteList {
  readonly count: number;
  /** One word for each IPv4 address, four for an IPv6 address, the first octets most significant. */
  readonly addresses: Uint32Array;
  readonly lengths: Uint8Array;
  /** Results of lookups: less than 16384; NO_ROUTE removes the route. */
  readonly values: Uint16Array;
}

export const wordsOf = (family: Family): number => bits(family) / 32;

export function routeList(
  family: Family,
  routes: readonly { readonly prefix: Prefix; readonly value: number }[],
): RouteList {
  const words = wordsOf(family);
  const addresses = new Uint32Array(routes.length * words);
  routes.forEach(({ prefix }, i) => {
    for (let word = 0; word < words; word++) {
      addresses[i * words + word] = Number(
        (prefix.base >> BigInt(32 * (words - 1 - word))) & 0xffffffffn,
      );
    }
  });
  return {
    count: routes.length,
    addresses,
    lengths: Uint8Array.from(routes, ({ prefix }) => prefix.length),
    values: Uint16Array.from(routes, ({ value }) => value),
  };
}

const NO_LINK = 0;
/** Keys of nodes below the root start here; lower ones are the root's slots. */
const BELOW_ROOT = ROOT_SLOTS;
/** Root slots are searched for changes in groups. */
const GROUP_BITS = 9;

export class Rib {
  /** Number of changes. A table that was never painted has version 0. */
  version = 1;
  #size = 0;

  /** Values of the prefixes of up to 18 bits, by their position in the root. */
  readonly #short = new Uint16Array(2 * ROOT_SLOTS);
  /** Version of the last change of a root slot, and of a group of them. */
  readonly #slotChanged = new Uint32Array(ROOT_SLOTS);
  readonly #groupChanged = new Uint32Array(ROOT_SLOTS >> GROUP_BITS);

  /** The nodes of the root by slot, those below by key. Number 0 is never used: NO_NODE. */
  readonly #rootNodes = new Uint32Array(ROOT_SLOTS);
  readonly #nodesBelow = new Map<number, number>();
  readonly #freeNodes: number[] = [];
  #nodeCount = 1;
  #key = new Uint32Array(64);
  #children = new Uint32Array(2 * 64);
  #changed = new Uint32Array(64);
  #firstRoute = new Uint32Array(64);

  /** The routes of a node are a linked list, and so are the free ones. Number 0 ends a list. */
  #freeRoute = NO_LINK;
  #routeCount = 1;
  #next = new Uint32Array(64);
  #place = new Uint8Array(64);
  #value = new Uint16Array(64);

  /** The current address; the words behind an IPv4 address are zero. */
  readonly #address = new Uint32Array(5);
  readonly #words: number;

  constructor(readonly family: Family) {
    this.#words = wordsOf(family);
  }

  /** Number of routes. */
  get size(): number {
    return this.#size;
  }

  /** Makes the changes in order, so the last one of a prefix applies; returns the changes that undo them. */
  apply(changes: RouteList): RouteList {
    refuseNonsense(changes, bits(this.family));
    this.version++;
    const former = new Uint16Array(changes.count);
    for (let i = 0; i < changes.count; i++) {
      for (let word = 0; word < this.#words; word++) {
        this.#address[word] = changes.addresses[i * this.#words + word]!;
      }
      former[i] = this.#set(changes.lengths[i]!, changes.values[i]!);
    }
    return backwards({ ...changes, values: former }, this.#words);
  }

  // ------------------------------------------------------- read by the table

  /** Calls `visit` for every root slot that changed after `version`. */
  forEachChanged(version: number, visit: (slot: number) => void): void {
    for (let group = 0; group < this.#groupChanged.length; group++) {
      if (this.#groupChanged[group]! <= version) continue;
      const end = (group + 1) << GROUP_BITS;
      for (let slot = group << GROUP_BITS; slot < end; slot++) {
        if (this.#slotChanged[slot]! > version) visit(slot);
      }
    }
  }

  /** The value of a root slot from the prefixes of the root. */
  inherited(slot: number): number {
    let place = ROOT_SLOTS + slot;
    while (place > 0 && this.#short[place] === NO_ROUTE) place >>= 1;
    return this.#short[place]!;
  }

  rootNode(slot: number): number {
    return this.#rootNodes[slot]!;
  }

  child(node: number, slot: number): number {
    return this.#find(keyOf(node, slot));
  }

  changedAfter(node: number, version: number): boolean {
    return this.#changed[node]! > version;
  }

  /** The slots with longer prefixes, as bits: slots 0 to 31 and 32 to 63. */
  childrenLow(node: number): number {
    return this.#children[2 * node]!;
  }
  childrenHigh(node: number): number {
    return this.#children[2 * node + 1]!;
  }

  /** Gives each of the 128 positions the value of its longest prefix. */
  paint(node: number, inherited: number, places: Uint16Array): void {
    let route = this.#firstRoute[node]!;
    if (route === NO_LINK) {
      places.fill(inherited);
      return;
    }
    places.fill(NO_ROUTE);
    places[1] = inherited;
    for (; route !== NO_LINK; route = this.#next[route]!) {
      places[this.#place[route]!] = this.#value[route]!;
    }
    for (let place = 2; place < 2 * SLOTS; place++) {
      if (places[place] === NO_ROUTE) places[place] = places[place >> 1]!;
    }
  }

  // ---------------------------------------------------------------- changing

  /** Sets the value of the current address / `length`; returns the previous one. */
  #set(length: number, value: number): number {
    if (length <= ROOT_BITS) return this.#setShort(length, value);
    let depth = ROOT_BITS;
    let node = this.#nodeAt(this.#address[0]! >>> (32 - ROOT_BITS));
    for (; length > depth + STRIDE; depth += STRIDE) {
      node = this.#childAt(node, this.#slot(depth));
    }
    const place = (SLOTS | this.#slot(depth)) >> (depth + STRIDE - length);
    const former = this.#setPlace(node, place, value);
    if (former !== value) this.#noteChange(node);
    this.#removeEmpty(node);
    return former;
  }

  #setShort(length: number, value: number): number {
    const place = (ROOT_SLOTS | (this.#address[0]! >>> (32 - ROOT_BITS))) >> (ROOT_BITS - length);
    const former = this.#short[place]!;
    if (former === value) return former;
    this.#short[place] = value;
    this.#count(former, value);
    const first = (place << (ROOT_BITS - length)) - ROOT_SLOTS;
    this.#noteSlots(first, first + (1 << (ROOT_BITS - length)));
    return former;
  }

  #setPlace(node: number, place: number, value: number): number {
    let before = NO_LINK;
    let route = this.#firstRoute[node]!;
    while (route !== NO_LINK && this.#place[route] !== place) {
      before = route;
      route = this.#next[route]!;
    }
    const former = route === NO_LINK ? NO_ROUTE : this.#value[route]!;
    this.#count(former, value);
    if (route !== NO_LINK && value !== NO_ROUTE) this.#value[route] = value;
    else if (value !== NO_ROUTE) this.#addRoute(node, place, value);
    else if (route !== NO_LINK) this.#removeRoute(node, before, route);
    return former;
  }

  #addRoute(node: number, place: number, value: number): void {
    let route = this.#freeRoute;
    if (route !== NO_LINK) this.#freeRoute = this.#next[route]!;
    else {
      route = this.#routeCount++;
      if (route === this.#next.length) {
        this.#next = doubled(this.#next);
        this.#place = doubled(this.#place);
        this.#value = doubled(this.#value);
      }
    }
    this.#place[route] = place;
    this.#value[route] = value;
    this.#next[route] = this.#firstRoute[node]!;
    this.#firstRoute[node] = route;
  }

  #removeRoute(node: number, before: number, route: number): void {
    if (before === NO_LINK) this.#firstRoute[node] = this.#next[route]!;
    else this.#next[before] = this.#next[route]!;
    this.#next[route] = this.#freeRoute;
    this.#freeRoute = route;
  }

  #count(former: number, value: number): void {
    this.#size += Number(value !== NO_ROUTE) - Number(former !== NO_ROUTE);
  }

  #childAt(node: number, slot: number): number {
    this.#children[2 * node + (slot >> 5)]! |= 1 << (slot & 31);
    return this.#nodeAt(keyOf(node, slot));
  }

  /** The node with this key, made if it is missing. */
  #nodeAt(key: number): number {
    const known = this.#find(key);
    if (known !== NO_NODE) return known;
    const node = this.#freeNodes.pop() ?? this.#nodeCount++;
    if (node === this.#changed.length) {
      this.#key = doubled(this.#key);
      this.#changed = doubled(this.#changed);
      this.#firstRoute = doubled(this.#firstRoute);
      this.#children = doubled(this.#children);
    }
    this.#key[node] = key;
    this.#changed[node] = this.version;
    if (key < BELOW_ROOT) this.#rootNodes[key] = node;
    else this.#nodesBelow.set(key, node);
    return node;
  }

  #find(key: number): number {
    return key < BELOW_ROOT ? this.#rootNodes[key]! : (this.#nodesBelow.get(key) ?? NO_NODE);
  }

  /** Removes a node without content, and those above it that then have none. */
  #removeEmpty(from: number): void {
    let node = from;
    while (this.#isEmpty(node)) {
      const key = this.#key[node]!;
      this.#freeNodes.push(node);
      if (key < BELOW_ROOT) {
        this.#rootNodes[key] = NO_NODE;
        return;
      }
      this.#nodesBelow.delete(key);
      node = parentOf(key);
      const slot = slotOf(key);
      this.#children[2 * node + (slot >> 5)]! &= ~(1 << (slot & 31));
    }
  }

  #isEmpty(node: number): boolean {
    return (
      this.#firstRoute[node] === NO_LINK &&
      this.childrenLow(node) === 0 &&
      this.childrenHigh(node) === 0
    );
  }

  #noteChange(from: number): void {
    let node = from;
    let key = this.#key[node]!;
    this.#changed[node] = this.version;
    while (key >= BELOW_ROOT) {
      node = parentOf(key);
      key = this.#key[node]!;
      this.#changed[node] = this.version;
    }
    this.#noteSlots(key, key + 1);
  }

  #noteSlots(first: number, end: number): void {
    this.#slotChanged.fill(this.version, first, end);
    this.#groupChanged.fill(this.version, first >> GROUP_BITS, ((end - 1) >> GROUP_BITS) + 1);
  }

  /** Bits `depth` to `depth` + 5 of the current address. */
  #slot(depth: number): number {
    const word = depth >> 5;
    const shift = 32 - STRIDE - (depth & 31);
    if (shift >= 0) return (this.#address[word]! >>> shift) & (SLOTS - 1);
    return (
      ((this.#address[word]! << -shift) | (this.#address[word + 1]! >>> (32 + shift))) & (SLOTS - 1)
    );
  }
}

const keyOf = (parent: number, slot: number) => BELOW_ROOT + parent * SLOTS + slot;
const parentOf = (key: number) => Math.floor((key - BELOW_ROOT) / SLOTS);
const slotOf = (key: number) => key % SLOTS;

function doubled<A extends Uint8Array | Uint16Array | Uint32Array>(array: A): A {
  const larger = new (array.constructor as new (length: number) => A)(2 * array.length);
  larger.set(array);
  return larger;
}

function refuseNonsense({ count, lengths, values }: RouteList, longest: number): void {
  for (let i = 0; i < count; i++) {
    if (lengths[i]! > longest || values[i]! >= VALUES) {
      throw new RangeError(`a route of length ${lengths[i]} and value ${values[i]}`);
    }
  }
}

function backwards({ count, addresses, lengths, values }: RouteList, words: number): RouteList {
  const reversed = new Uint32Array(count * words);
  for (let i = 0; i < count; i++) {
    reversed.set(addresses.subarray(i * words, (i + 1) * words), (count - 1 - i) * words);
  }
  return {
    count,
    addresses: reversed,
    lengths: lengths.slice(0, count).reverse(),
    values: values.slice(0, count).reverse(),
  };
}
