/** The core: the WebAssembly module, loaded, with the memory it shares with the host. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { DEFAULT_FLOWS, type FlowOptions, flowBytes, prepareFlows } from "./flows.js";
import { type Layout, readLayout } from "./layout.js";

/** What the core does; the story is told in `assembly/pipeline.ts`. */
export interface CoreFunctions {
  /** Points the vectors of recvmmsg at the slots. HOST_BASE must be set. */
  prepareReceive(): void;
  /** Runs reads `from`..`count`-1 from the device; gives the first not reached. */
  outbound(from: number, count: number): number;
  /** Runs messages 0..`count`-1 received from the wire, from packet `from` on; gives the first not reached, 0: none. */
  inbound(from: number, count: number): number;
  /** Is the message a GSO batch of datagrams, for the kernel to cut (UDP_SEGMENT)? */
  isGsoBatch(message: number): number;
  /** From this message on every datagram goes by itself. */
  splitGsoBatches(message: number): void;
  /** The kernel refused a message: the packets in it are lost. */
  sendFailed(message: number, reason: number): void;
  /** The device refused a write: the packets in it are lost. */
  writeFailed(write: number, reason: number): void;
  /** The batch is over: counts each of its packets, lets the tables go. */
  finishBatch(direction: number): void;
  /** For devices without a virtio-net header: finishes the checksum of the write at `address`. */
  finishWrite(address: number, length: number): void;
  /** Readies ERROR_MESSAGE for recvmsg(MSG_ERRQUEUE). */
  prepareError(): void;
  /** Handles the received error: a credible report of a smaller path MTU lowers the MTU of its peers. */
  noteError(): void;

  beginBatch(): void;
  /** Forgets all flows that expired by CLOCK; between batches. */
  expireAll(): void;
  /** Longest-prefix match in the table at `table` (assembly/tables/lpm.ts). */
  lookup4(table: number, address: number): number;
  lookup6(table: number, address: number): number;
  lookupMany(table: number, keys: number, stride: number, count: number, results: number): void;
  /** The first rule from bit `from` on that a packet meets (assembly/tables/acl.ts). */
  findRule(
    acl: number,
    direction: number,
    near: number,
    far: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    from: number,
  ): number;
  /** The same with one field left out, by its number. */
  findRuleBut(
    field: number,
    acl: number,
    direction: number,
    near: number,
    far: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    from: number,
  ): number;
  ruleAt(acl: number, direction: number, bit: number): number;
  nextAfter(acl: number, direction: number, bit: number): number;
  sum(address: number, length: number): bigint;
  fold(sum: bigint): number;
  /** One stage over the packets of the last batch, and memory.copy, for benchmarks. */
  encapAll(count: number): void;
  decapAll(count: number): number;
  findRules(acl: number, questions: number, count: number): void;
  copy(to: number, from: number, length: number): void;
}

/** As in asconfig.json: all but the flows. The memory never grows: that would detach every view of it. */
const PAGES = 4661;
const PAGE = 65536;
const WASM = new URL("../../build/core.wasm", import.meta.url);
/** The same source, with what leaves a trace (assembly/trace.ts). */
const EXPLAINING = new URL("../../build/explain.wasm", import.meta.url);

let compiled: Promise<WebAssembly.Module> | undefined;
let explaining: WebAssembly.Module | undefined;

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

  /** A core with a memory of its own, with room for as many flows as are asked for. */
  static async create(options: FlowOptions = {}): Promise<Core> {
    compiled ??= readFile(WASM).then((bytes) => WebAssembly.compile(bytes));
    const pages = PAGES + Math.ceil(flowBytes(options.flows ?? DEFAULT_FLOWS) / PAGE);
    const core = new Core(await compiled, newMemory(pages));
    prepareFlows(core, options);
    return core;
  }

  /** A core with a memory of its own, as large as another's, where every stage leaves a trace. */
  static explaining(other: Core): Core {
    explaining ??= new WebAssembly.Module(readFileSync(EXPLAINING));
    return new Core(explaining, newMemory(other.bytes.length / PAGE));
  }

  /** In a worker, the one that another thread made. */
  static share(module: WebAssembly.Module, memory: WebAssembly.Memory): Core {
    return new Core(module, memory);
  }

  setClock(milliseconds: number): void {
    this.view.setFloat64(this.layout.CLOCK, milliseconds, true);
  }
}

const newMemory = (pages: number): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
