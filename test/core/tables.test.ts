/** The clever searches beside their slow, obvious twins. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { contains, type Prefix, prefixOf } from "../../src/address.js";
import { networkOrder } from "../../src/compile/peers.js";
import { paintRoutes, type Route } from "../../src/compile/routes.js";
import { Core } from "../../src/core/instance.js";
import { reasonNames } from "../../src/core/reasons.js";
import { checksum, random, seedOfRun } from "../packets.js";

const seed = seedOfRun("tables");
const address = (value: number) => ({ family: 4 as const, value: BigInt(value >>> 0) });

/** Tries every route, keeps the longest that holds the address. */
function slowLookup(routes: readonly Route[], value: number): number {
  let best: Route | undefined;
  for (const route of routes) {
    if (
      contains(route.prefix, address(value)) &&
      route.prefix.length >= (best?.prefix.length ?? 0)
    ) {
      best = route;
    }
  }
  return best?.peer ?? 0;
}

async function paintedCore(routes: readonly Route[]): Promise<Core> {
  const core = await Core.create();
  paint(core, routes);
  core.exports.begin();
  return core;
}

function paint(core: Core, routes: readonly Route[], nodes = core.layout.MAX_ROUTE_NODES): void {
  const at = core.layout.TABLES;
  paintRoutes(
    routes,
    new Uint32Array(core.memory.buffer, at + core.layout.ROUTES_AT, 65536),
    new Uint32Array(core.memory.buffer, at + core.layout.ROUTE_NODES_AT, nodes * 256),
  );
}

const lookup = (core: Core, value: number) => core.exports.lookup(networkOrder(address(value)));

/** Prefixes that like to nest: few first octets, all lengths. */
const prefix: fc.Arbitrary<Prefix> = fc
  .tuple(fc.constantFrom(10, 11, 192), fc.nat(0xffffff), fc.nat(32))
  .map(([first, rest, length]) => prefixOf(address(first * 2 ** 24 + rest), length));

const distinctRoutes = fc
  .uniqueArray(prefix, { maxLength: 60, selector: (p) => `${p.base}/${p.length}` })
  .map((prefixes) => prefixes.map((p, i): Route => ({ prefix: p, peer: i + 1 })));

describe("longest-prefix match", () => {
  it("agrees with a linear search, at every edge of every prefix and anywhere else", async () => {
    const core = await Core.create();
    core.exports.begin();
    fc.assert(
      fc.property(distinctRoutes, fc.array(fc.integer(), { maxLength: 20 }), (routes, values) => {
        paint(core, routes);
        const edges = routes.flatMap(({ prefix: { base, length } }) => {
          const last = base + 2n ** BigInt(32 - length) - 1n;
          return [base - 1n, base, last, last + 1n].map(Number);
        });
        for (const value of [...edges, ...values]) {
          expect(lookup(core, value)).toBe(slowLookup(routes, value));
        }
      }),
      { seed, numRuns: 300 },
    );
  });

  it("holds thousands of routes of the lengths that are met", async () => {
    const rnd = random(seed);
    const taken = new Map<string, Route>();
    for (let i = 0; taken.size < 8000; i++) {
      const length = [8, 12, 16, 20, 22, 24, 24, 24, 24, 28, 32][Math.floor(rnd() * 11)]!;
      const p = prefixOf(address(Math.floor(0x0a000000 + rnd() * 0x400000)), length);
      taken.set(`${p.base}/${p.length}`, { prefix: p, peer: (i % 8000) + 1 });
      if (i > 1e6) break;
    }
    const routes = [...taken.values()];
    const core = await paintedCore(routes);
    for (let i = 0; i < 3000; i++) {
      const value = Math.floor(0x0a000000 + rnd() * 0x400000);
      expect(lookup(core, value)).toBe(slowLookup(routes, value));
    }
  });

  it("says so when the prefixes need more nodes than there are", async () => {
    const core = await Core.create();
    const routes = [0x0a000000, 0x0a010000, 0x0a020000].map((value, i) => ({
      prefix: prefixOf(address(value), 24),
      peer: i + 1,
    }));
    expect(() => paint(core, routes, 2)).toThrow(/no room for the route to 10\.2\.0\.0\/24/);
  });
});

describe("checksum", () => {
  it("agrees with RFC 1071 added up word by word, wherever the bytes lie and however many", async () => {
    const core = await Core.create();
    const { bytes, exports, layout } = core;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(31), (data, shift) => {
        const at = layout.SLOTS + shift;
        bytes.set(data, at);
        const native = exports.fold(exports.sum(at, data.length));
        const network = ((native & 0xff) << 8) | (native >> 8);
        // 0 and 0xffff are the same sum.
        expect((~network & 0xffff) % 0xffff).toBe(checksum(data) % 0xffff);
      }),
      { seed, numRuns: 500 },
    );
  });

  it("does not overflow on the largest packet of the largest words", async () => {
    const { bytes, exports, layout } = await Core.create();
    bytes.fill(0xff, layout.SLOTS, layout.SLOTS + 65535);
    expect(exports.fold(exports.sum(layout.SLOTS, 65534))).toBe(0xffff);
    expect(exports.fold(exports.sum(layout.SLOTS, 65535))).toBe(0xff);
  });
});

describe("the map and the reasons", () => {
  it("name every reason of the core in its order", async () => {
    const { module } = await Core.create();
    const memory = new WebAssembly.Memory({ initial: 512, maximum: 512, shared: true });
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const numberOf = (name: string) => (exports[name] as { value: number } | undefined)?.value;
    expect(numberOf("REASONS")).toBe(reasonNames.length);
    reasonNames.slice(1).forEach((name, i) => {
      expect([name, numberOf(name.toUpperCase().replaceAll("-", "_"))]).toEqual([name, i + 1]);
    });
  });

  it("fit into the memory, one region after the other", async () => {
    const { layout, bytes } = await Core.create();
    const order = [
      layout.CONTROL,
      layout.GUARD_0,
      layout.COUNTERS,
      layout.TRAFFIC,
      layout.GUARD_1,
      layout.TABLES,
      layout.GUARD_2,
      layout.PACKETS,
      layout.GUARD_3,
      layout.RECEIVE,
      layout.GUARD_4,
      layout.WIRE,
      layout.GUARD_5,
      layout.DEVICE,
      layout.GUARD_6,
      layout.SLOTS,
      layout.END,
      bytes.length,
    ];
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });
});
