/**
 * The cost of one longest-prefix match: nanoseconds, in tables like the Internet's, beside a binary
 * search over the same routes.
 *
 *     npx tsx bench/lpm.ts
 */
import { pathToFileURL } from "node:url";
import type { Family } from "../src/address.js";
import { Rib, type RouteList, wordsOf } from "../src/compile/rib.js";
import { KEYS, LpmCore, RESULTS } from "../test/core/lpm-core.js";
import { internetLike, leadingOnes } from "../test/core/lpm-routes.js";
import { random } from "../test/packets.js";
import { describeMachine, machine } from "./machine.js";
import { nanoseconds } from "./nanoseconds.js";
import { table } from "./table.js";

const ROUTES: Record<Family, number> = { 4: 1_000_000, 6: 250_000 };
const KEY_COUNT = 1 << 18;
/** Keys per call, as many as in a vector of packets. */
const BATCH = 64;
const SEED = 1;

export interface LpmRow {
  readonly work: string;
  /** Bytes of a key. */
  readonly bytes: number;
  /** Nanoseconds per lookup: the median of the samples, and their spread. */
  readonly ns: number;
  readonly spread: string;
}

/** Random: anywhere in IPv4, or below 32 bits of a route in IPv6. From routes: in a route of the table. */
type Kind = "random" | "from routes";

const core = await LpmCore.create();

export function lpmRows(): LpmRow[] {
  const rows: LpmRow[] = [];
  for (const family of [4, 6] as const) {
    const rnd = random(SEED);
    const list = internetLike(family, ROUTES[family], rnd);
    paint(family, list);
    const twin = new Ranges(family, list);
    for (const kind of ["random", "from routes"] as const) {
      const keys = drawKeys(family, list, kind, rnd);
      writeKeys(keys);
      const measure = (how: string, run: () => void) => {
        rows.push(row(`LPM v${family} ${kind}, ${how}`, 4 * wordsOf(family), run));
      };
      measure("batched", () => lookupBatches(family));
      mustAgree(twin, keys);
      measure("one by one", () => lookupOneByOne(family));
      measure("binary search", () => {
        for (let i = 0; i < KEY_COUNT; i++) twin.lookup(keys, i);
      });
    }
  }
  return rows;
}

function row(work: string, bytes: number, run: () => void): LpmRow {
  const { median, spread } = nanoseconds(run);
  return {
    work,
    bytes,
    ns: Number((median / KEY_COUNT).toFixed(1)),
    spread: `±${((100 * spread) / median).toFixed(0)} %`,
  };
}

function paint(family: Family, list: RouteList): void {
  const routes = new Rib(family);
  routes.apply(list);
  core.table(family).update(routes);
}

function lookupBatches(family: Family): void {
  const at = core.addressOf(family, 0);
  const stride = 4 * wordsOf(family);
  for (let i = 0; i < KEY_COUNT; i += BATCH) {
    core.functions.lookupMany(at, KEYS + i * stride, stride, BATCH, RESULTS + 4 * i);
  }
}

function lookupOneByOne(family: Family): void {
  const at = core.addressOf(family, 0);
  const { lookup4, lookup6 } = core.functions;
  if (family === 4) {
    const keys = new Uint32Array(core.memory.buffer, KEYS, KEY_COUNT);
    for (let i = 0; i < KEY_COUNT; i++) lookup4(at, keys[i]!);
  } else for (let i = 0; i < KEY_COUNT; i++) lookup6(at, KEYS + 16 * i);
}

/** The addresses to look up, in words of host order. */
function drawKeys(family: Family, list: RouteList, kind: Kind, rnd: () => number): Uint32Array {
  const words = wordsOf(family);
  const keys = new Uint32Array(KEY_COUNT * words);
  for (let i = 0; i < KEY_COUNT; i++) {
    const route = Math.floor(rnd() * list.count);
    const length = list.lengths[route]!;
    const kept = kind === "from routes" ? length : family === 4 ? 0 : Math.min(length, 32);
    for (let word = 0; word < words; word++) {
      const keep = leadingOnes(kept - 32 * word);
      const bits = Math.floor(rnd() * 2 ** 32);
      keys[i * words + word] = (list.addresses[route * words + word]! & keep) | (bits & ~keep);
    }
  }
  return keys;
}

function writeKeys(keys: Uint32Array): void {
  const view = new DataView(core.memory.buffer, KEYS);
  keys.forEach((word, i) => {
    view.setUint32(4 * i, word);
  });
}

/** Throws on a wrong result: wrong results may be fast. */
function mustAgree(twin: Ranges, keys: Uint32Array): void {
  const results = new Uint32Array(core.memory.buffer, RESULTS, KEY_COUNT);
  results.forEach((value, i) => {
    if (value !== twin.lookup(keys, i)) throw new Error(`key ${i}: ${value} is wrong`);
  });
}

/** The same routes as sorted ranges: each begins where the value changes. */
class Ranges {
  readonly #words: number;
  readonly #starts: Uint32Array;
  readonly #values: Uint16Array;
  #count = 0;

  constructor(family: Family, { count, addresses, lengths, values }: RouteList) {
    this.#words = wordsOf(family);
    const words = this.#words;
    this.#starts = new Uint32Array((2 * count + 1) * words);
    this.#values = new Uint16Array(2 * count + 1);
    const start = (i: number) => addresses.subarray(i * words, (i + 1) * words);
    const order = Uint32Array.from({ length: count }, (_, i) => i).sort(
      (a, b) => compare(start(a), start(b)) || lengths[a]! - lengths[b]!,
    );

    const around: { last: Uint32Array; value: number }[] = [];
    const leaveThoseBefore = (address?: Uint32Array) => {
      for (let inner = around.at(-1); inner; inner = around.at(-1)) {
        if (address && compare(inner.last, address) >= 0) return;
        around.pop();
        const next = successor(inner.last);
        if (next) this.#begin(next, around.at(-1)?.value ?? 0);
      }
    };
    this.#begin(new Uint32Array(words), 0);
    for (const i of order) {
      leaveThoseBefore(start(i));
      this.#begin(start(i), values[i]!);
      const last = start(i).map((word, w) => word | ~leadingOnes(lengths[i]! - 32 * w));
      around.push({ last, value: values[i]! });
    }
    leaveThoseBefore();
  }

  lookup(keys: Uint32Array, at: number): number {
    let low = 0;
    let high = this.#count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#isAfter(middle, keys, at)) high = middle;
      else low = middle;
    }
    return this.#values[low]!;
  }

  #isAfter(range: number, keys: Uint32Array, at: number): boolean {
    for (let word = 0; word < this.#words; word++) {
      const start = this.#starts[range * this.#words + word]!;
      const key = keys[at * this.#words + word]!;
      if (start !== key) return start > key;
    }
    return false;
  }

  /** A range replaces the previous one if both begin at the same address. */
  #begin(start: Uint32Array, value: number): void {
    const words = this.#words;
    const before = (this.#count - 1) * words;
    const isSame =
      this.#count > 0 && compare(this.#starts.subarray(before, before + words), start) === 0;
    if (!isSame) this.#count++;
    this.#starts.set(start, (this.#count - 1) * words);
    this.#values[this.#count - 1] = value;
  }
}

function compare(a: Uint32Array, b: Uint32Array): number {
  for (let word = 0; word < a.length; word++) {
    if (a[word] !== b[word]) return a[word]! - b[word]!;
  }
  return 0;
}

/** The next address; undefined after the last one. */
function successor(address: Uint32Array): Uint32Array | undefined {
  const next = address.slice();
  for (let word = next.length - 1; word >= 0; word--) {
    next[word]!++;
    if (next[word] !== 0) return next;
  }
  return undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const rows = lpmRows().map(({ work, bytes, ns, spread }) => [
    work,
    String(bytes),
    ns.toFixed(1),
    spread,
  ]);
  console.log(`core alone, ns per lookup (${describeMachine(machine())})\n`);
  console.log(table([["work", "bytes", "ns", "spread"], ...rows]).join("\n"));
}
