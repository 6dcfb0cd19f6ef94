/** The core's longest-prefix match by itself: its tables, and addresses put before it. */
import { type Address, type Family, toBytes } from "../../src/address.js";
import { LpmTable } from "../../src/compile/lpm.js";
import { Core } from "../../src/core/instance.js";

const { layout } = await Core.create();

/** Where keys and results stand: in the room of packets and of device writes. */
export const KEYS = layout.SLOTS;
export const RESULTS = layout.DEVICE_IOVECS;

export class LpmCore {
  readonly memory;
  readonly bytes;
  readonly functions;
  readonly sizes: Readonly<Record<Family, number>> = { 4: layout.LPM4_SIZE, 6: layout.LPM6_SIZE };

  private constructor(core: Core) {
    this.memory = core.memory;
    this.bytes = core.bytes;
    this.functions = core.exports;
  }

  static async create(): Promise<LpmCore> {
    return new LpmCore(await Core.create());
  }

  addressOf(family: Family, copy: 0 | 1): number {
    const at = family === 4 ? layout.LPM4_AT : layout.LPM6_AT;
    return layout.TABLES + copy * layout.COPY_SIZE + at;
  }

  /** A table in a memory that may hold another test's; it is emptied. */
  table(family: Family, copy: 0 | 1 = 0, size = this.sizes[family]): LpmTable {
    const at = this.addressOf(family, copy);
    this.bytes.fill(0, at, at + this.sizes[family]);
    return new LpmTable(this.memory.buffer, at, size, layout);
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
