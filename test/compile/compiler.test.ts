/** Differences, added up, beside everything compiled from scratch. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatEndpoint, formatMac, formatPrefix } from "../../src/address.js";
import { Compiler, type Differences } from "../../src/compile/compiler.js";
import type { PeerEntry } from "../../src/compile/peers.js";
import { NO_ROUTE } from "../../src/compile/rib.js";
import { WeftError } from "../../src/error.js";
import type { Peer } from "../../src/peer.js";
import { seedOfRun } from "../packets.js";
import { after, type Cluster, changeOf, FIRST_SELF, history } from "./changes.js";
import { compileSlowly, haveTwins, type Whole } from "./slow.js";

const seed = seedOfRun("compiler");
/** Room for five peers, so that it is full now and then. */
const PLACES = 7;

/** Tables as plain maps. They take differences only where these fit exactly. */
class Model {
  readonly peers = new Map<number, string>();
  readonly routes = new Map<string, number>();

  apply({ removed, added, routes }: Differences): void {
    for (const peer of removed) {
      expect(this.peers.get(peer.index)).toBe(textOf(peer));
      this.peers.delete(peer.index);
    }
    for (const peer of added) {
      expect(this.peers.has(peer.index)).toBe(false);
      this.peers.set(peer.index, textOf(peer));
    }
    for (const { prefix, peer } of routes) {
      expect(this.routes.get(formatPrefix(prefix)) ?? NO_ROUTE).not.toBe(peer);
      if (peer === NO_ROUTE) this.routes.delete(formatPrefix(prefix));
      else this.routes.set(formatPrefix(prefix), peer);
    }
  }

  expectToBe({ entries, routes }: Whole): void {
    expect(sorted(this.peers)).toEqual(
      sorted(entries.map((entry) => [entry.index, textOf(entry)])),
    );
    expect(sorted(this.routes)).toEqual(sorted(routes));
  }
}

const textOf = ({ endpoint, mac, senders, mtu }: PeerEntry): string =>
  [
    endpoint ? formatEndpoint(endpoint) : "no path",
    formatMac(mac),
    ...senders.map(formatEndpoint),
    mtu,
  ].join(" ");

const sorted = (pairs: Iterable<readonly [number | string, number | string]>): string[] =>
  Array.from(pairs, (pair) => pair.join(" ")).sort();

/** The differences, or nothing if they were refused. */
function unlessRefused(compare: () => Differences): Differences | undefined {
  try {
    return compare();
  } catch (error) {
    if (error instanceof WeftError) return undefined;
    throw error;
  }
}

describe("the compiler", () => {
  it("gives differences that add up to what compiling from scratch gives, and refuses the same", () => {
    const seen = { taken: 0, refused: 0, none: 0 };
    fc.assert(
      fc.property(history, (steps) => {
        const compiler = new Compiler(PLACES);
        const model = new Model();
        let stands: Cluster = { own: FIRST_SELF, peers: [] };
        for (const step of [[], ...steps]) {
          const wanted = after(stands, step);
          const places = placesOf(compiler, stands.peers);
          const { own, peers } = wanted;
          const byPart = unlessRefused(() => compiler.compare(own, changeOf(step)));
          const byAll = unlessRefused(() => compiler.compare(own, compiler.changeTo(peers)));
          const isFine = byPart !== undefined && !haveTwins(peers);
          expect(byAll !== undefined).toBe(isFine);
          const differences = steps.indexOf(step) % 2 === 0 ? byPart : (byAll ?? byPart);
          if (differences) {
            model.apply(differences);
            compiler.accept(differences);
            stands = wanted;
          }
          seen[differences ? (differences.isNone ? "none" : "taken") : "refused"]++;

          const slowly = (cluster: Cluster) =>
            compileSlowly(cluster.own, cluster.peers, PLACES, (name) => compiler.indexOf(name)!);
          expect(differences !== undefined).toBe(slowly(wanted) !== undefined);
          // Also after a refusal: what stood before stands.
          model.expectToBe(slowly(stands)!);
          const claims = compiler
            .claims()
            .map(({ prefix, index }) => [formatPrefix(prefix), index] as const);
          expect(sorted(claims)).toEqual(sorted(model.routes));
          const again = compiler.compare(stands.own, { set: stands.peers, remove: [] });
          expect(again.isNone).toBe(true);
          for (const { name } of stands.peers) {
            expect(compiler.indexOf(name)).toBe(places.get(name) ?? compiler.indexOf(name));
          }
        }
      }),
      { seed, numRuns: 1000 },
    );
    expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(1000);
  });

  const placesOf = (compiler: Compiler, peers: readonly Peer[]) =>
    new Map(peers.map(({ name }) => [name, compiler.indexOf(name)]));

  const a: Peer = {
    name: "a",
    endpoint: "192.0.2.1:4789",
    mac: "02:00:00:00:00:0a",
    leases: ["10.1.0.0/24"],
  };
  const b: Peer = {
    name: "b",
    endpoint: "192.0.2.2:4789",
    mac: "02:00:00:00:00:0b",
    leases: ["10.2.0.0/24"],
  };

  function given(...peers: Peer[]): Compiler {
    const compiler = new Compiler(PLACES);
    become(compiler, ...peers);
    return compiler;
  }
  function become(compiler: Compiler, ...peers: Peer[]): Differences {
    const differences = compiler.compare(FIRST_SELF, compiler.changeTo(peers));
    compiler.accept(differences);
    return differences;
  }

  it("has nothing to say of what is as it was, were it made anew", () => {
    const again = structuredClone([b, a]);
    expect(become(given(a, b), ...again).isNone).toBe(true);
  });

  it("sees that a peer it was given was changed in its giver's hands", () => {
    const leases = ["10.1.0.0/24"];
    const compiler = given({ ...a, leases });
    leases.push("10.9.0.0/24");
    const { routes } = become(compiler, { ...a, leases });
    expect(routes.map(({ prefix }) => formatPrefix(prefix))).toEqual(["10.9.0.0/24"]);
  });

  it("touches only the record of a peer that moves, and no route", () => {
    const moved = { ...a, endpoint: "192.0.2.9:4789" };
    const { removed, added, routes, newPlaces } = become(given(a, b), moved, b);
    const endpoints = [removed, added].map((all) =>
      all.map(({ endpoint }) => formatEndpoint(endpoint!)),
    );
    expect(endpoints).toEqual([[a.endpoint], [moved.endpoint]]);
    expect([routes, newPlaces]).toEqual([[], []]);
  });

  it("hands a prefix from one peer to another by one change of one route", () => {
    const compiler = given(a, b);
    const richer = { ...b, leases: [...a.leases, ...b.leases] };
    const { routes } = become(compiler, { ...a, leases: [] }, richer);
    expect(routes.map(({ prefix, peer }) => [formatPrefix(prefix), peer])).toEqual([
      ["10.1.0.0/24", compiler.indexOf("b")],
    ]);
  });

  it("lets peers that are reached through one VTEP share its endpoint and MAC address", () => {
    const compiler = given(a, { ...b, endpoint: a.endpoint, mac: a.mac });
    expect(() => become(compiler, a, { ...b, mac: a.mac.toUpperCase() })).toThrow(
      'peers "a" and "b" have the same MAC address 02:00:00:00:00:0A',
    );
  });

  it("gives the place of one that leaves to one that comes with the same change", () => {
    const compiler = new Compiler(3);
    become(compiler, a);
    const place = compiler.indexOf("a");
    expect(() => become(compiler, a, b)).toThrow("2 peers are more than this node can hold (1)");
    expect(become(compiler, b).newPlaces).toEqual([place]);
    expect([compiler.indexOf("a"), compiler.indexOf("b")]).toEqual([undefined, place]);
  });

  it("takes a name that goes from one to another for one that stays", () => {
    const compiler = given(a);
    const place = compiler.indexOf("a");
    const other = { ...b, name: "a" };
    compiler.accept(compiler.compare(FIRST_SELF, { set: [other], remove: ["a", "a", "nobody"] }));
    expect(compiler.indexOf("a")).toBe(place);
    expect(compiler.claims().map(({ prefix }) => formatPrefix(prefix))).toEqual([
      "10.2.0.0/24",
      "10.3.0.0/24",
    ]);
  });
});
