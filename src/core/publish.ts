/**
 * Brings new tables before the core without stopping it: the spare copy is
 * filled, then one atomic store makes it the live one.
 */
import { type Address, type Family, formatPrefix, toBytes } from "../address.js";
import { compile, FIRST_PEER, type Own, type Route } from "../compile/compile.js";
import { LpmTable, updateAll } from "../compile/lpm.js";
import { networkOrder, writeEndpoints, writePeer } from "../compile/peers.js";
import { NO_ROUTE, Rib, routeList } from "../compile/rib.js";
import { WeftError } from "../error.js";
import type { Peer } from "../peer.js";
import { type PeerTraffic, readTraffic } from "./counters.js";
import type { Core } from "./instance.js";

type RouteMap = ReadonlyMap<string, Route>;

/** Longer than any batch: a worker that holds the tables for this long is dead. */
const LET_GO_MS = 1000;

export class Publisher {
  readonly #core: Core;
  #indexes = new Map<string, number>();
  /** Of the tables; flows remembered under another one are decided again. */
  #generation = 0;
  /** What both copies of the tables are painted from, and by prefix what stands in it. */
  readonly #ribs = { 4: new Rib(4), 6: new Rib(6) };
  #routes: RouteMap = new Map();
  /** By copy and family. */
  readonly #tables: readonly Readonly<Record<Family, LpmTable>>[];

  constructor(core: Core) {
    this.#core = core;
    const { memory, layout } = core;
    this.#tables = [0, 1].map((copy) => {
      const at = layout.TABLES + copy * layout.COPY_SIZE;
      return {
        4: new LpmTable(memory.buffer, at + layout.LPM4_AT, layout.LPM4_SIZE),
        6: new LpmTable(memory.buffer, at + layout.LPM6_AT, layout.LPM6_SIZE),
      };
    });
  }

  /** The address ICMP answers come from. */
  setAddress(address: Address): void {
    const { view, bytes, layout } = this.#core;
    if (address.family === 4) view.setUint32(layout.OWN_ADDRESS, networkOrder(address), true);
    else bytes.set(toBytes(address), layout.OWN_ADDRESS_6);
  }

  /**
   * From the next batch on the core knows exactly these peers.
   * @throws WeftError when they contradict each other or do not fit; then nothing has changed
   */
  publish(own: Own, peers: readonly Peer[]): void {
    const indexes = this.assignIndexes(peers);
    const compiled = compile(own, peers, (name) => indexes.get(name)!);
    const { layout, view, words, memory } = this.#core;

    const live = Atomics.load(words, layout.LIVE_COPY >> 2);
    const spare = 1 - live;
    this.waitUntilLetGo(spare);
    const copy = layout.TABLES + spare * layout.COPY_SIZE;
    const wordsAt = (at: number, count: number) => new Uint32Array(memory.buffer, copy + at, count);

    // The only step that can fail, for want of room, comes first.
    const routes = this.paintRoutes(compiled.routes, spare);
    writeEndpoints(
      wordsAt(layout.ENDPOINTS_AT, 2 << layout.ENDPOINT_BITS),
      layout.ENDPOINT_BITS,
      compiled.peers,
    );
    for (const peer of compiled.peers) {
      const at = copy + layout.PEERS_AT + peer.index * layout.PEER_SIZE;
      writePeer(new DataView(memory.buffer, at, layout.PEER_SIZE), peer, own);
    }

    for (const [name, index] of indexes) if (!this.#indexes.has(name)) this.forget(index);
    this.#indexes = indexes;
    view.setUint32(copy + layout.GENERATION_AT, ++this.#generation, true);
    this.#routes = routes;
    // As it stands in a VXLAN header: three octets and a zero, in network order.
    view.setUint32(layout.OWN_VNI, own.vni << 8, false);
    Atomics.store(words, layout.LIVE_COPY >> 2, spare);
  }

  /** What went to and came from a peer since it was first published. */
  traffic(name: string): PeerTraffic | undefined {
    const index = this.#indexes.get(name);
    return index === undefined ? undefined : readTraffic(this.#core, index);
  }

  /** The largest inner packet that the way to a peer is now known to take, bytes; at most `mtu`. */
  pathMtu(name: string, mtu: number): number {
    const index = this.#indexes.get(name);
    if (index === undefined) return mtu;
    const { view, layout } = this.#core;
    const at = layout.PATH_MTU + index * layout.PATH_MTU_SIZE;
    const lower = view.getUint32(at, true);
    const isStale = view.getFloat64(layout.CLOCK, true) >= view.getFloat64(at + 8, true);
    return lower === 0 || isStale ? mtu : Math.min(lower, mtu);
  }

  /** Brings the routes of a copy up to date by what changed since the last ones. */
  private paintRoutes(routes: readonly Route[], copy: number): RouteMap {
    const wanted: RouteMap = new Map(routes.map((route) => [formatPrefix(route.prefix), route]));
    const changed = routes
      .filter(({ prefix, peer }) => this.#routes.get(formatPrefix(prefix))?.peer !== peer)
      .map(({ prefix, peer }) => ({ prefix, value: peer }));
    const gone = [...this.#routes]
      .filter(([text]) => !wanted.has(text))
      .map(([, { prefix }]) => ({ prefix, value: NO_ROUTE }));
    const changes = [...gone, ...changed];
    updateAll(
      ([4, 6] as const).map((family) => ({
        routes: this.#ribs[family],
        changes: routeList(
          family,
          changes.filter(({ prefix }) => prefix.family === family),
        ),
        table: this.#tables[copy]![family],
      })),
    );
    return wanted;
  }

  /** A peer keeps its place for as long as it stays; a newcomer takes the lowest free one. */
  private assignIndexes(peers: readonly Peer[]): Map<string, number> {
    const indexes = new Map<string, number>();
    const newcomers = new Set<string>();
    const macs = new Map<string, string>();
    for (const { name, mac } of peers) {
      if (indexes.has(name) || newcomers.has(name)) {
        throw new WeftError("PEER", `two peers are named "${name}"`, "give each its own name");
      }
      const twin = macs.get(mac.toLowerCase());
      if (twin !== undefined) {
        throw new WeftError(
          "PEER",
          `peers "${twin}" and "${name}" have the same MAC address ${mac}`,
          "every VTEP needs its own",
        );
      }
      macs.set(mac.toLowerCase(), name);
      const known = this.#indexes.get(name);
      if (known === undefined) newcomers.add(name);
      else indexes.set(name, known);
    }
    const taken = new Set(indexes.values());
    let next = FIRST_PEER;
    for (const name of newcomers) {
      while (taken.has(next)) next++;
      if (next >= this.#core.layout.MAX_PEERS) {
        throw new WeftError(
          "PEERS_FULL",
          `${peers.length} peers are more than this node can hold (${this.#core.layout.MAX_PEERS - FIRST_PEER})`,
          "split the cluster",
        );
      }
      indexes.set(name, next++);
    }
    return indexes;
  }

  /** A batch that began before the last swap may still search the copy that is spare now. */
  private waitUntilLetGo(spare: number): void {
    const { words, layout } = this.#core;
    const word = layout.COPY_IN_USE >> 2;
    const deadline = Date.now() + LET_GO_MS;
    while (Atomics.load(words, word) === spare + 1) {
      Atomics.wait(words, word, spare + 1, 1);
      if (Date.now() > deadline)
        throw new Error("the dataplane worker holds its tables: it is dead");
    }
  }

  /** A place that another peer had: what was counted and learned there is not the newcomer's. */
  private forget(index: number): void {
    const { bytes, layout } = this.#core;
    const clear = (at: number, size: number) =>
      bytes.fill(0, at + index * size, at + (index + 1) * size);
    clear(layout.TRAFFIC, layout.TRAFFIC_SIZE);
    clear(layout.PATH_MTU, layout.PATH_MTU_SIZE);
  }
}
