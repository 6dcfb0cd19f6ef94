/** The core: the WebAssembly module, loaded, with the memory it shares with the host. */
import { readFile } from "node:fs/promises";
import { type Layout, readLayout } from "./layout.js";

/** What the core does; the story is told in `assembly/pipeline.ts`. */
export interface CoreFunctions {
  /** Points the vectors of recvmmsg at the slots. HOST_BASE must be set. */
  prepareReceive(): void;
  /** Runs packets `from`..`count`-1 read from the device; gives the first not reached. */
  outbound(from: number, count: number): number;
  /** Runs datagrams `from`..`count`-1 received from the wire; gives the first not reached. */
  inbound(from: number, count: number): number;
  /** The kernel refused a datagram: its packet is lost. Gives the next datagram to try. */
  sendFailed(datagram: number, reason: number): number;
  /** The device refused a write. */
  writeFailed(write: number, reason: number): void;
  /** For devices without a virtio-net header: finishes the checksum of the write at `address`. */
  finishWrite(address: number, length: number): void;
  /** The batch is over: counts each of its packets, lets the tables go. */
  settle(direction: number, count: number): void;

  begin(): void;
  lookup(address: number): number;
  sum(address: number, length: number): bigint;
  fold(sum: bigint): number;
  /** memory.copy, the yardstick of the benchmarks. */
  copy(to: number, from: number, length: number): void;
}

/** As in asconfig.json. The memory never grows: that would detach every view of it. */
const PAGES = 512;
const WASM = new URL("../../build/core.wasm", import.meta.url);

let compiled: Promise<WebAssembly.Module> | undefined;

export class Core {
  readonly layout: Layout;
  readonly exports: CoreFunctions;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** For Atomics: the words that worker and main thread both touch. */
  readonly words: Int32Array;

  private constructor(
    readonly module: WebAssembly.Module,
    readonly memory: WebAssembly.Memory,
  ) {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.layout = readLayout(exports);
    this.exports = exports as unknown as CoreFunctions;
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.words = new Int32Array(memory.buffer);
  }

  /** A core with a memory of its own or, in a worker, the one that another thread made. */
  static async create(shared?: {
    module: WebAssembly.Module;
    memory: WebAssembly.Memory;
  }): Promise<Core> {
    if (shared) return new Core(shared.module, shared.memory);
    compiled ??= readFile(WASM).then((bytes) => WebAssembly.compile(bytes));
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
    return new Core(await compiled, memory);
  }

  setClock(milliseconds: number): void {
    this.view.setFloat64(this.layout.CLOCK, milliseconds, true);
  }
}
