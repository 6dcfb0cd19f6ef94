/** What is staged, beside what the tables show. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { Compiler } from "../../src/compile/compiler.js";
import type { Peer } from "../../src/peer.js";
import { seedOfRun } from "../packets.js";
import { FIRST_SELF } from "./changes.js";

const seed = seedOfRun("staging");

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
  const compiler = new Compiler(8, { statics: [fixed] });
  const other = member({ name: "h2", mac: "02:00:00:00:00:02", leases: ["10.244.2.0/24"] });
  const peer = member(change);
  compiler.stage("1", peer);
  compiler.stage("2", other);
  const all = words ? [fixed, other] : [fixed, peer, other];
  expect([...compiler.staged()]).toEqual(all);
  expect(compiler.conflicts).toEqual(words ? [expect.stringContaining(words)] : []);
  compiler.commit(compiler.compare(FIRST_SELF));
  expect(compiler.peers).toEqual(all);
  expect(compiler.compare(FIRST_SELF).isNone).toBe(true);
  compiler.stage("1", undefined);
  expect(compiler.conflicts).toEqual([]);
  compiler.commit(compiler.compare(FIRST_SELF));
  expect(compiler.peers).toEqual([fixed, other]);
});

it("a peer that is not ready stays as the tables show it, and is staged until it is", () => {
  const compiler = new Compiler(8);
  const [before, now] = [member({}), member({ leases: ["10.244.3.0/24"] })];
  const other = member({ name: "h2", mac: "02:00:00:00:00:02", leases: ["10.244.2.0/24"] });
  compiler.stage("1", before);
  compiler.commit(compiler.compare(FIRST_SELF));
  compiler.stage("1", now);
  compiler.stage("2", other);
  // Also while what every record says changes.
  const own = { ...FIRST_SELF, vni: 2 };
  compiler.commit(compiler.compare(own, ({ name }) => name !== "h1"));
  expect(compiler.peers).toEqual([before, other]);
  expect([...compiler.staged()]).toEqual([other, now]);
  compiler.commit(compiler.compare(own));
  expect(compiler.peers).toEqual([now, other]);
});

it("brings the tables to the last staged state, whatever was refused, had to wait, or changed names", () => {
  const ids = ["1", "2", "3"];
  // A set of members in which no two have one name: who has which, by id.
  const state = fc.shuffledSubarray(["a", "b", "c", "d", "switch"]).map((names) =>
    ids.map(
      (id, i) =>
        [
          id,
          names[i] &&
            member({
              name: names[i],
              endpoint: `192.0.2.${i}:1`,
              leases: [`10.244.${i + 1}.0/24`],
            }),
        ] as const,
    ),
  );
  const waiting = fc.oneof(fc.constant<string[]>([]), fc.subarray(["a", "b", "c", "d"]));
  fc.assert(
    fc.property(fc.array(fc.tuple(state, fc.boolean(), waiting), { maxLength: 20 }), (steps) => {
      const compiler = new Compiler(8, { statics: [fixed] });
      for (const [members, isRefused, waiting] of [
        ...steps,
        ...steps.slice(-1).map(([members]) => [members, false, [] as string[]] as const),
        [ids.map((id) => [id, undefined] as const), false, [] as string[]] as const,
      ]) {
        for (const [id, peer] of members) compiler.stage(id, peer || undefined);
        const isReady = ({ name }: Peer) => !waiting.includes(name);
        const differences = compiler.compare(FIRST_SELF, isReady);
        if (isRefused) continue;
        compiler.commit(differences);
        const wanted = members.flatMap(([, peer]) => (peer && peer.name !== "switch" ? peer : []));
        expect(compiler.peers).toEqual(expect.arrayContaining(wanted.filter(isReady)));
        if (waiting.length > 0) continue;
        const byName = (peers: Iterable<Peer>) =>
          [...peers].sort((a, b) => (a.name < b.name ? -1 : 1));
        expect(byName(compiler.peers)).toEqual(byName([fixed, ...wanted]));
        expect(byName(compiler.staged())).toEqual(byName(compiler.peers));
      }
    }),
    { seed, numRuns: 500 },
  );
});
