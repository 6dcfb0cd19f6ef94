import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/address.js";
import { WeftError } from "../../src/error.js";
import { MAX_CLAIMANTS, type Tunnel } from "../../src/gossip/member-view.js";
import { Members } from "../../src/gossip/members.js";
import {
  type Envelope,
  isNodeRecord,
  LEASE_TTL,
  type NodeRecord,
} from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { nodeId } from "../../src/identity/identity.js";
import { signGrant } from "../../src/lease/grant.js";
import {
  cluster,
  envelopeOf,
  founder,
  identity,
  proofFor,
  recordOf,
  TUNNEL,
} from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";
import { type SlowView, slowView } from "../mesh/slow-members.js";
import { rounds } from "../rounds.js";

const OWN = TUNNEL;
const OVER_IPV6: Tunnel = {
  ...TUNNEL,
  underlay: { ...TUNNEL.underlay, address: parseAddress("2001:db8::fa") },
};
/** The id of a node without a record. */
const NOBODY = identity(99).id;

const verifier = new RecordVerifier(cluster);

const merged = (envelopes: readonly Envelope[]): Members => {
  const members = new Members(verifier, OWN, NOBODY);
  for (const envelope of envelopes) members.merge(envelope);
  return members;
};

const names = (members: Members): string[] =>
  [...members.view.members.values()].map(({ name }) => name).sort();

describe("merge", () => {
  it("returns the new records, or nothing", () => {
    const members = new Members(verifier, OWN, NOBODY);
    const [v1, v2] = [envelopeOf(2), envelopeOf(2, { version: 2 })];
    expect(members.merge(v2)).toMatchObject({ name: "h2", version: 2, envelope: v2 });
    expect(members.merge(v2)).toBeUndefined();
    expect(members.merge(v1)).toBeUndefined();
    expect(members.get(identity(2).id)?.envelope).toBe(v2);
  });

  it("returns an error for an invalid record, and keeps the old one", () => {
    const members = merged([envelopeOf(2)]);
    const before = members.digest;
    expect(members.merge({ ...envelopeOf(2), version: 9 })).toBeInstanceOf(WeftError);
    expect(members.merge(envelopeOf(4, { leases: [proofFor(identity(5), 5)] }))).toBeInstanceOf(
      WeftError,
    );
    expect(members.digest).toBe(before);
  });

  it("verifies only records that are newer than the ones it holds", () => {
    const opened: number[] = [];
    const watched = new (class extends RecordVerifier {
      override verify(envelope: Envelope) {
        opened.push(envelope.version);
        return super.verify(envelope);
      }
    })(cluster);
    const members = new Members(watched, OWN, NOBODY);
    for (const version of [2, 1, 2, 1, 3, 2]) members.merge(envelopeOf(2, { version }));
    members.merge({ ...envelopeOf(2, { version: 2 }), body: "x" });
    expect(opened).toEqual([2, 3]);
  });
});

describe("the members kept record by record", () => {
  // Old and new versions, equal versions with different content, colliding names, endpoints and MACs,
  // other tunnels, subnets granted twice, several leases, forgeries.
  const pool: Envelope[] = [];
  const regrant = (to: number, n: number, sequence: number, round = 0) =>
    signGrant(founder, cluster, {
      prefix: `10.244.${n}.0/24`,
      to: identity(to).publicKey,
      sequence,
      round,
    });
  for (const n of [2, 3, 4, 5]) {
    const other = 2 + (n % 4);
    for (const version of [1, 2, 3]) {
      pool.push(
        envelopeOf(n, { version }),
        envelopeOf(n, { version, name: `h${other}` }),
        envelopeOf(n, { version, vtep: `192.0.2.${other}:4789` }),
        envelopeOf(n, { version, mac: recordOf(other).mac, name: "both" }),
        envelopeOf(n, { version, withdrawn: true }),
        envelopeOf(n, { version, vni: 2 }),
        envelopeOf(n, { version, vtep: `[2001:db8::${n}]:4789` }),
        envelopeOf(n, { version, vtep: "127.0.0.1:53" }),
        envelopeOf(n, { version, mesh: "192.0.2.99:22" }),
        envelopeOf(n, { version, leases: [[regrant(n, other, 40 + n)]] }),
        envelopeOf(n, { version, leases: [proofFor(identity(n), n), [regrant(n, other, 1, 1)]] }),
        { ...envelopeOf(n, { version }), version: version + 1 },
      );
    }
  }
  pool.push(envelopeOf(6, { leases: [proofFor(identity(5), 5)] }));
  pool.push(envelopeOf(7, { leases: [[regrant(7, 2, 9)]] }));

  /** The slow, obvious twin: the newest valid record of each owner. */
  const newest = (envelopes: readonly Envelope[]): NodeRecord[] => {
    const last = new Map<string, NodeRecord>();
    for (const envelope of envelopes) {
      const record = verifier.verify(envelope);
      if (record instanceof WeftError || !isNodeRecord(record)) continue;
      const held = last.get(record.id);
      const isNewer =
        !held ||
        record.version > held.version ||
        (record.version === held.version && envelope.signature > held.envelope.signature);
      if (isNewer) last.set(record.id, record);
    }
    return [...last.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  };

  const expectSame = (members: Members, slow: SlowView) => {
    const { view } = members;
    const inOrder = (records: Iterable<NodeRecord>) =>
      [...records].map(({ envelope }) => envelope.signature).sort();
    expect(inOrder(view.members.values())).toEqual(inOrder(slow.members));
    expect(view.problems().sort()).toEqual([...slow.problems].sort());
    for (let n = 0; n < 10; n++) {
      const subnet = `10.244.${n}.0/24`;
      expect(view.holder(subnet)?.owner).toBe(slow.holders.get(subnet));
    }
  };

  it("are the same for any order, repetition and batching of the same records", () => {
    fc.assert(
      fc.property(
        fc.subarray(pool).chain((some) =>
          fc.tuple(
            fc.shuffledSubarray(some, { minLength: some.length }),
            fc.array(fc.constantFrom(...(some.length > 0 ? some : pool.slice(0, 1))), {
              maxLength: some.length === 0 ? 0 : 20,
            }),
          ),
        ),
        ([some, again]) => {
          const members = merged([...some, ...again]);
          const records = newest(some);
          expect(members.sorted().map(({ envelope }) => envelope)).toEqual(
            records.map(({ envelope }) => envelope),
          );
          expect(members.digest).toBe(merged(records.map(({ envelope }) => envelope)).digest);
          expectSame(members, slowView(records, new Set(), OWN));
        },
      ),
      { seed, numRuns: rounds(40, 100) },
    );
  });

  it("are at every moment what the slow twin makes of the records, whatever happens", () => {
    const ids = [2, 3, 4, 5, 7].map((n) => identity(n).id);
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ merge: fc.constantFrom(...pool) }) },
      { weight: 3, arbitrary: fc.record({ lapse: fc.constantFrom(...ids) }) },
      { weight: 1, arbitrary: fc.record({ drop: fc.constantFrom(...ids) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          refit: fc.constantFrom(OWN, { ...TUNNEL, vni: 2 }, OVER_IPV6),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const members = new Members(verifier, OWN, NOBODY);
        const lapsed = new Set<string>();
        let own: Tunnel = OWN;
        let before = ids.map((): (NodeRecord | undefined)[] => []);
        for (const one of steps) {
          if ("merge" in one) {
            const news = members.merge(one.merge);
            if (news && !(news instanceof WeftError)) lapsed.delete(news.id);
          } else if ("lapse" in one) {
            members.lapse(one.lapse);
            if (members.get(one.lapse)) lapsed.add(one.lapse);
          } else if ("drop" in one) {
            members.drop(one.drop, 0);
            lapsed.delete(one.drop);
          } else {
            own = one.refit;
            members.setTunnel(own);
          }
          expectSame(members, slowView(members.sorted(), lapsed, own));
          // The reported changes are all changes.
          const after = ids.map((id) => [members.get(id), members.view.members.get(id)]);
          const changed = ids.filter(
            (_, n) => after[n]![0] !== before[n]![0] || after[n]![1] !== before[n]![1],
          );
          expect([...members.takeChangedIds()].sort()).toEqual(changed.sort());
          before = after;
        }
      }),
      { seed, numRuns: 150 },
    );
  });
});

describe("a subnet that was granted to many", () => {
  const SUBNET = "10.244.7.0/24";
  const claim = (n: number, sequence: number, prefix = SUBNET) => [
    signGrant(founder, cluster, { prefix, to: identity(n).publicKey, sequence }),
  ];
  /** Claimants of one subnet, the oldest first; every fifth has a subnet of its own as well. */
  const crowd = Array.from({ length: 3 * MAX_CLAIMANTS }, (_, i) => {
    const n = 10 + i;
    const more = i % 5 === 4 ? [claim(n, 90 + i, `10.244.${n}.0/24`)] : [];
    return envelopeOf(n, { leases: [claim(n, 1 + i), ...more] });
  });
  const placed = crowd.filter((_, i) => i < MAX_CLAIMANTS || i % 5 === 4);
  const idOf = (envelope: Envelope) => nodeId(envelope.owner);
  const held = (members: Members) => members.sorted().map(({ envelope }) => envelope);

  it("has a limited number of claimants, the same in any order, and a claimant of another subnet stays", () => {
    const inOrder = [...placed].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    const shuffled = fc.shuffledSubarray(crowd, { minLength: crowd.length });
    fc.assert(
      fc.property(shuffled, fc.subarray(crowd), (all, again) => {
        const members = merged([...all, ...again]);
        expect(held(members)).toEqual(inOrder);
        expect(members.digest).toBe(merged(placed).digest);
        expect(members.view.holder(SUBNET)?.id).toBe(idOf(crowd[0]!));
      }),
      { seed, numRuns: 20 },
    );
  });

  it("a record beyond the limit is not new, is not requested again, and counts when renewed after another has gone", () => {
    const members = merged(crowd.slice(0, MAX_CLAIMANTS));
    const late = MAX_CLAIMANTS;
    const ofLate = (version: number) =>
      envelopeOf(10 + late, { version, leases: [claim(10 + late, 1 + late)] });
    expect(members.merge(ofLate(1))).toBeUndefined();
    expect(members.lacks([identity(10 + late).id, "node", 1])).toBe(false);
    expect(members.lacks([identity(10 + late).id, "node", 2])).toBe(true);
    members.drop(identity(10).id, 0);
    expect(members.merge(ofLate(1))).toBeUndefined();
    expect(members.merge(ofLate(2))).toMatchObject({ version: 2 });
  });

  it("a better claim evicts the worst, whose owner is reported as gone", () => {
    const members = merged(crowd.slice(1, MAX_CLAIMANTS + 1));
    const worst = identity(10 + MAX_CLAIMANTS).id;
    members.takeChangedIds();
    expect(members.merge(crowd[0]!)).toMatchObject({ name: "h10" });
    expect(members.get(worst)).toBeUndefined();
    expect(members.byPublicKey(identity(10 + MAX_CLAIMANTS).publicKey)).toBeUndefined();
    expect(members.lacks([worst, "node", 1])).toBe(false);
    expect(members.takeChangedIds()).toContain(worst);
  });

  it("a node that moves to a crowded subnet is gone, whether its old record arrives before the new one or after", () => {
    const first = envelopeOf(2);
    const second = envelopeOf(2, { version: 2, leases: [claim(2, 99)] });
    for (const both of [
      [first, second],
      [second, first],
    ]) {
      const members = merged([...crowd, ...both]);
      expect(members.get(identity(2).id)).toBeUndefined();
      expect(members.digest).toBe(merged(placed).digest);
    }
  });

  it("this node's own record has its place whoever else claims the subnet", () => {
    const own = envelopeOf(2, { leases: [claim(2, 99)] });
    for (const all of [
      [own, ...crowd],
      [...crowd, own],
    ]) {
      const members = new Members(verifier, OWN, identity(2).id);
      const news = all.map((envelope) => members.merge(envelope));
      expect(news[all.indexOf(own)]).toMatchObject({ name: "h2" });
      expect(members.get(identity(2).id)?.envelope).toBe(own);
      expect(members.size).toBe(placed.length + 1);
    }
  });
});

describe("the members made of the records", () => {
  it("leave out withdrawn nodes", () => {
    expect(names(merged([envelopeOf(2), envelopeOf(3, { withdrawn: true })]))).toEqual(["h2"]);
  });

  it.each([
    ["name", "--name", { name: "h2" }],
    ["underlay address", "--underlay", { vtep: "192.0.2.2:4789" }],
    ["MAC", "--state", { mac: recordOf(2).mac }],
  ])(
    "let the one with the older lease keep the %s, and say so, with a cure: %s",
    (what, cure, change) => {
      for (const records of [
        [envelopeOf(2), envelopeOf(3, change)],
        [envelopeOf(3, change), envelopeOf(2)],
      ]) {
        const view = merged(records).view;
        expect([...view.members.keys()]).toEqual([identity(2).id]);
        expect(view.problems()).toHaveLength(1);
        const [kept, refused] = [`h2 (${identity(2).id})`, `(${identity(3).id}) at `];
        for (const part of [`two nodes claim the ${what} `, `: ${kept} keeps it`, refused, cure]) {
          expect(view.problems()[0]).toContain(part);
        }
      }
    },
  );

  it("are the same however their leases are listed, and whatever they were given again", () => {
    const given = fc.record({
      lease: fc.integer({ min: 100, max: 103 }),
      sequence: fc.integer({ min: 10, max: 99 }),
      round: fc.nat(3),
    });
    const wished = fc
      .uniqueArray(given, { selector: ({ lease }) => lease, maxLength: 3 })
      .chain((more) => fc.tuple(fc.constant(more), fc.nat(more.length)));
    fc.assert(
      fc.property(fc.tuple(wished, wished, wished), (wishes) => {
        const envelopes = wishes.map(([more, place], i) => {
          const leases = more.map(({ lease, ...rest }) => [
            signGrant(founder, cluster, {
              prefix: `10.244.${lease + 10 * i}.0/24`,
              to: identity(i + 2).publicKey,
              ...rest,
            }),
          ]);
          leases.splice(place, 0, [...proofFor(identity(i + 2), i + 2)]);
          return envelopeOf(i + 2, { name: "both", leases });
        });
        expect([...merged(envelopes).view.members.keys()]).toEqual([identity(2).id]);
      }),
      { seed, numRuns: 40 },
    );
  });

  it("rank living members before those whose lease has expired, and before the dead", () => {
    const again = envelopeOf(3, { name: "h2", vtep: "192.0.2.2:4789" });
    const members = merged([envelopeOf(2)]);
    members.expire(0);
    members.expire(LEASE_TTL);
    members.merge(again);
    members.expire(LEASE_TTL);
    expect(names(members)).toEqual(["h2"]);
    expect(members.view.nameHolder("h2")?.id).toBe(identity(2).id);
    expect(members.expire(LEASE_TTL + 1).lapsed.map(({ id }) => id)).toEqual([identity(2).id]);
    expect([...members.view.members.keys()]).toEqual([identity(3).id]);
    expect(members.view.problems()).toEqual([]);

    const other = merged([envelopeOf(2), again]);
    other.lapse(identity(2).id);
    expect([...other.view.members.keys()]).toEqual([identity(3).id]);
    other.merge(envelopeOf(2, { version: 2 }));
    expect([...other.view.members.keys()]).toEqual([identity(2).id]);
  });

  it("leave out another VNI, and say so", () => {
    const view = merged([envelopeOf(2), envelopeOf(3, { vni: 2 })]).view;
    expect(view.members.size).toBe(1);
    const { id } = identity(3);
    expect(view.problems()).toEqual([
      `h3 (${id}) at 192.0.2.3:6783 uses VNI 2, this node 1: it is left out`,
    ]);
  });

  it("are not said to be left out when another takes their name and another VNI", () => {
    const liar = envelopeOf(3, { name: "h2", vni: 2 });
    const view = merged([envelopeOf(2), liar]).view;
    expect([...view.members.keys()]).toEqual([identity(2).id]);
    const [problem, ...others] = view.problems();
    expect(problem).toMatch(`h2 (${identity(3).id}) at 192.0.2.3:6783 uses VNI 2`);
    expect(problem).not.toMatch(/h2 is left out/);
    expect(others).toEqual([]);
  });

  it("leave out an underlay of the other family, and say so, whichever is this node's", () => {
    const members = merged([envelopeOf(2), envelopeOf(3, { vtep: "[2001:db8::3]:4789" })]);
    const seen = [OWN, OVER_IPV6].map((own) => {
      members.setTunnel(own);
      return [[...members.view.members.keys()], members.view.problems()];
    });
    expect(seen.map(([ids]) => ids)).toEqual([[identity(2).id], [identity(3).id]]);
    expect(seen.map(([, problems]) => problems)).toEqual([
      [
        `h3 (${identity(3).id}) at [2001:db8::3]:6783 has an IPv6 underlay ([2001:db8::3]:4789), this node an IPv4 one: it is left out`,
      ],
      [
        `h2 (${identity(2).id}) at 192.0.2.2:6783 has an IPv4 underlay (192.0.2.2:4789), this node an IPv6 one: it is left out`,
      ],
    ]);
  });

  it.each([
    ["127.0.0.1:53", "which is no other host's"],
    ["0.0.0.0:4789", "which is no other host's"],
    ["224.0.0.1:4789", "which is no other host's"],
    ["255.255.255.255:4789", "which is no other host's"],
    ["240.0.0.1:4789", "which is no other host's"],
    ["10.244.9.1:4789", "inside the overlay"],
    ["[::1]:4789", "which is no other host's"],
    ["[::]:4789", "which is no other host's"],
    ["[ff02::1]:4789", "which is no other host's"],
    ["[fe80::1]:4789", "which is no other host's"],
    ["[::ffff:c000:203]:4789", "which is no other host's"],
  ])("leave out one that says it is at %s, do not dial it, and say so", (vtep, why) => {
    const members = merged([envelopeOf(2), envelopeOf(3, { vtep })]);
    if (vtep.startsWith("[")) members.setTunnel(OVER_IPV6);
    expect(members.view.members.has(identity(3).id)).toBe(false);
    expect(members.view.problems().filter((problem) => problem.startsWith("h3"))).toEqual([
      expect.stringContaining(`says it is at ${vtep}, ${why}: it is left out`),
    ]);
    expect(members.view.mayDial(recordOf(3, { vtep }))).toBe(false);
    expect(members.view.mayDial(recordOf(2))).toBe(true);
  });

  it("leave out one whose mesh is elsewhere than its VTEP, and do not dial it", () => {
    const mesh = "127.0.0.1:22";
    const { view } = merged([envelopeOf(2), envelopeOf(3, { mesh })]);
    expect([...view.members.keys()]).toEqual([identity(2).id]);
    expect(view.problems().join()).toMatch(
      /h3 \(.*\) at 127.0.0.1:22 has its VTEP at 192.0.2.3:4789, another address than its mesh: it is left out/,
    );
    expect(view.mayDial(recordOf(3, { mesh }))).toBe(false);
  });

  it("are on the loopback where this node is, as in the demo without root", () => {
    const members = merged([envelopeOf(3, { vtep: "127.0.0.1:4790" })]);
    const underlay = { ...TUNNEL.underlay, address: parseAddress("127.0.0.1") };
    members.setTunnel({ ...TUNNEL, underlay });
    expect([...members.view.members.keys()]).toEqual([identity(3).id]);
    expect(members.view.problems()).toEqual([]);
  });

  it("give a subnet that was granted twice to the first, and say so", () => {
    const late = signGrant(founder, cluster, {
      prefix: "10.244.2.0/24",
      to: identity(9).publicKey,
      sequence: 40,
    });
    const view = merged([envelopeOf(9, { leases: [[late]] }), envelopeOf(2)]).view;
    expect([...view.members.keys()]).toEqual([identity(2).id]);
    expect(view.problems().join()).toMatch(
      /10\.244\.2\.0\/24 was granted twice: h2 .* keeps it, h9 /,
    );
  });
});
