/** What the publisher leaves in the core's memory: beside tables made at once, and while one peer comes and goes. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { covers, type Prefix, parsePrefix, toBytes } from "../../src/address.js";
import { writePeer } from "../../src/compile/peers.js";
import { NO_ROUTE } from "../../src/compile/rib.js";
import { Core } from "../../src/core/instance.js";
import { Publisher } from "../../src/core/publish.js";
import { WeftError } from "../../src/error.js";
import type { Peer } from "../../src/peer.js";
import { A, B, C, Host, hostOf, read } from "../core/host.js";
import { ipv4, seedOfRun, UDP, udp, vxlan } from "../packets.js";
import { after, type Cluster, clusterOf, FIRST, FIRST_SELF, history, PREFIXES } from "./changes.js";
import { compileSlowly, endpointsSlowly, type Whole } from "./slow.js";

const seed = seedOfRun("publish");

describe("the tables", () => {
  it("are the same as if made at once, whatever was published and refused before", async () => {
    const core = await Core.create();
    fc.assert(
      fc.property(history, (steps) => {
        const tables = new Tables(core);
        let stands = FIRST;
        for (const step of [[], ...steps]) {
          const wanted = after(stands, step);
          if (tables.publish(clusterOf(wanted))) stands = wanted;
          tables.expectToBe(clusterOf(stands));
        }
      }),
      { seed, numRuns: 20 },
    );
  });

  it("stay as they were when there is no room for the routes, and take what fits afterwards", async () => {
    const whole = await Core.create();
    // A table of routes with room for little more than its root.
    const layout = { ...whole.layout, LPM6_SIZE: 6.25 * 2 ** 20 };
    const core: Core = Object.assign(Object.create(Core.prototype), whole, { layout });
    const tables = new Tables(core);
    const peer = (n: number, leases: string[] = []): Peer => ({
      name: `p${n}`,
      endpoint: `192.0.2.${n}:4789`,
      mac: `02:00:00:00:00:0${n}`,
      leases,
    });
    const few: Cluster = { own: FIRST_SELF, peers: [peer(2, [PREFIXES[0]!]), peer(3)] };
    const scattered = Array.from({ length: 4000 }, (_, i) => `fd00:${i.toString(16)}::1/128`);
    const many: Cluster = { own: FIRST_SELF, peers: [peer(4, scattered), peer(2), peer(5)] };
    const fewer: Cluster = { own: FIRST_SELF, peers: [peer(5, PREFIXES.slice(-1)), peer(3)] };
    let last = few;
    for (const [cluster, fits] of [
      [few, true],
      [many, false],
      [fewer, true],
      [many, false],
      [few, true],
    ] as const) {
      const live = tables.live;
      expect(tables.publish(cluster)).toBe(fits);
      expect(tables.live === live).toBe(!fits);
      tables.expectToBe(fits ? cluster : last);
      if (fits) last = cluster;
    }
  });
});

it("nothing is written into tables that a batch still searches", async () => {
  const { core, layout, publisher } = await Host.create({ peers: [B] });
  const publish = (...peers: Peer[]) => publisher.publish(FIRST_SELF, peers);
  core.exports.beginBatch();
  const searched = Atomics.load(core.words, layout.LIVE_COPY >> 2);
  const at = layout.TABLES + searched * layout.COPY_SIZE;
  const digest = () =>
    createHash("sha1")
      .update(core.bytes.subarray(at, at + layout.COPY_SIZE))
      .digest("hex");
  const before = digest();
  publish(B, C);
  expect(() => publish(C)).toThrow("it is dead");
  expect(digest()).toBe(before);
  core.exports.finishBatch(layout.OUT);
  publish(C);
  expect(digest()).not.toBe(before);
});

/** A publisher and its two copies, the live one beside one made at once. */
class Tables {
  readonly #core: Core;
  readonly #publisher: Publisher;

  constructor(core: Core) {
    const { TABLES, COPY_SIZE } = core.layout;
    core.bytes.fill(0, TABLES, TABLES + 2 * COPY_SIZE);
    this.#core = core;
    this.#publisher = new Publisher(core);
  }

  publish({ own, peers }: Cluster): boolean {
    try {
      this.#publisher.publish(own, peers);
      return true;
    } catch (error) {
      if (error instanceof WeftError) return false;
      throw error;
    }
  }

  expectToBe({ own, peers }: Cluster): void {
    const { layout } = this.#core;
    const places = new Map(peers.map(({ name }) => [name, this.#publisher.placeOf(name)]));
    const whole = compileSlowly(own, peers, layout.MAX_PEERS, (name) => places.get(name)!)!;
    const records = Buffer.alloc(layout.ENDPOINTS_AT - layout.PEERS_AT);
    for (const entry of whole.entries) {
      const at = entry.index * layout.PEER_SIZE;
      writePeer(
        new DataView(records.buffer, records.byteOffset + at, layout.PEER_SIZE),
        entry,
        own,
        layout,
      );
    }
    expect(records.equals(this.#part(layout.PEERS_AT, layout.ENDPOINTS_AT))).toBe(true);
    const endpoints = endpointsSlowly(
      layout.ENDPOINT_BITS,
      whole.entries.flatMap(({ endpoint, senders, index }) =>
        [endpoint ?? [], senders].flat().map(({ address }) => ({ address, peer: index })),
      ),
    );
    const end = layout.ENDPOINTS_AT + endpoints.byteLength;
    expect(Buffer.from(endpoints.buffer).equals(this.#part(layout.ENDPOINTS_AT, end))).toBe(true);
    for (const prefix of PREFIXES.map(parsePrefix)) {
      expect(this.#lookup(prefix)).toBe(lookupSlowly(whole, prefix));
    }
  }

  /** Where the copy that is searched begins. */
  get live(): number {
    const { layout, words } = this.#core;
    return layout.TABLES + Atomics.load(words, layout.LIVE_COPY >> 2) * layout.COPY_SIZE;
  }

  #part(from: number, end: number): Uint8Array {
    return this.#core.bytes.subarray(this.live + from, this.live + end);
  }

  /** What the core finds for the first address of a prefix. */
  #lookup({ family, base }: Prefix): number {
    const { layout, bytes, view, exports } = this.#core;
    bytes.set(toBytes({ family, value: base }), layout.SLOTS);
    return family === 4
      ? exports.lookup4(this.live + layout.LPM4_AT, view.getUint32(layout.SLOTS, true))
      : exports.lookup6(this.live + layout.LPM6_AT, layout.SLOTS);
  }
}

/** No two routes overlap, so at most one holds the address. */
function lookupSlowly({ routes }: Whole, { family, base }: Prefix): number {
  const address = { family, base, length: family === 4 ? 32 : 128 };
  const found = [...routes].find(([text]) => covers(parsePrefix(text), address));
  return found?.[1] ?? NO_ROUTE;
}

describe("a peer that comes and goes a thousand times", () => {
  const FLAPS = 1000;
  const peerOf = (n: number): Peer => ({
    name: `p${n}`,
    endpoint: `192.0.2.${n}:4789`,
    mac: `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`,
    leases: [`10.244.${n}.0/24`, `fd00:0:0:${n}::/64`],
    // One relay for all.
    senders: [`192.0.2.${n}:4789`, "198.51.100.1:4789"],
  });
  const flapping = peerOf(20);
  const others = Array.from({ length: 8 }, (_, i) => peerOf(16 + i)).filter(
    ({ name }) => name !== flapping.name,
  );
  const all = [...others, flapping];

  const packet = (from: Peer, to: Peer) => {
    const [src, dst] = [hostOf(from), hostOf(to)];
    return ipv4({ src, dst, protocol: UDP, payload: udp(src, dst, new Uint8Array(36)) });
  };
  const toAll = all.map((peer) => packet(A, peer));

  it("takes nothing from the packets, the counters and the records of the others", async () => {
    const host = await Host.create({ peers: all });
    const { layout, core, publisher } = host;
    const recordsOf = (peers: readonly Peer[]) =>
      [0, 1].map((copy) =>
        peers.map(({ name }) => {
          const at =
            layout.TABLES +
            copy * layout.COPY_SIZE +
            layout.PEERS_AT +
            publisher.placeOf(name)! * layout.PEER_SIZE;
          return Buffer.from(core.bytes.subarray(at, at + layout.PEER_SIZE)).toString("hex");
        }),
      );
    host.setPeers(others);
    const before = recordsOf(others);
    const inbound = all.map((peer, i) => ({
      from: i % 2 === 0 ? peer.endpoint : "198.51.100.1:4789",
      bytes: vxlan(packet(peer, A)),
    }));
    for (let flap = 0; flap < FLAPS; flap++) {
      const isThere = flap % 2 === 1;
      host.setPeers(isThere ? all : others);
      const expected = all.map((peer) => peer !== flapping || isThere);
      const { verdicts: out } = host.send(toAll.map((bytes) => read(bytes)));
      const { verdicts: inn } = host.receive(inbound);
      expect(out.map((verdict) => verdict === "delivered")).toEqual(expected);
      expect(inn.map((verdict) => verdict === "delivered")).toEqual(expected);
      expect(recordsOf(others)).toEqual(before);
    }
    for (const { name } of others) {
      expect(publisher.traffic(name)).toMatchObject({
        sentPackets: FLAPS,
        receivedPackets: FLAPS,
      });
    }
    expect(publisher.traffic(flapping.name)).toMatchObject({ sentPackets: 1, receivedPackets: 1 });
  });

  it("takes nothing from the others while another thread sends", async () => {
    const host = await Host.create({ peers: all });
    const { layout } = host;
    const { module, memory } = host.core;
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const [STOP, BATCHES] = [0, 1];
    const worker = new Worker(new URL("batches.mjs", import.meta.url), {
      workerData: { module, memory, layout, packets: toAll, shared },
    });
    for (let flap = 0; flap < FLAPS; flap++) {
      // A batch ends at least between two flaps; where in it they fall is chance.
      Atomics.wait(shared, BATCHES, Atomics.load(shared, BATCHES));
      host.setPeers(flap % 2 === 0 ? others : all);
    }
    Atomics.store(shared, STOP, 1);
    const [delivered] = (await once(worker, "message")) as [number[]];
    const batches = shared[BATCHES]!;
    expect(batches).toBeGreaterThanOrEqual(FLAPS);
    expect(new Set(delivered.filter((_, i) => all[i] !== flapping))).toEqual(new Set([batches]));
    for (const { name } of others) {
      expect(host.publisher.traffic(name)).toMatchObject({ sentPackets: batches });
    }
  });
});
