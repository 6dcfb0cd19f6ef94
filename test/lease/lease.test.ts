import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { overlaps, parsePrefix, prefixOf } from "../../src/address.js";
import { WeftError } from "../../src/error.js";
import { Allocator } from "../../src/lease/allocator.js";
import { clusterOf, genesisSchema, subnets } from "../../src/lease/genesis.js";
import { flaw, type Grant, type Proof, signGrant, subnetOf } from "../../src/lease/grant.js";
import { order, settle } from "../../src/lease/ring.js";
import { allocator, cluster, founder, identity, network, proofFor } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";

const given = (answer: Proof[] | WeftError): Proof[] => {
  if (answer instanceof WeftError) throw answer;
  return answer;
};

describe("a genesis", () => {
  it.each([
    ["a network with host bits", [{ prefix: "10.244.0.1/16", leaseLength: 24 }]],
    ["a leading zero", [{ prefix: "010.244.0.0/16", leaseLength: 24 }]],
    ["a lease larger than its network", [{ prefix: "10.244.0.0/24", leaseLength: 16 }]],
    ["a lease length of 33 in IPv4", [{ prefix: "10.244.0.0/24", leaseLength: 33 }]],
    ["overlapping networks", [...network, { prefix: "10.244.7.0/24", leaseLength: 24 }]],
    ["no network", []],
    ["five networks", [1, 2, 3, 4, 5].map((n) => ({ prefix: `10.${n}.0.0/16`, leaseLength: 24 }))],
  ])("with %s is none", (_, network) => {
    expect(genesisSchema.safeParse({ network, founder: founder.publicKey }).success).toBe(false);
  });

  it("names its subnets in the order they are given: the first last", () => {
    expect([...subnets({ prefix: "10.0.0.0/22", leaseLength: 24 })]).toEqual([
      "10.0.1.0/24",
      "10.0.2.0/24",
      "10.0.3.0/24",
      "10.0.0.0/24",
    ]);
    expect([...subnets({ prefix: "10.0.0.0/24", leaseLength: 24 })]).toEqual(["10.0.0.0/24"]);
    expect([...subnets({ prefix: "fd00::/63", leaseLength: 64 })]).toEqual([
      "fd00:0:0:1::/64",
      "fd00::/64",
    ]);
  });
});

describe("the owner of the network", () => {
  it("takes the second subnet and gives the following ones", () => {
    const owner = allocator();
    const all = [founder, identity(1), identity(2)].map(({ publicKey }) =>
      given(owner.give(publicKey)),
    );
    expect(all.map(([proof]) => subnetOf(proof!))).toEqual([
      "10.244.1.0/24",
      "10.244.2.0/24",
      "10.244.3.0/24",
    ]);
  });

  it("gives the same lease to the same identity, also after a restart", () => {
    let disk: readonly Grant[] = [];
    const first = allocator([], (journal) => {
      disk = journal;
    });
    const proofs = [1, 2, 3].map((n) => given(first.give(identity(n).publicKey)));
    expect(given(first.give(identity(2).publicKey))).toEqual(proofs[1]);
    const restarted = allocator([...disk]);
    expect(given(restarted.give(identity(2).publicKey))).toEqual(proofs[1]);
    expect(subnetOf(given(restarted.give(identity(4).publicKey))[0]!)).toBe("10.244.4.0/24");
  });

  it("gives nothing that is not on its disk", () => {
    let fails = true;
    const owner = allocator([], () => {
      if (fails) throw new WeftError("STATE_WRITE", "disk full", "make room");
    });
    expect(() => owner.give(identity(1).publicKey)).toThrow("disk full");
    fails = false;
    expect(subnetOf(given(owner.give(identity(2).publicKey))[0]!)).toBe("10.244.1.0/24");
  });

  it("gives one lease in each network, or none at all", () => {
    const two = clusterOf({
      network: [
        { prefix: "10.0.0.0/16", leaseLength: 24 },
        { prefix: "fd00::/63", leaseLength: 64 },
      ],
      founder: founder.publicKey,
    });
    const saved: number[] = [];
    const save = (journal: readonly Grant[]) => void saved.push(journal.length);
    const owner = new Allocator({
      identity: founder,
      cluster: two,
      journal: [],
      reserved: [],
      save,
    });
    expect(given(owner.give(identity(1).publicKey)).map(subnetOf)).toEqual([
      "10.0.1.0/24",
      "fd00:0:0:1::/64",
    ]);
    owner.give(identity(2).publicKey);
    expect(owner.give(identity(3).publicKey)).toMatchObject({ code: "NETWORK_FULL" });
    expect(saved).toEqual([2, 4]);
  });

  it("gives nothing that overlaps what is reserved", () => {
    const reserved = ["10.244.1.0/24", "10.244.2.128/25", "10.244.4.0/22"].map(parsePrefix);
    const owner = new Allocator({
      identity: founder,
      cluster,
      journal: [],
      reserved,
      save: () => {},
    });
    const all = [1, 2].map((n) => given(owner.give(identity(n).publicKey)));
    expect(all.map(([proof]) => subnetOf(proof!))).toEqual(["10.244.3.0/24", "10.244.8.0/24"]);
  });

  it("passes what is reserved as a slow look at every subnet would, and in an instant", () => {
    const bit = (length: number) => fc.integer({ min: 0, max: 2 ** (length - 58) - 1 });
    const reservation = fc
      .integer({ min: 56, max: 68 })
      .chain((length) => fc.tuple(fc.constant(length), length > 58 ? bit(length) : fc.constant(0)))
      .map(([length, n]) => {
        const base = parsePrefix("fd00::/58").base + (BigInt(n) << BigInt(128 - length));
        return prefixOf({ family: 6, value: base }, length);
      });
    const network = { prefix: "fd00::/58", leaseLength: 64 };
    fc.assert(
      fc.property(fc.array(reservation, { maxLength: 6 }), (reserved) => {
        const isFree = (subnet: string) =>
          !reserved.some((prefix) => overlaps(prefix, parsePrefix(subnet)));
        expect([...subnets(network, reserved)]).toEqual([...subnets(network)].filter(isFree));
      }),
      { seed },
    );

    const most = ["fd00::/17", "fd00:8000::/18"].map(parsePrefix);
    const [first] = subnets({ prefix: "fd00::/16", leaseLength: 126 }, most);
    expect(first).toBe("fd00:c000::/126");
  });

  it("is the only one who gives", () => {
    const impostor = new Allocator({
      identity: identity(1),
      cluster,
      journal: [],
      reserved: [],
      save: () => {},
    });
    expect(impostor.give(identity(2).publicKey)).toMatchObject({ code: "NOT_AN_OWNER" });
  });

  it("never has two owners for one subnet, whoever asks in whatever order, up to the last one", () => {
    const small = clusterOf({
      network: [{ prefix: "10.0.0.0/21", leaseLength: 24 }],
      founder: founder.publicKey,
    });
    fc.assert(
      fc.property(
        fc.array(fc.record({ who: fc.integer({ min: 1, max: 12 }), crash: fc.boolean() }), {
          maxLength: 40,
        }),
        (steps) => {
          let disk: readonly Grant[] = [];
          const start = () =>
            new Allocator({
              identity: founder,
              cluster: small,
              journal: disk,
              reserved: [],
              save: (journal) => {
                disk = journal;
              },
            });
          let owner = start();
          const model = new Map<number, string>();
          for (const { who, crash } of steps) {
            if (crash) owner = start();
            const answer = owner.give(identity(who).publicKey);
            if (answer instanceof WeftError) {
              expect(answer.code).toBe("NETWORK_FULL");
              expect(model.size).toBe(8);
              expect(model.has(who)).toBe(false);
            } else {
              expect(flaw(small, identity(who).publicKey, answer[0]!)).toBeUndefined();
              const subnet = subnetOf(answer[0]!);
              expect(model.get(who) ?? subnet).toBe(subnet);
              model.set(who, subnet);
            }
          }
          expect(new Set(model.values()).size).toBe(model.size);
        },
      ),
      { seed, numRuns: 40 },
    );
  });
});

describe("a proof", () => {
  const [a, b, c] = [identity(1), identity(2), identity(3)];
  const grant = (from: typeof a, to: typeof a, prefix: string, sequence = 1) =>
    signGrant(from, cluster, { prefix, to: to.publicKey, sequence });
  const half = grant(founder, a, "10.244.128.0/17");

  it("may pass through many hands, in halves", () => {
    expect(flaw(cluster, b.publicKey, [half, grant(a, b, "10.244.200.0/24")])).toBeUndefined();
    const quarter = grant(a, b, "10.244.192.0/18");
    expect(
      flaw(cluster, c.publicKey, [half, quarter, grant(b, c, "10.244.193.0/24")]),
    ).toBeUndefined();
  });

  const lies: [string, Proof, string, RegExp][] = [
    ["of nothing", [], a.publicKey, /not in the cluster/],
    ["of another's lease", proofFor(b, 2), a.publicKey, /somebody else/],
    [
      "that does not begin with the founder",
      [grant(a, b, "10.244.9.0/24")],
      b.publicKey,
      /did not own/,
    ],
    ["with a gap in its chain", [half, grant(b, c, "10.244.200.0/24")], c.publicKey, /did not own/],
    ["of more than was owned", [half, grant(a, b, "10.244.1.0/24")], b.publicKey, /more was given/],
    ["outside the network", [grant(founder, a, "10.9.1.0/24")], a.publicKey, /not in the cluster/],
    ["of space that is no lease", [half], a.publicKey, /a lease ends the chain/],
    [
      "of less than a lease",
      [grant(founder, a, "10.244.1.0/25")],
      a.publicKey,
      /a lease ends the chain/,
    ],
    [
      "that grants a lease on",
      [grant(founder, a, "10.244.1.0/24"), grant(a, b, "10.244.1.0/24")],
      b.publicKey,
      /a lease ends the chain/,
    ],
    [
      "that itself made space of a lease",
      [grant(founder, a, "10.244.1.0/24"), grant(a, a, "10.244.1.0/24")],
      a.publicKey,
      /a lease ends the chain/,
    ],
  ];
  it.each(lies)("%s is refused", (_, proof, holder, why) => {
    expect(flaw(cluster, holder, proof)).toMatch(why);
  });

  it("with one changed field is refused", () => {
    const [right] = proofFor(a, 7);
    const changes: Partial<Grant>[] = [
      { prefix: "10.244.8.0/24" },
      { sequence: 8 },
      { signature: proofFor(a, 8)[0]!.signature },
    ];
    for (const change of changes)
      expect(flaw(cluster, a.publicKey, [{ ...right!, ...change }])).toBe("a signature is wrong");
    expect(flaw(cluster, b.publicKey, [{ ...right!, to: b.publicKey }])).toBe(
      "a signature is wrong",
    );
    const other = clusterOf({
      ...cluster.genesis,
      network: [
        { prefix: "10.244.0.0/16", leaseLength: 24 },
        { prefix: "10.9.0.0/16", leaseLength: 24 },
      ],
    });
    expect(flaw(other, a.publicKey, [right!])).toBe("a signature is wrong");
  });
});

describe("the ring", () => {
  // Some of these overlap: the founder lied and granted the same subnets again.
  const claims = [1, 2, 3, 4].flatMap((n) =>
    [1, 2, 3].map((who) => ({
      holder: identity(who).publicKey,
      proof: [
        signGrant(founder, cluster, {
          prefix: `10.244.${n}.0/24`,
          to: identity(who).publicKey,
          sequence: 1 + ((n * who) % 3),
        }),
      ],
    })),
  );

  it("names one holder for each subnet, the same in any order", () => {
    fc.assert(
      fc.property(
        fc
          .subarray(claims)
          .chain((some) =>
            fc.tuple(fc.constant(some), fc.shuffledSubarray(some, { minLength: some.length })),
          ),
        ([some, shuffled]) => {
          const ring = settle(some);
          expect(settle(shuffled)).toEqual(ring);
          for (const [subnet, holder] of ring.holders) {
            const rivals = some.filter(({ proof }) => subnetOf(proof) === subnet);
            const winner = rivals.find((claim) => claim.holder === holder)!;
            expect(rivals.every(({ proof }) => order(winner.proof, proof) <= 0)).toBe(true);
          }
          expect(ring.holders.size + ring.overlaps.length).toBe(some.length);
        },
      ),
      { seed },
    );
  });
});
