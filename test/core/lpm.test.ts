/** The longest-prefix match for full tables beside its slow, obvious twins. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  bits,
  contains,
  type Family,
  formatAddress,
  type Prefix,
  prefixOf,
} from "../../src/address.js";
import { type LpmTable, updateAll } from "../../src/compile/lpm.js";
import { NO_ROUTE, Rib, type RouteList, routeList, wordsOf } from "../../src/compile/rib.js";
import { random, seedOfRun } from "../packets.js";
import { rounds } from "../rounds.js";
import { KEYS, LpmCore } from "./lpm-core.js";
import { internetLike } from "./lpm-routes.js";

const seed = seedOfRun("lpm");
const core = await LpmCore.create();
const FAMILIES = [4, 6] as const;
/** Thousands of changes, so many times over: an even number, so that both copies follow them all. */
const CHANGES = rounds(2, 12);
/** Many, though not a full table. */
const ROUTES = rounds(5_000, 20_000);
/** A table without routes takes this much; what is asked beyond it is room for blocks. */
const emptySize = (family: Family) => core.table(family).used;

interface Route {
  readonly prefix: Prefix;
  readonly value: number;
}

const keyOf = ({ base, length }: Prefix) => `${base}/${length}`;

/** Tries every route, keeps the longest that holds the address. */
function slowLookup(routes: Iterable<Route>, address: Address): number {
  let best: Route | undefined;
  for (const route of routes) {
    if (contains(route.prefix, address) && route.prefix.length >= (best?.prefix.length ?? 0)) {
      best = route;
    }
  }
  return best?.value ?? NO_ROUTE;
}

/** The first and last address of each prefix, and those just outside. */
const edgesOf = (prefixes: Iterable<Prefix>): Address[] =>
  [...prefixes].flatMap(({ family, base, length }) => {
    const last = base + (1n << BigInt(bits(family) - length)) - 1n;
    return [base - 1n, base, last, last + 1n].map((value) => ({
      family,
      value: BigInt.asUintN(bits(family), value),
    }));
  });

/** Prefixes that like to nest: they part from a few bases at any bit, and end at any. */
const prefixes: Record<Family, fc.Arbitrary<Prefix>> = {
  4: prefixesNear(4, [0x0a000000n, 0x0a010203n, 0xc0a80000n, 0xffffffffn, 0n]),
  6: prefixesNear(6, [
    0x2001_0db8_0000_0000_0000_0000_0000_0000n,
    0x2001_0db8_0001_0002_0003_0004_0005_0006n,
    0xfd00_1234_5678_9abc_def0_1234_5678_9abcn,
    (1n << 128n) - 1n,
    0n,
  ]),
};

function prefixesNear(family: Family, bases: bigint[]): fc.Arbitrary<Prefix> {
  return fc
    .tuple(fc.constantFrom(...bases), fc.nat(bits(family) - 1), fc.boolean(), fc.nat(bits(family)))
    .map(([base, bit, flip, length]) =>
      prefixOf({ family, value: flip ? base ^ (1n << BigInt(bit)) : base }, length),
    );
}

/** A prefix gets a value, or loses it. */
const change = (family: Family): fc.Arbitrary<Route> =>
  fc.record({
    prefix: prefixes[family],
    value: fc.oneof(fc.constant(NO_ROUTE), fc.integer({ min: 1, max: 4 }), fc.nat(16383)),
  });

function note(held: Map<string, Route>, route: Route): void {
  if (route.value === NO_ROUTE) held.delete(keyOf(route.prefix));
  else held.set(keyOf(route.prefix), route);
}

describe.each(FAMILIES)("longest-prefix match, IPv%i", (family) => {
  it("says no route of a memory of zeros", () => {
    core.table(family);
    expect(core.lookup(family, 0, edgesOf([{ family, base: 0n, length: 0 }]))).toEqual([
      0, 0, 0, 0,
    ]);
  });

  it("agrees with a linear search after every step, copies used by turns", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(change(family), { maxLength: 8 }), { minLength: 1, maxLength: 25 }),
        fc.array(fc.bigInt({ min: 0n, max: (1n << BigInt(bits(family))) - 1n }), { maxLength: 10 }),
        (steps, values) => {
          const routes = new Rib(family);
          const copies = [core.table(family, 0), core.table(family, 1)] as const;
          const held = new Map<string, Route>();
          const asked: Address[] = values.map((value) => ({ family, value }));
          steps.forEach((step, i) => {
            const copy = i % 2 === 0 ? 0 : 1;
            for (const route of step) note(held, route);
            asked.push(...edgesOf(step.map(({ prefix }) => prefix)));
            updateAll([{ routes, changes: routeList(family, step), table: copies[copy] }]);
            const expected = asked.map((address) => slowLookup(held.values(), address));
            expect(core.lookup(family, copy, asked)).toEqual(expected);
            expect(routes.size).toBe(held.size);
          });
        },
      ),
      { seed, numRuns: 60 },
    );
  });

  it("gives the same answers, batched or single, whatever the count and stride", () => {
    const rnd = random(seed);
    const list = internetLike(family, 2000, rnd);
    paint(core.table(family), list);
    for (const count of [0, 1, 2, 63, 64, 65, 128, 200]) {
      const addresses = someAddresses(family, list, count, rnd);
      const expected = core.lookupSingly(family, 0, addresses);
      expect(core.lookup(family, 0, addresses)).toEqual(expected);
      const stride = 76;
      const width = family === 4 ? 4 : 16;
      for (let i = count - 1; i > 0; i--) {
        core.bytes.copyWithin(KEYS + i * stride, KEYS + i * width, KEYS + (i + 1) * width);
      }
      expect(core.lookupKeys(family, 0, count, stride)).toEqual(expected);
    }
  });

  it("does not care in which order, or over which detours, the routes came", () => {
    fc.assert(
      fc.property(
        fc.array(change(family), { maxLength: 60 }),
        fc.array(change(family), { maxLength: 30 }),
        fc.infiniteStream(fc.nat()),
        (list, detour, numbers) => {
          const held = new Map<string, Route>();
          for (const route of list) note(held, route);
          const straight = [...held.values()];
          const order = new Map(straight.map((route) => [route, numbers.next().value as number]));
          const shuffled = [...straight].sort((a, b) => order.get(a)! - order.get(b)!);
          const away = detour.map(({ prefix }) => ({ prefix, value: NO_ROUTE }));

          paint(core.table(family, 0), routeList(family, straight));
          const routes = new Rib(family);
          const table = core.table(family, 1);
          for (const route of [...detour, ...away, ...shuffled]) {
            routes.apply(routeList(family, [route]));
            table.update(routes);
          }
          const asked = edgesOf([...list, ...detour].map(({ prefix }) => prefix));
          expect(core.lookup(family, 1, asked)).toEqual(core.lookup(family, 0, asked));
        },
      ),
      { seed, numRuns: 60 },
    );
  });

  it("agrees with a search length by length in a full table, and after thousands of changes", () => {
    const rnd = random(seed);
    const list = internetLike(family, family === 4 ? 1_000_000 : 250_000, rnd, 16383);
    const routes = new Rib(family);
    const twin = new ByLength(family);
    const copies = [core.table(family, 0), core.table(family, 1)] as const;
    const check = (copy: 0 | 1) => {
      const addresses = someAddresses(family, list, ROUTES, rnd);
      const found = core.lookup(family, copy, addresses);
      // Not the lists as wholes: to print how thousands of answers differ takes minutes.
      const wrong = addresses.find((address, i) => found[i] !== twin.lookup(address));
      expect(wrong && formatAddress(wrong)).toBeUndefined();
    };

    routes.apply(list);
    twin.apply(list);
    copies[0].update(routes);
    copies[1].update(routes);
    check(0);
    for (let round = 0; round < CHANGES; round++) {
      const copy = round % 2 === 0 ? 1 : 0;
      const changes = someChanges(family, list, 2000, rnd);
      routes.apply(changes);
      twin.apply(changes);
      copies[copy].update(routes);
      check(copy);
      expect(routes.size).toBe(twin.size);
    }
  });

  it("takes no more room when it is filled again, nor when it was filled with something else", () => {
    const rnd = random(seed);
    const wide = internetLike(family, ROUTES, rnd);
    const deep = {
      ...internetLike(family, ROUTES, rnd),
      lengths: new Uint8Array(ROUTES).fill(bits(family)),
    };
    const need = (list: RouteList) => {
      const table = core.table(family);
      paint(table, list);
      return table.used;
    };
    const size = Math.max(need(wide), need(deep));
    const table = core.table(family, 0, Math.ceil(size / 8) * 8);
    const routes = new Rib(family);
    for (const list of [wide, deep, wide, deep, wide]) {
      for (const values of [list.values, new Uint16Array(list.count)]) {
        routes.apply({ ...list, values });
        table.update(routes);
      }
      expect(routes.size).toBe(0);
    }
    routes.apply(wide);
    table.update(routes);
    expect(table.used).toBeLessThanOrEqual(size);
  });

  it("uses the room of routes that went for those that come", () => {
    const rnd = random(seed);
    const list = internetLike(family, 5000, rnd);
    const table = core.table(family);
    const routes = new Rib(family);
    const sizes = Array.from({ length: 4 }, () => {
      for (const values of [list.values, new Uint16Array(list.count)]) {
        routes.apply({ ...list, values });
        table.update(routes);
      }
      return table.used;
    });
    expect(sizes).toEqual(sizes.map(() => sizes[0]));
  });

  it("fits into just the room it needs", () => {
    const list = internetLike(family, 3000, random(seed));
    const roomy = core.table(family);
    paint(roomy, list);
    const { used } = roomy;
    paint(core.table(family, 0, used), list);
    expect(() => paint(core.table(family, 0, used - 8), list)).toThrow(/no room/);
  });

  it("refuses routes that do not fit, and nothing has changed", () => {
    const rnd = random(seed);
    const few = internetLike(family, 300, rnd);
    const many = internetLike(family, 30_000, rnd);
    const size = emptySize(family) + 64 * 1024;
    const guard = 4096;
    const copies = [core.table(family, 0, size), core.table(family, 1, size)] as const;
    for (const copy of [0, 1] as const) {
      const end = core.addressOf(family, copy) + size;
      core.bytes.fill(0xa5, end, end + guard);
    }
    const routes = new Rib(family);
    const addresses = someAddresses(family, few, 2000, rnd);
    updateAll([{ routes, changes: few, table: copies[0] }]);
    const before = core.lookup(family, 0, addresses);

    // Twice another value for the routes that are there: the first one must come back.
    const others = [1, 2].map((more) => ({ ...few, values: few.values.map((v) => v + more) }));
    const changes = joined(many, ...others);
    const refused = () => updateAll([{ routes, changes, table: copies[1] }]);
    expect(refused).toThrow(expect.objectContaining({ code: "ROUTES_FULL" }));
    expect(routes.size).toBe(few.count);
    for (const copy of [0, 1] as const) {
      updateAll([{ routes, changes: routeList(family, []), table: copies[copy] }]);
      expect(core.lookup(family, copy, addresses)).toEqual(before);
      const end = core.addressOf(family, copy) + size;
      expect(core.bytes.subarray(end, end + guard).every((byte) => byte === 0xa5)).toBe(true);
    }
  });

  it("can be copied whole", () => {
    const rnd = random(seed);
    const list = internetLike(family, 5000, rnd);
    const at = core.addressOf(family, 0);
    core.table(family, 1);
    paint(core.table(family, 0), list);
    core.bytes.copyWithin(core.addressOf(family, 1), at, at + core.sizes[family]);
    const addresses = someAddresses(family, list, 2000, rnd);
    expect(core.lookup(family, 1, addresses)).toEqual(core.lookup(family, 0, addresses));
  });
});

it("undoes the changes of one family when those of the other do not fit", () => {
  const rnd = random(seed);
  const fits = internetLike(4, 100, rnd);
  const routes = { 4: new Rib(4), 6: new Rib(6) };
  const small = core.table(6, 0, emptySize(6) + 1024);
  expect(() =>
    updateAll([
      { routes: routes[4], changes: fits, table: core.table(4, 0) },
      { routes: routes[6], changes: internetLike(6, 10_000, rnd), table: small },
    ]),
  ).toThrow(/no room for 10000 IPv6 routes/);
  expect([routes[4].size, routes[6].size]).toEqual([0, 0]);
});

it("refuses a length or value that cannot be, before anything changes", () => {
  const routes = new Rib(4);
  const good = { count: 1, addresses: Uint32Array.of(0), lengths: Uint8Array.of(8) };
  expect(() => routes.apply({ ...good, values: Uint16Array.of(16384) })).toThrow(RangeError);
  const values = Uint16Array.of(1);
  expect(() => routes.apply({ ...good, lengths: Uint8Array.of(33), values })).toThrow(RangeError);
  expect(routes.size).toBe(0);
});

function paint(table: LpmTable, list: RouteList): void {
  const routes = new Rib(list.addresses.length === list.count ? 4 : 6);
  routes.apply(list);
  table.update(routes);
}

function joined(...lists: RouteList[]): RouteList {
  return {
    count: lists.reduce((sum, { count }) => sum + count, 0),
    addresses: Uint32Array.from(lists.flatMap(({ addresses }) => [...addresses])),
    lengths: Uint8Array.from(lists.flatMap(({ lengths }) => [...lengths])),
    values: Uint16Array.from(lists.flatMap(({ values }) => [...values])),
  };
}

/** Addresses in, beside and far from the routes. */
function someAddresses(
  family: Family,
  list: RouteList,
  count: number,
  rnd: () => number,
): Address[] {
  const all = BigInt(bits(family));
  return Array.from({ length: count }, () => {
    let anything = 0n;
    for (let i = 0; i < bits(family); i += 16) {
      anything = (anything << 16n) | BigInt(Math.floor(rnd() * 65536));
    }
    const { base, length } = prefixAt(family, list, Math.floor(rnd() * list.count));
    const inside = base | (anything & ((1n << (all - BigInt(length))) - 1n));
    const kind = rnd();
    if (kind < 0.5) return { family, value: inside };
    if (kind < 0.8)
      return { family, value: inside ^ (1n << BigInt(Math.floor(rnd() * bits(family)))) };
    return { family, value: anything };
  });
}

/** Routes that go, that come back, that get another value, and now and then a short one. */
function someChanges(family: Family, list: RouteList, count: number, rnd: () => number): RouteList {
  const changes = Array.from({ length: count }, (_, i): Route => {
    const prefix = prefixAt(family, list, Math.floor(rnd() * list.count));
    const length = i % 100 === 0 ? Math.floor(rnd() * 20) : prefix.length;
    const value = rnd() < 0.5 ? NO_ROUTE : 1 + Math.floor(rnd() * 16383);
    return { prefix: prefixOf({ family, value: prefix.base }, length), value };
  });
  return routeList(family, changes);
}

function prefixAt(family: Family, { addresses, lengths }: RouteList, i: number): Prefix {
  const words = wordsOf(family);
  let base = 0n;
  for (let word = 0; word < words; word++)
    base = (base << 32n) | BigInt(addresses[i * words + word]!);
  return { family, base, length: lengths[i]! };
}

/** One Map for each prefix length, by the bits of that length, asked from the longest down. */
class ByLength {
  readonly #lengths: Map<bigint, number>[];
  readonly #family: Family;

  constructor(family: Family) {
    this.#family = family;
    this.#lengths = Array.from({ length: bits(family) + 1 }, () => new Map());
  }

  get size(): number {
    return this.#lengths.reduce((sum, { size }) => sum + size, 0);
  }

  apply(list: RouteList): void {
    for (let i = 0; i < list.count; i++) {
      const { base, length } = prefixAt(this.#family, list, i);
      const values = this.#lengths[length]!;
      const key = this.#key(base, length);
      if (list.values[i] === NO_ROUTE) values.delete(key);
      else values.set(key, list.values[i]!);
    }
  }

  lookup(address: Address): number {
    for (let length = bits(this.#family); length >= 0; length--) {
      const values = this.#lengths[length]!;
      if (values.size === 0) continue;
      const value = values.get(this.#key(address.value, length));
      if (value !== undefined) return value;
    }
    return NO_ROUTE;
  }

  #key(value: bigint, length: number): bigint {
    return value >> BigInt(bits(this.#family) - length);
  }
}
