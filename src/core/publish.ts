/**
 * Brings new tables before the core without stopping it: the spare copy is
 * filled, then one atomic store makes it the live one.
 */
import type { Address } from "../address.js";
import { compile, FIRST_PEER, type Own } from "../compile/compile.js";
import { networkOrder, writeEndpoints, writePeer } from "../compile/peers.js";
import { paintRoutes } from "../compile/routes.js";
import { WeftError } from "../error.js";
import type { Peer } from "../peer.js";
import { type PeerTraffic, readTraffic } from "./counters.js";
import type { Core } from "./instance.js";

/** Longer than any batch: a worker that holds the tables for this long is dead. */
const LET_GO_MS = 1000;

export class Publisher {
  readonly #core: Core;
  #indexes = new Map<string, number>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** The address ICMP answers come from. */
  setAddress(address: Address): void {
    const { view, layout } = this.#core;
    view.setUint32(layout.OWN_ADDRESS, networkOrder(address), true);
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

    paintRoutes(
      compiled.routes,
      wordsAt(layout.ROUTES_AT, 65536),
      wordsAt(layout.ROUTE_NODES_AT, (layout.MAX_ROUTE_NODES * layout.ROUTE_NODE_SIZE) / 4),
    );
    writeEndpoints(
      wordsAt(layout.ENDPOINTS_AT, 2 << layout.ENDPOINT_BITS),
      layout.ENDPOINT_BITS,
      compiled.peers,
    );
    for (const peer of compiled.peers) {
      const at = copy + layout.PEERS_AT + peer.index * layout.PEER_SIZE;
      writePeer(new DataView(memory.buffer, at, layout.PEER_SIZE), peer, own);
    }

    for (const [name, index] of indexes) if (!this.#indexes.has(name)) this.clearTraffic(index);
    this.#indexes = indexes;
    // As it stands in a VXLAN header: three octets and a zero, in network order.
    view.setUint32(layout.OWN_VNI, own.vni << 8, false);
    Atomics.store(words, layout.LIVE_COPY >> 2, spare);
  }

  /** What went to and came from a peer since it was first published. */
  traffic(name: string): PeerTraffic | undefined {
    const index = this.#indexes.get(name);
    return index === undefined ? undefined : readTraffic(this.#core, index);
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

  private clearTraffic(index: number): void {
    const { bytes, layout } = this.#core;
    bytes.fill(
      0,
      layout.TRAFFIC + index * layout.TRAFFIC_SIZE,
      layout.TRAFFIC + (index + 1) * layout.TRAFFIC_SIZE,
    );
  }
}
