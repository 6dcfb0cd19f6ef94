import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import { signGrant } from "../../src/lease/grant.js";
import { Members } from "../../src/mesh/members.js";
import { Notary } from "../../src/mesh/notary.js";
import { type Envelope, LEASE_TTL } from "../../src/mesh/record.js";
import { cluster, envelopeOf, founder, identity, proofFor, recordOf } from "./cluster.js";
import { seed } from "./seed.js";

const NOW = 1_700_000_000_000;
const OWN = { vni: 1, family: 4 } as const;

const merged = (envelopes: readonly Envelope[]): Members => {
  const members = new Members(new Notary(cluster));
  for (const envelope of envelopes) members.merge(envelope);
  return members;
};

const names = (members: Members, now = NOW): string[] =>
  [...members.view(now, OWN).members.values()].map(({ name }) => name).sort();

describe("merge", () => {
  it("answers with what is new, or with nothing", () => {
    const members = new Members(new Notary(cluster));
    const [v1, v2] = [envelopeOf(2), envelopeOf(2, { version: 2 })];
    expect(members.merge(v2)).toMatchObject({ name: "h2", version: 2, envelope: v2 });
    expect(members.merge(v2)).toBeUndefined();
    expect(members.merge(v1)).toBeUndefined();
    expect(members.get(identity(2).id)?.envelope).toBe(v2);
  });

  it("answers with an error to a lie, and holds what it held", () => {
    const members = merged([envelopeOf(2)]);
    const before = members.digest;
    expect(members.merge({ ...envelopeOf(2), version: 9 })).toBeInstanceOf(WeftError);
    expect(members.merge(envelopeOf(4, { leases: [proofFor(identity(5), 5)] }))).toBeInstanceOf(
      WeftError,
    );
    expect(members.digest).toBe(before);
  });

  // Right records, old ones, equal versions with different words, colliding names, forgeries.
  const pool: Envelope[] = [];
  for (const n of [2, 3, 4, 5]) {
    for (const version of [1, 2, 3]) {
      pool.push(envelopeOf(n, { version }));
      pool.push(envelopeOf(n, { version, name: `h${2 + (n % 2)}` }));
      pool.push(envelopeOf(n, { version, withdrawn: true }));
      pool.push({ ...envelopeOf(n, { version }), version: version + 1 });
    }
  }
  pool.push(envelopeOf(6, { leases: [proofFor(identity(5), 5)] }));
  const twice = signGrant(founder, cluster, {
    prefix: "10.244.2.0/24",
    to: identity(7).publicKey,
    sequence: 9,
  });
  pool.push(envelopeOf(7, { leases: [[twice]] }));

  /** Slow and obvious: of each owner's true records, the one that sorts last. */
  const model = (records: readonly Envelope[]): Envelope[] => {
    const truths = records.filter((record) => merged([record]).sorted().length === 1);
    const owners = [...new Set(truths.map(({ owner }) => owner))];
    return owners.map(
      (owner) =>
        truths
          .filter((record) => record.owner === owner)
          .sort((a, b) => a.version - b.version || (a.signature < b.signature ? -1 : 1))
          .at(-1)!,
    );
  };

  it("gives the same state for any order, repetition and batching of the same records", () => {
    fc.assert(
      fc.property(
        fc.subarray(pool).chain((some) =>
          fc.tuple(
            fc.constant(some),
            fc.shuffledSubarray(some, { minLength: some.length }),
            fc.array(fc.nat({ max: Math.max(0, some.length - 1) }), {
              maxLength: some.length === 0 ? 0 : 20,
            }),
          ),
        ),
        ([records, shuffled, again]) => {
          const one = merged(records);
          const other = merged([...shuffled, ...again.map((i) => records[i]!)]);
          expect(other.digest).toBe(one.digest);
          expect(other.sorted()).toEqual(one.sorted());
          expect(new Set(one.sorted().map(([, { envelope }]) => envelope))).toEqual(
            new Set(model(records)),
          );
          const view = one.view(NOW, OWN);
          expect(other.view(NOW, OWN).members).toEqual(view.members);
          expect([...other.view(NOW, OWN).problems].sort()).toEqual([...view.problems].sort());
          const subnets = [...view.members.values()].flatMap(({ leases }) =>
            leases.map((proof) => proof.at(-1)!.prefix),
          );
          expect(new Set(subnets).size).toBe(subnets.length);
        },
      ),
      { seed, numRuns: 60 },
    );
  });
});

describe("the members made of the records", () => {
  it("leave out who has withdrawn", () => {
    expect(names(merged([envelopeOf(2), envelopeOf(3, { withdrawn: true })]))).toEqual(["h2"]);
  });

  it.each([
    ["name", { name: "h2" }],
    ["VTEP", { vtep: "192.0.2.2:4789" }],
    ["MAC", { mac: recordOf(2).mac }],
  ])("let the one with the older lease keep a %s, and say so", (what, change) => {
    for (const records of [
      [envelopeOf(2), envelopeOf(3, change)],
      [envelopeOf(3, change), envelopeOf(2)],
    ]) {
      const view = merged(records).view(NOW, OWN);
      expect([...view.members.keys()]).toEqual([identity(2).id]);
      expect(view.problems).toHaveLength(1);
      expect(view.problems[0]).toMatch(`two nodes claim the ${what}`);
    }
  });

  it("let the living come before the expired", () => {
    const records = [
      envelopeOf(2, { renewed: NOW - LEASE_TTL - 1 }),
      envelopeOf(3, { name: "h2" }),
    ];
    expect([...merged(records).view(NOW, OWN).members.keys()]).toEqual([identity(3).id]);
  });

  it("leave out another VNI, and say so", () => {
    const view = merged([envelopeOf(2), envelopeOf(3, { vni: 2 })]).view(NOW, OWN);
    expect(view.members.size).toBe(1);
    expect(view.problems.join()).toMatch(/h3 uses VNI 2, this node 1/);
  });

  it("leave out an underlay of the other family, and say so, whichever is this node's", () => {
    const members = merged([envelopeOf(2), envelopeOf(3, { vtep: "[2001:db8::3]:4789" })]);
    const seen = ([4, 6] as const).map((family) => members.view(NOW, { vni: 1, family }));
    expect(seen.map((view) => [...view.members.keys()])).toEqual([
      [identity(2).id],
      [identity(3).id],
    ]);
    expect(seen.map(({ problems }) => problems)).toEqual([
      ["h3 has an IPv6 underlay ([2001:db8::3]:4789), this node an IPv4 one: h3 is left out"],
      ["h2 has an IPv4 underlay (192.0.2.2:4789), this node an IPv6 one: h2 is left out"],
    ]);
  });

  it("give a subnet that was granted twice to the first, and say so", () => {
    const late = signGrant(founder, cluster, {
      prefix: "10.244.2.0/24",
      to: identity(9).publicKey,
      sequence: 40,
    });
    const view = merged([envelopeOf(9, { leases: [[late]] }), envelopeOf(2)]).view(NOW, OWN);
    expect([...view.members.keys()]).toEqual([identity(2).id]);
    expect(view.problems.join()).toMatch(
      /10\.244\.2\.0\/24 was granted twice: h2 .* keeps it, h9 /,
    );
  });
});
