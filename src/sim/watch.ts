/** The watch observes all nodes from outside: leases in use, records, traffic, and double leases. */
import { createHash } from "node:crypto";
import { NODE } from "../gossip/record-kind.js";
import type { State } from "../state/store.js";
import type { Machine, TrafficListener } from "./network.js";
import type { SimNode } from "./node.js";
import type { Schedule } from "./schedule.js";

/** A published record, and the nodes that it has not reached yet. */
interface PublishedRecord {
  readonly version: number;
  readonly at: number;
  readonly missing: Set<SimNode>;
  /** The time at which it last reached a node. */
  last: number;
}

/** Bytes of headers of a datagram: Ethernet 14, IPv4 20, UDP 8. */
const DATAGRAM_HEADERS = 42;
/** Matches owner and version of each node record in a `records` message. */
const RECORD = new RegExp(`"owner":"([0-9a-f]{64})","kind":"${NODE}","version":(\\d+)`, "g");

export class Watch implements TrafficListener {
  messages = 0;
  bytes = 0;
  wireBytes = 0;
  datagrams = 0;
  /** Subnets that two nodes used at once, as text. Must stay empty. */
  readonly doubleLeases: string[] = [];
  /** Milliseconds from a record on its owner's disk until the last node had it. */
  convergence: number[] = [];
  readonly #schedule: Schedule;
  readonly #nodes = new Map<Machine, SimNode>();
  readonly #inUse = new Map<string, SimNode>();
  readonly #uses = new Map<SimNode, readonly string[]>();
  readonly #versions = new Map<string, number>();
  readonly #published = new Map<string, PublishedRecord[]>();
  /** Two rolling sums over all events. */
  #trace = [0x811c9dc5, 0x9747b28c] as [number, number];
  #follows = false;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  /** Counts traffic from now on. */
  countTraffic(): void {
    this.messages = this.bytes = this.wireBytes = this.datagrams = 0;
  }

  /** Follows the records that are written from now on, and no earlier ones. */
  followRecords(): void {
    this.#follows = true;
    this.convergence = [];
    this.#published.clear();
  }

  get traceHash(): string {
    return createHash("sha256").update(Uint32Array.from(this.#trace)).digest("hex").slice(0, 16);
  }

  /** Subnets in use now. */
  get leases(): number {
    return this.#inUse.size;
  }

  /** The number of records that have not reached all nodes. */
  get underway(): number {
    return [...this.#published.values()].reduce((sum, { length }) => sum + length, 0);
  }

  // ---- nodes

  built(node: SimNode): void {
    this.#nodes.set(node.machine, node);
    node.disk.written = (state) => this.#written(node, state);
  }

  changed(node: SimNode): void {
    const now = node.mesh?.self().leases ?? [];
    const before = this.#uses.get(node) ?? [];
    if (now.length === before.length && now.every((subnet, i) => subnet === before[i])) return;
    for (const subnet of before) this.#released(node, subnet);
    this.#uses.set(node, now);
    for (const subnet of now) this.#taken(node, subnet);
  }

  ended(node: SimNode): void {
    this.note(`${node.name} ends`);
    for (const subnet of this.#uses.get(node) ?? []) this.#released(node, subnet);
    this.#uses.delete(node);
    // Its last record may never have left it.
    this.#published.delete(node.publicKey);
    for (const [owner, births] of this.#published) {
      for (const birth of births) birth.missing.delete(node);
      this.#countConvergence(owner);
    }
  }

  /** Adds an event to the trace. */
  note(what: string): void {
    this.#mix(Math.round(this.#schedule.now * 1000));
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
  }

  #taken(node: SimNode, subnet: string): void {
    this.note(`${node.name} uses ${subnet}`);
    const other = this.#inUse.get(subnet);
    if (other && other !== node) {
      const at = (this.#schedule.now / 1000).toFixed(3);
      this.doubleLeases.push(`at ${at} s ${subnet} is used by ${other.name} and ${node.name}`);
    }
    this.#inUse.set(subnet, node);
  }

  #released(node: SimNode, subnet: string): void {
    if (this.#inUse.get(subnet) === node) this.#inUse.delete(subnet);
  }

  // ---- records

  /** Begins to follow a record when its version is on disk, which is before it is published. */
  #written(node: SimNode, state: State): void {
    const version = state.cluster?.versions[NODE] ?? 0;
    const owner = node.publicKey;
    if (version <= (this.#versions.get(owner) ?? 0)) return;
    this.#versions.set(owner, version);
    if (!this.#follows) return;
    const missing = new Set(this.#uses.keys());
    missing.delete(node);
    if (missing.size === 0) return;
    const at = this.#schedule.now;
    const births = this.#published.get(owner) ?? [];
    births.push({ version, at, missing, last: at });
    this.#published.set(owner, births);
  }

  #arrived(node: SimNode, owner: string, version: number): void {
    const births = this.#published.get(owner);
    if (!births) return;
    for (const birth of births) {
      if (birth.version > version || !birth.missing.delete(node)) continue;
      birth.last = this.#schedule.now;
    }
    this.#countConvergence(owner);
  }

  #countConvergence(owner: string): void {
    const births = this.#published.get(owner);
    if (!births?.some(({ missing }) => missing.size === 0)) return;
    for (const { missing, at, last } of births) {
      if (missing.size === 0 && last > at) this.convergence.push(last - at);
    }
    const rest = births.filter(({ missing }) => missing.size > 0);
    if (rest.length > 0) this.#published.set(owner, rest);
    else this.#published.delete(owner);
  }

  // ---- traffic

  sent(_: Machine, messageBytes: number, wireBytes: number): void {
    this.messages++;
    this.bytes += messageBytes;
    this.wireBytes += wireBytes;
  }

  datagram(from: Machine, to: Machine | undefined, bytes: number): void {
    this.datagrams++;
    this.wireBytes += bytes + DATAGRAM_HEADERS;
    this.#mix(Math.round(this.#schedule.now * 1000));
    this.#mix(from.number);
    this.#mix(to?.number ?? -1);
    this.#mix(bytes);
  }

  delivered(from: Machine, to: Machine, text: string): void {
    this.#mix(Math.round(this.#schedule.now * 1000));
    this.#mix(from.number);
    this.#mix(to.number);
    this.#mix(text.length);
    // These characters hold the message type; the keys after them differ from run to run.
    for (let i = 9; i < 16 && i < text.length; i++) this.#mix(text.charCodeAt(i));
    if (this.#published.size === 0 || !text.startsWith('{"type":"records"')) return;
    const node = this.#nodes.get(to);
    if (!node) return;
    for (const [, owner, version] of text.matchAll(RECORD)) {
      this.#arrived(node, owner!, Number(version));
    }
  }

  #mix(word: number): void {
    const [a, b] = this.#trace;
    this.#trace[0] = Math.imul(a ^ word, 0x01000193);
    this.#trace[1] = Math.imul(((b << 13) | (b >>> 19)) ^ word, 0x5bd1e995);
  }
}
