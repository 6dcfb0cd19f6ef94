/** The core: an instance of the WebAssembly module, and the memory that it shares with the host. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { DEFAULT_FLOWS, type FlowOptions, flowBytes, prepareFlows } from "./flows.js";
import { type Layout, readLayout } from "./layout.js";

/** Exports of the core; `assembly/pipeline.ts` explains the path of a packet. */
export interface CoreFunctions {
  /** Points the vectors of recvmmsg to the slots. HOST_BASE must be set. */
  prepareReceive(): void;
  /** Processes reads `from`..`count`-1 from the device; returns the first one not reached. */
  outbound(from: number, count: number): number;
  /** Processes wire messages 0..`count`-1, from packet `from` on; returns the first one not reached, or 0. */
  inbound(from: number, count: number): number;
  /** Whether the message is a GSO batch, which the kernel cuts into datagrams (UDP_SEGMENT). */
  isGsoBatch(message: number): number;
  /** Splits GSO batches from this message on into single datagrams. */
  splitGsoBatches(message: number): void;
  /** Counts the packets in a message that the kernel refused. */
  sendFailed(message: number, reason: number): void;
  /** Counts the packets in a write that the device refused. */
  writeFailed(write: number, reason: number): void;
  /** Ends the batch: counts each of its packets and releases the tables. */
  finishBatch(direction: number): void;
  /** For devices without a virtio-net header: completes the checksum of the write at `address`. */
  finishWrite(address: number, length: number): void;
  /** Prepares ERROR_MESSAGE for recvmsg(MSG_ERRQUEUE). */
  prepareError(): void;
  /** Handles the received error: a credible report of a smaller path MTU lowers the MTU of its peers. */
  noteError(): void;

  /** Makes a record that the host wrote findable (assembly/conntrack/restore.ts). */
  enterRecord(place: number): number;
  /** The place for a record whose key is at this address, or -1. */
  freePlace(key: number): number;
  /** Counts a connection whose records were entered, by its first. */
  countEntered(place: number): void;
  /** Counts it towards the mappings that it uses, which were entered before. */
  useEntered(place: number): void;
  /** The account of a connection opened here, by the key of its first record at this address. */
  sourceAccount(key: number): number;
  /** Stops holding a TCP connection against numbers that may be old; call it for both records. */
  loosen(place: number): void;

  beginBatch(): void;
  /**
   * Ends connections that the rules of translation would not make any more, from a record on; returns
   * the first record not reached, or 0. A batch, which the caller finishes.
   */
  resetGone(from: number): number;
  /** Forgets all flows that expired by CLOCK. Only between batches. */
  expireAll(): void;
  /** Longest-prefix match in the table at `table` (assembly/tables/lpm.ts). */
  lookup4(table: number, address: number): number;
  lookup6(table: number, address: number): number;
  lookupMany(table: number, keys: number, stride: number, count: number, results: number): void;
  /** The first rule from bit `from` on that a packet matches (assembly/tables/acl.ts). */
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
  /** `findRule` without one field, given by its number. */
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
  /** One stage over the packets of the last batch, and memory.copy: for benchmarks. */
  encapAll(count: number): void;
  decapAll(count: number): number;
  findRules(acl: number, questions: number, count: number): void;
  chooseBackends(questions: number, count: number, protocol: number, port: number): number;
  copy(to: number, from: number, length: number): void;
}

/** Pages without the flows, as in asconfig.json. The memory never grows: that would detach all views. */
const PAGES = 5001;
const PAGE = 65536;
const WASM = new URL("../../build/core.wasm", import.meta.url);
/** Built from the same source with tracing (assembly/trace.ts). */
const EXPLAINING = new URL("../../build/explain.wasm", import.meta.url);

let compiled: Promise<WebAssembly.Module> | undefined;
let explaining: WebAssembly.Module | undefined;

export class Core {
  readonly layout: Layout;
  readonly exports: CoreFunctions;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** For Atomics: words that worker and main thread share. */
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

  /** Makes a core with its own memory, with room for the given number of flows. */
  static async create(options: FlowOptions = {}): Promise<Core> {
    compiled ??= readFile(WASM).then((bytes) => WebAssembly.compile(bytes));
    const pages = PAGES + Math.ceil(flowBytes(options.flows ?? DEFAULT_FLOWS) / PAGE);
    const core = new Core(await compiled, newMemory(pages));
    prepareFlows(core, options);
    return core;
  }

  /** Makes a core like the other, with its own memory and no state. */
  static like(other: Core, options: FlowOptions): Core {
    const core = new Core(other.module, newMemory(other.bytes.length / PAGE));
    prepareFlows(core, options);
    return core;
  }

  /** Makes a core with its own memory, as large as the other's, in which every stage leaves a trace. */
  static explaining(other: Core): Core {
    explaining ??= new WebAssembly.Module(readFileSync(EXPLAINING));
    return new Core(explaining, newMemory(other.bytes.length / PAGE));
  }

  /** In a worker: the core that another thread made. */
  static share(module: WebAssembly.Module, memory: WebAssembly.Memory): Core {
    return new Core(module, memory);
  }

  setClock(milliseconds: number): void {
    this.view.setFloat64(this.layout.CLOCK, milliseconds, true);
  }
}

const newMemory = (pages: number): WebAssembly.Memory =>
  new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
