/**
 * Keeps connections over a restart of the agent: in a file of the state directory, written every few
 * seconds and once more when the dataplane has stopped.
 *
 *   file -> pending, by peer -> the peer is published -> adopted by the worker
 *
 * The rules are asked again with the next packet of each, so the file needs to say nothing of them.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FIRST_PEER } from "../compile/compiler.js";
import type { Core } from "../core/instance.js";
import {
  FlowCopier,
  type FlowTable,
  hasExpired,
  isMapping,
  movedPair,
  pairSize,
  pairsIn,
  peersOf,
} from "../core/kept-flows.js";
import type { Publisher } from "../core/publish.js";
import { coreVersion } from "../core/snapshot.js";
import { sentence, WeftError } from "../error.js";
import { PrivateFile } from "../files/private-file.js";
import { joinSections, splitSections } from "../files/sections.js";
import type { KernelIo } from "../io/kernel.js";
import type { Logger } from "../logging/log.js";
import { monotonic } from "../time/system-clock.js";
import type { Tables } from "./tables.js";

const FILE = "flows.state";
const KIND = "weft flows";
const VERSION = 1;
/** Connections in one command to the worker, which takes about a millisecond for them. */
const AT_ONCE = 1024;
/** Bytes that are written in a millisecond, at most and on average: 4 MiB/s. */
const RATE = 4194;
/** Changes with each start of the host. */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

const aboutSchema = z.strictObject({
  /** Of the core: src/core/snapshot.ts. */
  version: z.string(),
  boot: z.string(),
  /** When it was written, by the host's monotonic clock. */
  at: z.number().min(0),
  /** The core's time then. */
  clock: z.number().min(0),
  /** Whether no packet passed after that. */
  isExact: z.boolean(),
  /** Names of peers by their positions in the records. */
  peers: z.array(z.tuple([z.int().min(0), z.string()])),
});
type About = z.infer<typeof aboutSchema>;

/** Names of the peers of both records; undefined where there is none. */
type Peers = readonly [string | undefined, string | undefined];

/** A connection of an earlier agent that waits for its peers. */
interface Pending {
  readonly pair: Uint8Array;
  readonly peers: Peers;
  readonly isExact: boolean;
}

export interface KeptFlowsParts {
  readonly core: Core;
  readonly publisher: Publisher;
  readonly io: Pick<KernelIo, "adopt" | "clock">;
  readonly tables: Pick<Tables, "knowsDocuments">;
  readonly log: Logger;
}

export class KeptFlowsFile {
  readonly #parts: KeptFlowsParts;
  readonly #file: PrivateFile;
  readonly #copier: FlowCopier;
  #pending: readonly Pending[] = [];
  /** Monotonic time from which the idle times of `#pending` count. */
  #since = 0;
  #found = 0;
  #adopted = 0;
  /** The last write, or the one under way. */
  #writing: Promise<void> = Promise.resolve();
  #isOver = false;
  #restsUntil = 0;
  /** Whether the file has no connection. */
  #isEmpty = false;
  #problem: string | undefined;

  constructor(parts: KeptFlowsParts, directory: string) {
    this.#parts = parts;
    this.#file = fileIn(directory);
    this.#copier = new FlowCopier(parts.core);
  }

  /** Reads what the last agent left. A file that cannot be used is ignored, with one line of the log. */
  load(): void {
    const found = read(this.#file, this.#parts.core);
    if (typeof found === "string") {
      this.#parts.log.warn(`the connections of the last run are not restored: ${found}`);
    } else if (found) {
      this.#since = found.at;
      this.#pending = found.pending;
      this.#found = found.pending.length;
    }
    // From here on packets may pass, so that the numbers in the file are not exact any more.
    void this.save();
  }

  /** Has the worker adopt the pending connections whose peers are published. */
  adopt(): void {
    const { publisher, tables, io, core, log } = this.#parts;
    if (this.#pending.length === 0 || !tables.knowsDocuments || this.#isOver) return;
    const elapsed = monotonic() - this.#since;
    const placesOf = ({ peers }: Pending) =>
      peers.map((name) => (name === undefined ? 0 : publisher.placeOf(name)));
    const isReady = (it: Pending) => !placesOf(it).includes(undefined);
    const ready = this.#pending.filter(isReady);
    if (ready.length === 0) return;
    this.#pending = this.#pending.filter((it) => !isReady(it));
    const left = this.#pending.length;
    const all = [true, false].flatMap((isExact) => {
      const some = ready.filter((it) => it.isExact === isExact);
      const pairs = mappingsFirst(core, some).map((it) =>
        movedPair(core, it.pair, { peers: placesOf(it) as [number, number], elapsed }),
      );
      return slices(pairs).map((slice) => io.adopt({ pairs: Buffer.concat(slice), isExact }));
    });
    void Promise.all(all).then((counts) => {
      for (const count of counts) this.#adopted += count;
      const waiting = left > 0 ? `, ${left} wait for their peers` : "";
      log.info(`${this.#adopted} of ${this.#found} connections of the last run go on${waiting}`);
    });
  }

  /** Writes the connections as they are while packets pass, unless the last write was so large that it must rest. */
  save(): Promise<void> {
    if (monotonic() < this.#restsUntil) return this.#writing;
    this.#writing = this.#writing.then(() => this.#write({ isExact: false }));
    return this.#writing;
  }

  /** Writes the connections once no more packets pass. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await this.#writing;
    await this.#write({ isExact: true });
  }

  async #write({ isExact }: { readonly isExact: boolean }): Promise<void> {
    const { core, publisher, io } = this.#parts;
    if (this.#isOver && !isExact) return;
    const now = monotonic();
    const elapsed = now - this.#since;
    this.#pending = this.#pending.filter(({ pair }) => !hasExpired(core, pair, elapsed));
    const places = new Places(publisher);
    const waiting = this.#pending.map(({ pair, peers: [first, twin] }) =>
      movedPair(core, pair, { peers: [places.of(first), places.of(twin)], elapsed }),
    );
    const { places: at, records, clock } = await this.#copier.copy(io.clock);
    const isEmpty = records.length + waiting.length === 0;
    if (isEmpty && this.#isEmpty) return;
    this.#isEmpty = isEmpty;
    const about: About = {
      version: coreVersion(core),
      boot: bootId(),
      at: monotonic(),
      clock,
      isExact,
      peers: [...places],
    };
    const bytes = joinSections(KIND, VERSION, {
      about: Buffer.from(JSON.stringify(about)),
      places: at,
      records,
      waiting: Buffer.concat(waiting),
    });
    this.#restsUntil = now + bytes.length / RATE;
    await this.#put(bytes);
  }

  /** A problem that lasts is logged once. */
  async #put(bytes: Uint8Array): Promise<void> {
    try {
      await this.#file.writeSoon(bytes);
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      if (sentence(error) !== this.#problem) {
        this.#parts.log.warn(`connections are not kept: ${sentence(error)}`);
      }
      this.#problem = sentence(error);
    }
  }
}

/** Removes what an earlier agent left: it would be wrong once another one has run. */
export const removeKeptFlows = (directory: string): void => fileIn(directory).remove();

const EMPTY = new Uint8Array(0);

const fileIn = (directory: string): PrivateFile =>
  new PrivateFile(join(directory, FILE), "file of connections");

const bootId = (): string => readFileSync(BOOT_ID, "latin1").trim();

/** Positions of peers in a file: those in the tables, and behind them those that are only waited for. */
class Places {
  readonly #byName: Map<string, number>;
  #next: number;

  constructor(publisher: Publisher) {
    const names = publisher.peers.map(({ name }) => name);
    this.#byName = new Map(names.map((name) => [name, publisher.placeOf(name)!]));
    this.#next = Math.max(FIRST_PEER, ...this.#byName.values()) + 1;
  }

  of(name: string | undefined): number {
    if (name === undefined) return 0;
    const place = this.#byName.get(name) ?? this.#next++;
    this.#byName.set(name, place);
    return place;
  }

  *[Symbol.iterator](): Generator<[number, string]> {
    for (const [name, place] of this.#byName) yield [place, name];
  }
}

// ---------------------------------------------------------------------- reading

interface Found {
  readonly at: number;
  readonly pending: readonly Pending[];
}

/** The contents of the file; a reason if it cannot be used; undefined if there is none. */
function read(file: PrivateFile, core: Core): Found | string | undefined {
  let bytes: Buffer | undefined;
  try {
    bytes = file.readBytes();
  } catch (error) {
    if (error instanceof WeftError) return sentence(error);
    throw error;
  }
  if (!bytes) return undefined;
  const sections = splitSections(KIND, VERSION, bytes);
  if (sections === "version") return OTHER_VERSION;
  if (typeof sections === "string") return "their file is damaged";
  const about = readAbout(sections.get("about"));
  if (about?.version !== coreVersion(core)) return OTHER_VERSION;
  if (about.boot !== bootId() || about.at > monotonic()) return "this host was started since";
  const names = new Map(about.peers);
  const [places, records, waiting] = ["places", "records", "waiting"].map(
    (name) => sections.get(name) ?? EMPTY,
  ) as [Uint8Array, Uint8Array, Uint8Array];
  const table: FlowTable = { places, records, clock: about.clock };
  const pending = [
    ...pairsIn(core, table).map((pair) => ({ pair, isExact: about.isExact })),
    ...splitPairs(core, waiting).map((pair) => ({ pair, isExact: false })),
  ];
  return { at: about.at, pending: pending.flatMap((it) => withPeers(core, it, names)) };
}

const OTHER_VERSION = "another version of weft wrote them";

function readAbout(bytes: Uint8Array | undefined): About | undefined {
  try {
    const read = aboutSchema.safeParse(JSON.parse(Buffer.from(bytes ?? EMPTY).toString()));
    return read.success ? read.data : undefined;
  } catch {
    return undefined;
  }
}

/** A connection with a peer that had no name any more cannot go on. */
function withPeers(
  core: Core,
  it: Omit<Pending, "peers">,
  names: ReadonlyMap<number, string>,
): Pending[] {
  const places = peersOf(core, it.pair);
  const peers = places.map((place) => names.get(place)) as unknown as Peers;
  const hasNames = places.every((place, i) => place < FIRST_PEER || peers[i] !== undefined);
  return hasNames ? [{ ...it, peers }] : [];
}

/** Connections count towards mappings that are there. */
const mappingsFirst = (core: Core, all: readonly Pending[]): Pending[] => [
  ...all.filter(({ pair }) => isMapping(core, pair)),
  ...all.filter(({ pair }) => !isMapping(core, pair)),
];

function splitPairs(core: Core, bytes: Uint8Array): Uint8Array[] {
  const size = pairSize(core);
  const count = Math.floor(bytes.length / size);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

function slices(pairs: readonly Uint8Array[]): Uint8Array[][] {
  const count = Math.ceil(pairs.length / AT_ONCE);
  return Array.from({ length: count }, (_, i) => pairs.slice(i * AT_ONCE, (i + 1) * AT_ONCE));
}
