/** The search of assembly/tables/lpm.ts with a memory of its own, loaded for tests and benchmarks. */
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { type Address, type Family, toBytes } from "../../src/address.js";
import { LpmTable } from "../../src/compile/lpm.js";

interface LpmFunctions {
  lookup4(table: number, address: number): number;
  lookup6(table: number, address: number): number;
  lookupMany(table: number, keys: number, stride: number, count: number, results: number): void;
}

const PAGES = 2048;
const ASSEMBLY = fileURLToPath(new URL("../../assembly", import.meta.url));

async function compiledSearch(): Promise<WebAssembly.Module> {
  let wasm: string | Uint8Array | undefined;
  const options =
    "--outFile lpm.wasm -O3 --noAssert --runtime stub --importMemory --sharedMemory " +
    `--enable simd,threads,bulk-memory --initialMemory ${PAGES} --maximumMemory ${PAGES}`;
  const { error, stderr } = await asc.main(
    ["tables/lpm.ts", "--baseDir", ASSEMBLY, ...options.split(" ")],
    {
      writeFile: (_name, contents) => {
        wasm = contents;
      },
    },
  );
  if (error || !wasm) throw new Error(`${error?.message}: ${stderr.toString()}`);
  return WebAssembly.compile(wasm as Uint8Array<ArrayBuffer>);
}

let compiled: Promise<WebAssembly.Module> | undefined;

/** What lies where in the memory: two copies of each family's table, keys, results. */
const COPIES = { 4: [1 << 20, 18 << 20], 6: [36 << 20, 62 << 20] } as const;
export const KEYS = 90 << 20;
export const RESULTS = 112 << 20;

export class LpmCore {
  readonly memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly functions: LpmFunctions;
  readonly sizes: Readonly<Record<Family, number>>;

  private constructor(module: WebAssembly.Module) {
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.memory } });
    const size = (name: string) => (exports[name] as { value: number }).value;
    this.functions = exports as unknown as LpmFunctions;
    this.sizes = { 4: size("LPM4_SIZE"), 6: size("LPM6_SIZE") };
  }

  static async create(): Promise<LpmCore> {
    compiled ??= compiledSearch();
    return new LpmCore(await compiled);
  }

  addressOf(family: Family, copy: 0 | 1): number {
    return COPIES[family][copy];
  }

  /** A table in a memory that may hold another test's; it is emptied. */
  table(family: Family, copy: 0 | 1 = 0, size = this.sizes[family]): LpmTable {
    const at = this.addressOf(family, copy);
    this.bytes.fill(0, at, at + this.sizes[family]);
    return new LpmTable(this.memory.buffer, at, size);
  }

  /** Looks the addresses up in one go. */
  lookup(family: Family, copy: 0 | 1, addresses: readonly Address[]): number[] {
    const width = family === 4 ? 4 : 16;
    addresses.forEach((address, i) => {
      this.bytes.set(toBytes(address), KEYS + i * width);
    });
    return this.lookupKeys(family, copy, addresses.length, width);
  }

  /** The same for keys that stand in the memory already. */
  lookupKeys(family: Family, copy: 0 | 1, count: number, stride: number): number[] {
    this.functions.lookupMany(this.addressOf(family, copy), KEYS, stride, count, RESULTS);
    return [...new Uint32Array(this.memory.buffer, RESULTS, count)];
  }

  /** Looks them up one by one. */
  lookupSingly(family: Family, copy: 0 | 1, addresses: readonly Address[]): number[] {
    const { lookup4, lookup6 } = this.functions;
    const table = this.addressOf(family, copy);
    const view = new DataView(this.memory.buffer);
    return addresses.map((address) => {
      this.bytes.set(toBytes(address), KEYS);
      return family === 4 ? lookup4(table, view.getUint32(KEYS, true)) : lookup6(table, KEYS);
    });
  }
}
