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
import { rounds } from "../rounds.js";
import {
  after,
  type Changing,
  changesOf,
  clusterOf,
  FIRST,
  FIRST_SELF,
  history,
} from "./changes.js";
import { compileSlowly, haveTwins, type Whole } from "./slow.js";

const seed = seedOfRun("compiler");
const HISTORIES = rounds(400, 1_000);
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

/** Nothing if it was refused. */
function unlessRefused<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof WeftError) return undefined;
    throw error;
  }
}

/** A compiler, and the tables that it leads to beside those that are compiled from scratch. */
class Compiled {
  readonly compiler = new Compiler(PLACES);
  readonly model = new Model();
  stands = FIRST;

  /** Carries out what is staged and should lead to `wanted`; nothing if it is refused. */
  become(wanted: Changing): Differences | undefined {
    const { compiler, model } = this;
    const places = new Map(
      [...this.stands.byId.values()].map(({ name }) => [name, compiler.indexOf(name)]),
    );
    const slowly = (changing: Changing) => {
      const { own, peers } = clusterOf(changing);
      return compileSlowly(own, peers, PLACES, (name) => compiler.indexOf(name)!);
    };
    const differences = unlessRefused(() => compiler.compare(wanted.own));
    if (differences) {
      model.apply(differences);
      compiler.commit(differences);
      this.stands = wanted;
    }
    expect(differences !== undefined).toBe(slowly(wanted) !== undefined);
    // Also after a refusal: what stood before stands.
    model.expectToBe(slowly(this.stands)!);
    const claims = compiler
      .claims()
      .map(({ prefix, index }) => [formatPrefix(prefix), index] as const);
    expect(sorted(claims)).toEqual(sorted(model.routes));
    for (const { name } of this.stands.byId.values()) {
      expect(compiler.indexOf(name)).toBe(places.get(name) ?? compiler.indexOf(name));
    }
    return differences;
  }
}

describe("the compiler", () => {
  it("gives differences that add up to what compiling from scratch gives, and refuses the same", () => {
    const seen = { taken: 0, refused: 0, none: 0 };
    fc.assert(
      fc.property(history, (steps) => {
        const byPart = new Compiled();
        const atOnce = new Compiled();
        for (const step of [[], ...steps]) {
          const wanted = after(byPart.stands, step);
          for (const [id, peer] of changesOf(step)) byPart.compiler.stage(id, peer);
          const differences = byPart.become(wanted);
          seen[differences ? (differences.isNone ? "none" : "taken") : "refused"]++;
          // What was refused remains staged until it is staged otherwise.
          const { compiler, stands } = byPart;
          for (const [id] of changesOf(step)) compiler.stage(id, stands.byId.get(id));
          for (const [id, peer] of stands.byId) compiler.stage(id, peer);
          expect(byPart.become(stands)?.isNone).toBe(true);

          const { peers } = clusterOf(wanted);
          const isStaged = unlessRefused(() => atOnce.compiler.stageAll(peers) ?? true);
          const isFine = differences !== undefined && !haveTwins(peers);
          expect((isStaged ? atOnce.become(wanted) : undefined) !== undefined).toBe(isFine);
        }
      }),
      { seed, numRuns: HISTORIES },
    );
    expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(HISTORIES);
  });

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
    compiler.stageAll(peers);
    const differences = compiler.compare(FIRST_SELF);
    compiler.commit(differences);
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
    compiler.stage("1", { ...b, name: "a" });
    for (const id of ["a", "a", "nobody"]) compiler.stage(id, undefined);
    compiler.commit(compiler.compare(FIRST_SELF));
    expect(compiler.indexOf("a")).toBe(place);
    expect(compiler.claims().map(({ prefix }) => formatPrefix(prefix))).toEqual([
      "10.2.0.0/24",
      "10.3.0.0/24",
    ]);
  });

  it("refuses two peers of one name, and gives one that takes another name another place", () => {
    const compiler = given(a);
    compiler.stage("1", { ...b, name: "a" });
    expect(() => compiler.compare(FIRST_SELF)).toThrow('two peers are named "a"');
    expect(() => compiler.stageAll([a, { ...b, name: "a" }])).toThrow('two peers are named "a"');
    compiler.stage("a", { ...a, name: "c" });
    const { newPlaces } = compiler.compare(FIRST_SELF);
    expect(newPlaces).not.toContain(compiler.indexOf("a"));
    expect(newPlaces).toHaveLength(1);
  });
});
