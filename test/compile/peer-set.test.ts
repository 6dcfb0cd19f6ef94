/** What the tables lack, added up, beside what they should show. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Change } from "../../src/compile/compiler.js";
import { PeerSet } from "../../src/compile/peer-set.js";
import type { Peer } from "../../src/peer.js";
import { seedOfRun } from "../packets.js";

const seed = seedOfRun("peer-set");

const fixed: Peer = {
  name: "switch",
  endpoint: "192.0.2.9:4789",
  mac: "02:00:00:00:00:09",
  leases: ["10.244.9.0/24", "fd00:0:0:9::/64"],
};
const member = (change: Partial<Peer>): Peer => ({
  name: "h1",
  endpoint: "192.0.2.1:4789",
  mac: "02:00:00:00:00:01",
  leases: ["10.244.1.0/24"],
  ...change,
});

/** As the compiler does: who is set stays. */
function apply(tables: Map<string, Peer>, { set, remove }: Change): void {
  for (const name of remove) tables.delete(name);
  for (const peer of set) tables.set(peer.name, peer);
}

it.each<[string, Partial<Peer>, string?]>([
  ["is in nobody's way", {}],
  ["has its name", { name: "switch" }, "rename that one"],
  ["has its MAC address", { mac: fixed.mac }, "rename that one"],
  [
    "holds a part of its subnet",
    { leases: ["10.244.9.128/25"] },
    "h1 holds 10.244.9.128/25, and 10.244.9.0/24 is of the static peer switch: packets go to switch, and none to h1",
  ],
  ["holds what its subnet lies in", { leases: ["10.244.1.0/24", "fd00::/48"] }, "holds fd00::/48"],
])("beside a static peer, a member that %s", (_, change, words) => {
  const peers = new PeerSet([fixed]);
  const other = member({ name: "h2", mac: "02:00:00:00:00:02", leases: ["10.244.2.0/24"] });
  const peer = member(change);
  peers.stage("1", peer);
  peers.stage("2", other);
  expect(peers.change().set).toEqual(words ? [fixed, other] : [fixed, peer, other]);
  expect(peers.conflicts).toEqual(words ? [expect.stringContaining(words)] : []);
  peers.commit();
  expect([peers.change(), peers.size]).toEqual([{ set: [], remove: [] }, words ? 2 : 3]);
  peers.stage("1", undefined);
  expect(peers.change()).toEqual({ set: [], remove: words ? [] : ["h1"] });
  expect(peers.conflicts).toEqual([]);
});

it("leads the tables to what was noted last, whatever was refused meanwhile, and whoever took whose name", () => {
  const ids = ["1", "2", "3"];
  // A set of members in which no two have one name: who has which, by id.
  const state = fc
    .shuffledSubarray(["a", "b", "c", "d", "switch"])
    .map((names) =>
      ids.map(
        (id, i) =>
          [id, names[i] && member({ name: names[i], endpoint: `192.0.2.${i}:1` })] as const,
      ),
    );
  fc.assert(
    fc.property(fc.array(fc.tuple(state, fc.boolean()), { maxLength: 20 }), (steps) => {
      const peers = new PeerSet([fixed]);
      const tables = new Map<string, Peer>();
      for (const [members, isRefused] of [
        ...steps,
        [ids.map((id) => [id, undefined] as const), false] as const,
      ]) {
        for (const [id, peer] of members) peers.stage(id, peer || undefined);
        const change = peers.change();
        if (isRefused) continue;
        apply(tables, change);
        peers.commit();
        const wanted = members.flatMap(([, peer]) => (peer && peer.name !== "switch" ? peer : []));
        const byName = (peers: Iterable<Peer>) =>
          [...peers].sort((a, b) => (a.name < b.name ? -1 : 1));
        expect(byName(tables.values())).toEqual(byName([fixed, ...wanted]));
        expect(byName(peers.peers)).toEqual(byName(tables.values()));
      }
    }),
    { seed, numRuns: 500 },
  );
});
