import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  covers,
  formatPrefix,
  overlaps,
  type Prefix,
  parsePrefix,
  prefixOf,
} from "../../src/address.js";
import { MAX_JOURNAL, MAX_SPLIT_DEPTH } from "../../src/lease/allocator.js";
import { clusterOf, genesisSchema } from "../../src/lease/genesis.js";
import {
  flawOfGrant,
  flawOfLease,
  type Grant,
  grantSchema,
  type Proof,
  sequenceAt,
  signGrant,
  subnetOf,
} from "../../src/lease/grant.js";
import { MAX_REVOKED } from "../../src/lease/ledger.js";
import { compareAges, compareProofs, oldestProof } from "../../src/lease/proof-order.js";
import { blockToGrant, firstLeases, freeBlocks, sizeOf } from "../../src/lease/space.js";
import { MAX_TIME } from "../../src/time/clock.js";
import { cluster, founder, identity, network, Owner, proofFor } from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";
import { ageOf, slowHolders } from "./slow-holders.js";

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
});

describe("free space", () => {
  const network = parsePrefix("fd00::/58");
  const bit = (length: number) => fc.integer({ min: 0, max: 2 ** (length - 58) - 1 });
  const some = fc
    .integer({ min: 58, max: 68 })
    .chain((length) => fc.tuple(fc.constant(length), bit(length)))
    .map(([length, n]) =>
      prefixOf({ family: 6, value: network.base + (BigInt(n) << BigInt(128 - length)) }, length),
    );
  const leases = Array.from({ length: 64 }, (_, n) => ({
    ...network,
    base: network.base + (BigInt(n) << 64n),
    length: 64,
  }));

  it("equals the result of a slow check of every lease", () => {
    fc.assert(
      fc.property(fc.array(some, { maxLength: 6 }), (taken) => {
        const slow = leases.filter((lease) => !taken.some((prefix) => overlaps(prefix, lease)));
        const blocks = freeBlocks(network, taken, 64);
        const fast = leases.filter((lease) => blocks.some((block) => covers(block, lease)));
        expect(fast).toEqual(slow);
        const size = blocks.reduce((sum, block) => sum + sizeOf(block), 0n) >> 64n;
        expect(Number(size)).toBe(slow.length);

        const grant = blockToGrant(blocks, 64);
        const given = leases.filter((lease) => grant && covers(grant, lease));
        expect(given.every((lease) => slow.includes(lease))).toBe(true);
        expect(given.length).toBeLessThanOrEqual(Math.ceil(slow.length / 2));
        expect(4 * given.length >= slow.length || given.length === largest(blocks)).toBe(true);
        for (const count of [1, 2, 16]) {
          const first = firstLeases(blocks, 64, { last: network.base, count });
          const wanted = [...slow].sort((a, b) => isLast(a) - isLast(b)).slice(0, count);
          expect(first).toEqual(wanted);
        }
      }),
      { seed },
    );
  });

  const isLast = ({ base }: Prefix): number => Number(base === network.base);

  const largest = (blocks: readonly Prefix[]): number =>
    Math.max(0, ...blocks.map((block) => Number(sizeOf(block) >> 64n)));

  it("of a large network is found in an instant", () => {
    const most = ["fd00::/17", "fd00:8000::/18"].map(parsePrefix);
    const blocks = freeBlocks(parsePrefix("fd00::/16"), most, 126);
    expect(formatPrefix(firstLeases(blocks, 126, { last: 0n, count: 1 })[0]!)).toBe(
      "fd00:c000::/126",
    );
  });
});

describe("an owner of space", () => {
  const small = clusterOf({
    network: [{ prefix: "10.0.0.0/21", leaseLength: 24 }],
    founder: founder.publicKey,
  });

  it("takes the second subnet of a network, and gives half of what is free, from above", () => {
    const owner = new Owner();
    owner.allocator.takeLeases();
    expect(owner.disk.leases.map(subnetOf)).toEqual(["10.244.1.0/24"]);
    const given = [1, 2, 3].map((n) => subnetOf(owner.give(identity(n))[0]!));
    expect(given).toEqual(["10.244.128.0/17", "10.244.64.0/18", "10.244.32.0/19"]);
  });

  it("gives down to its last free subnet, and says so when there is none", () => {
    const owner = new Owner(founder, small);
    owner.allocator.takeLeases();
    const given = [1, 2, 3].map((n) => subnetOf(owner.give(identity(n))[0]!));
    expect(given).toEqual(["10.0.4.0/22", "10.0.2.0/23", "10.0.0.0/24"]);
    expect(() => owner.give(identity(4))).toThrow(
      expect.objectContaining({ code: "NETWORK_FULL" }),
    );
  });

  it("says of each grant when it was made, later than the one before though its clock was set back", () => {
    const owner = new Owner();
    const morning = Date.UTC(2026, 0, 1);
    for (const [n, now] of [morning, morning, morning + 60_000, 0].entries()) {
      owner.now = now;
      owner.give(identity(n + 1));
    }
    const first = sequenceAt(morning);
    expect(owner.disk.journal.map(({ sequence }) => sequence)).toEqual(
      [0, 1, 60, 61].map((more) => first + more),
    );
  });

  it("gives on though its clock was at the end of time", () => {
    const owner = new Owner();
    owner.now = MAX_TIME;
    owner.give(identity(1));
    const [proof] = owner.give(identity(2));
    expect(flawOfGrant(cluster, identity(2).publicKey, proof!)).toBeUndefined();
    expect(grantSchema.safeParse(proof![0]).success).toBe(true);
  });

  it("gives the same to the same identity, also after a crash", () => {
    const owner = new Owner();
    const proofs = [1, 2, 3].map((n) => owner.give(identity(n)));
    expect(owner.give(identity(2))).toEqual(proofs[1]);
    owner.crash();
    expect(owner.give(identity(2))).toEqual(proofs[1]);
    expect(owner.disk.journal).toHaveLength(3);
  });

  it("gives nothing that is not on its disk", () => {
    const owner = new Owner();
    owner.full = true;
    expect(() => owner.give(identity(1))).toThrow("disk full");
    owner.full = false;
    expect(subnetOf(owner.give(identity(2))[0]!)).toBe("10.244.128.0/17");
  });

  it("gives in each network that is asked for", () => {
    const two = clusterOf({
      network: [
        { prefix: "10.0.0.0/24", leaseLength: 24 },
        { prefix: "fd00::/63", leaseLength: 64 },
      ],
      founder: founder.publicKey,
    });
    const owner = new Owner(founder, two);
    expect(owner.give(identity(1)).map(subnetOf)).toEqual(["10.0.0.0/24", "fd00:0:0:1::/64"]);
    expect(owner.give(identity(2)).map(subnetOf)).toEqual(["fd00::/64"]);
    expect(() => owner.give(identity(3))).toThrow(
      expect.objectContaining({ code: "NETWORK_FULL" }),
    );
  });

  it("gives nothing that overlaps what is reserved", () => {
    const owner = new Owner(founder, small);
    owner.reserved = ["10.0.1.0/24", "10.0.2.128/25", "10.0.4.0/22"].map(parsePrefix);
    owner.crash();
    owner.allocator.takeLeases();
    expect(owner.disk.leases.map(subnetOf)).toEqual(["10.0.3.0/24"]);
    expect(subnetOf(owner.give(identity(1))[0]!)).toBe("10.0.0.0/24");
    expect(() => owner.give(identity(2))).toThrow("no node that was asked has free space");
  });

  it("gives nothing that another node can prove, whatever its own disk has forgotten", () => {
    const owner = new Owner(founder, small);
    const before = owner.disk;
    const friend = new Owner(identity(1), small);
    friend.allocator.accept(owner.give(identity(1)));
    friend.allocator.takeLeases();
    expect(friend.disk.leases.map(subnetOf)).toEqual(["10.0.4.0/24"]);
    owner.disk = before;
    owner.crash();
    owner.claims = [...friend.disk.leases];
    expect(subnetOf(owner.give(identity(2))[0]!)).toBe("10.0.2.0/23");
  });

  it("is every node that was granted some: the founder is not needed", () => {
    const owner = new Owner(founder, small);
    const friend = new Owner(identity(1), small);
    expect(() => friend.give(identity(2))).toThrow(/no node that was asked/);
    friend.allocator.accept(owner.give(identity(1)));
    friend.allocator.takeLeases();
    const [proof] = friend.give(identity(2));
    expect(proof!.map(({ prefix }) => prefix)).toEqual(["10.0.4.0/22", "10.0.6.0/23"]);
    expect(flawOfGrant(small, identity(2).publicKey, proof!)).toBeUndefined();
    expect(flawOfLease(small, identity(2).publicKey, proof!)).toMatch(/a lease ends the chain/);
  });

  it("gives single leases when its space came through many hands: no proof grows without end", () => {
    const long = clusterOf({
      network: [{ prefix: "fd00::/16", leaseLength: 64 }],
      founder: founder.publicKey,
    });
    let granter = new Owner(founder, long);
    granter.allocator.takeLeases();
    for (let n = 1; n <= MAX_SPLIT_DEPTH; n++) {
      const next = new Owner(identity(n), long);
      next.allocator.accept(granter.give(next.identity));
      next.allocator.takeLeases();
      granter = next;
    }
    expect(granter.disk.leases[0]).toHaveLength(MAX_SPLIT_DEPTH + 1);
    const [proof] = granter.give(identity(99));
    expect(proof).toHaveLength(MAX_SPLIT_DEPTH + 1);
    expect(flawOfLease(long, identity(99).publicKey, proof!)).toBeUndefined();
  });
});

describe("the data that others can make a node write down", () => {
  /** An owner that has granted a lease, and got it back, `n` times. */
  const worn = (n: number): Owner => {
    const owner = new Owner();
    const { publicKey: to } = identity(9);
    const journal: Grant[] = Array.from({ length: n }, (_, i) => ({
      prefix: "10.244.255.0/24",
      from: founder.publicKey,
      to,
      sequence: i + 1,
      round: i,
      signature: i.toString(16).padStart(128, "0"),
    }));
    owner.disk = { ...owner.disk, journal, revoked: journal.map(({ signature }) => signature) };
    return owner;
  };

  it("ends with the journal: then it grants no more, says so, and still knows its grants", () => {
    const owner = worn(MAX_JOURNAL - 1);
    expect(owner.allocator.free).toEqual([8]);
    const grant = owner.give(identity(2));
    expect(owner.allocator.free).toEqual([null]);
    expect(owner.allocator.exhausted).toMatchObject({ code: "JOURNAL_FULL" });
    expect(() => owner.give(identity(3))).toThrow("grants no more");
    expect(owner.give(identity(2))).toEqual(grant);
    expect(owner.disk.journal).toHaveLength(MAX_JOURNAL);
    owner.allocator.takeLeases();
    expect(owner.disk.leases).toHaveLength(1);
  });

  it("ends with the revoked grants: then it accepts no return, and the receiver stays the owner", () => {
    const owner = worn(MAX_REVOKED - 1);
    const [first, second] = [identity(2), identity(3)];
    const [grant] = owner.give(first);
    owner.disk = { ...owner.disk, journal: owner.disk.journal.slice(-1) };
    const [other] = owner.give(second);
    const returned = (to: typeof first, proof: Proof) =>
      owner.revocations.acceptReturn(to.publicKey, [proof.at(-1)!.signature], []);
    expect(returned(first, grant!)).toEqual([subnetOf(grant!)]);
    expect(returned(second, other!)).toEqual([]);
    expect(owner.disk.revoked).toHaveLength(MAX_REVOKED);
    expect(owner.ledger.unseen).toEqual([other]);
  });

  it("ends for grants that it does not need as well: it ignores them", () => {
    const granter = new Owner();
    const receiver = new Owner(identity(2));
    receiver.allocator.accept(granter.give(receiver.identity));
    receiver.allocator.takeLeases();
    const grant = (n: number) => {
      const { publicKey: to } = receiver.identity;
      return [signGrant(founder, cluster, { prefix: `10.244.${n}.0/24`, to, sequence: n })];
    };
    expect(receiver.allocator.accept([grant(3)])).toHaveLength(1);
    receiver.disk = { ...receiver.disk, revoked: worn(MAX_REVOKED).disk.revoked };
    const before = receiver.disk;
    expect(receiver.allocator.accept([grant(4)])).toEqual([]);
    expect(receiver.revocations.dropUnused()).toEqual([]);
    expect(receiver.disk).toBe(before);
  });
});

describe("space of a node that is gone", () => {
  const small = clusterOf({
    network: [{ prefix: "10.0.0.0/21", leaseLength: 24 }],
    founder: founder.publicKey,
  });
  const joined = (n: number, granter: Owner) => {
    const node = new Owner(identity(n), small);
    node.allocator.accept(granter.give(node.identity));
    node.allocator.takeLeases();
    return node;
  };
  const started = () => {
    const owner = new Owner(founder, small);
    owner.allocator.takeLeases();
    const dead = joined(1, owner);
    const child = joined(2, dead);
    owner.claims = [...dead.disk.leases, ...child.disk.leases];
    return { owner, dead, child };
  };
  const gone = ({ identity, disk }: Owner) => [identity.publicKey, disk.leases] as const;

  it("is revoked by its granter alone, except for what the gone node granted to others", () => {
    const { owner, dead, child } = started();
    expect(child.revocations.revoke(...gone(dead))).toEqual(new Set([founder.publicKey]));
    expect(dead.revocations.revoke(...gone(owner))).toEqual(new Set([founder.publicKey]));
    expect(owner.revocations.revoke(...gone(child))).toEqual(new Set([dead.identity.publicKey]));
    expect(owner.revocations.revoke(...gone(dead))).toEqual(new Set());
    const fresh = [3, 4, 5].map((n) => joined(n, owner));
    const leases = [owner, child, ...fresh].flatMap(({ disk }) => disk.leases.map(subnetOf));
    expect(new Set(leases).size).toBe(leases.length);
    expect(fresh.flatMap(({ disk }) => disk.leases.map(subnetOf))).toContain("10.0.4.0/24");
  });

  it("is revoked also if the receiver never showed it", () => {
    const owner = new Owner();
    const [gone, other] = [identity(2), identity(3)];
    const [grant] = owner.give(gone);
    owner.give(other);
    expect(owner.ledger.unseen).toHaveLength(2);
    expect(owner.revocations.revokeUnseen(gone.id)).toEqual([subnetOf(grant!)]);
    owner.crash();
    expect(owner.ledger.unseen.map((proof) => proof.at(-1)!.to)).toEqual([other.publicKey]);
    expect(owner.revocations.revokeUnseen(gone.id)).toEqual([]);
    const [again] = owner.give(identity(4));
    expect(again!.at(-1)).toMatchObject({ prefix: "10.244.192.0/18", round: 1 });
  });

  it("stands in a later round, so the gone node loses it wherever both are seen", () => {
    const { owner, dead, child } = started();
    owner.revocations.revoke(...gone(dead));
    const fresh = [3, 4, 5].map((n) => joined(n, owner));
    const all = [owner, dead, child, ...fresh].flatMap(({ identity, disk }) =>
      disk.leases.map((proof) => ({ holder: identity.publicKey, proof })),
    );
    const heir = fresh.find(({ disk }) => subnetOf(disk.leases[0]!) === "10.0.4.0/24")!;
    for (const claims of [all, [...all].reverse()]) {
      const { holders, overlaps } = slowHolders(claims);
      expect(holders.get("10.0.4.0/24")).toBe(heir.identity.publicKey);
      expect(overlaps.map(({ refused }) => refused)).toEqual([dead.identity.publicKey]);
    }
  });

  it("is revoked by the granter's granter when the granter was forgotten as well", () => {
    const { owner, dead, child } = started();
    owner.revocations.revoke(...gone(dead));
    expect(owner.revocations.revoke(...gone(child))).toEqual(new Set());
    owner.crash();
    const given = [3, 4, 5].map((n) => joined(n, owner));
    expect(given.flatMap(({ disk }) => disk.leases).length).toBe(3);
    expect(subnetOf(given[0]!.disk.leases[0]!)).toBe("10.0.4.0/24");
  });

  it("is revoked however often its grant is revoked already", () => {
    const { owner, dead } = started();
    const grant = "ab".repeat(64);
    owner.disk = { ...owner.disk, revoked: Array.from({ length: 24 }, () => grant) };
    owner.revocations.revoke(...gone(dead));
    const { signature } = dead.disk.spaces[0]!.at(-1)!;
    expect(owner.disk.revoked).toContain(signature);
    expect(owner.disk.revokedByOperator).toContain(signature);
    expect(owner.ledger.attestedTo(dead.identity.publicKey)).toEqual([]);
  });

  it("is not the gone node's when it comes back: it is given other", () => {
    const { owner, dead } = started();
    const before = dead.disk.spaces[0]!;
    const { publicKey } = dead.identity;
    owner.revocations.revoke(...gone(dead));
    const [proof] = owner.give(dead.identity);
    expect(
      dead.revocations.keepConfirmed(founder.publicKey, owner.ledger.attestedTo(publicKey)),
    ).toBe(true);
    expect(dead.disk.leases).toEqual([]);
    dead.allocator.accept([proof!]);
    dead.allocator.takeLeases();
    expect(dead.disk.leases[0]!.slice(0, -1)).toEqual(proof);
    expect(dead.disk.spaces).toEqual([proof]);
    dead.allocator.accept([before]);
    expect(dead.disk.spaces).toEqual([proof]);
  });

  it("stays its own when it was not revoked", () => {
    const { owner, dead } = started();
    const before = dead.disk;
    const counting = owner.ledger.attestedTo(dead.identity.publicKey);
    expect(dead.revocations.keepConfirmed(founder.publicKey, counting)).toBe(false);
    expect(dead.disk).toEqual(before);
  });
});

describe("a proof", () => {
  const [a, b, c] = [identity(1), identity(2), identity(3)];
  const grant = (from: typeof a, to: typeof a, prefix: string, sequence = 1) =>
    signGrant(from, cluster, { prefix, to: to.publicKey, sequence });
  const half = grant(founder, a, "10.244.128.0/17");

  it("may pass through many hands, in halves", () => {
    expect(
      flawOfLease(cluster, b.publicKey, [half, grant(a, b, "10.244.200.0/24")]),
    ).toBeUndefined();
    const quarter = grant(a, b, "10.244.192.0/18");
    expect(
      flawOfLease(cluster, c.publicKey, [half, quarter, grant(b, c, "10.244.193.0/24")]),
    ).toBeUndefined();
  });

  const lies: [string, Proof, string, RegExp][] = [
    ["of nothing", [], a.publicKey, /not in the cluster/],
    ["of another's lease", proofFor(b, 2), a.publicKey, /another node/],
    [
      "that does not begin with the founder",
      [grant(a, b, "10.244.9.0/24")],
      b.publicKey,
      /did not own/,
    ],
    ["with a gap in its chain", [half, grant(b, c, "10.244.200.0/24")], c.publicKey, /did not own/],
    [
      "of more than was owned",
      [half, grant(a, b, "10.244.1.0/24")],
      b.publicKey,
      /exceeds what the granter owned/,
    ],
    [
      "of space at the end of the longest chain",
      [grant(founder, a, half!.prefix), ...Array(31).fill(grant(a, a, half!.prefix))],
      a.publicKey,
      /too long for a lease/,
    ],
    ["outside the network", [grant(founder, a, "10.9.1.0/24")], a.publicKey, /not in the cluster/],
    ["of space that is no lease", [half], a.publicKey, /a lease ends the chain/],
    [
      "of less than a lease",
      [grant(founder, a, "10.244.1.0/25")],
      a.publicKey,
      /smaller than a lease/,
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
    expect(flawOfLease(cluster, holder, proof)).toMatch(why);
  });

  it("with one changed field is refused", () => {
    const [right] = proofFor(a, 7);
    const changes: Partial<Grant>[] = [
      { prefix: "10.244.8.0/24" },
      { sequence: 8 },
      { signature: proofFor(a, 8)[0]!.signature },
    ];
    for (const change of changes)
      expect(flawOfLease(cluster, a.publicKey, [{ ...right!, ...change }])).toBe(
        "a signature is wrong",
      );
    expect(flawOfLease(cluster, b.publicKey, [{ ...right!, to: b.publicKey }])).toBe(
      "a signature is wrong",
    );
    const other = clusterOf({
      ...cluster.genesis,
      network: [
        { prefix: "10.244.0.0/16", leaseLength: 24 },
        { prefix: "10.9.0.0/16", leaseLength: 24 },
      ],
    });
    expect(flawOfLease(other, a.publicKey, [right!])).toBe("a signature is wrong");
  });
});

describe("the ring", () => {
  // The founder lies and grants some subnets twice.
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
          const ring = slowHolders(some);
          expect(slowHolders(shuffled)).toEqual(ring);
          for (const [subnet, holder] of ring.holders) {
            const rivals = some.filter(({ proof }) => subnetOf(proof) === subnet);
            const winner = rivals.find((claim) => claim.holder === holder)!;
            expect(rivals.every(({ proof }) => compareProofs(winner.proof, proof) <= 0)).toBe(true);
          }
          expect(ring.holders.size + ring.overlaps.length).toBe(some.length);
        },
      ),
      { seed },
    );
  });

  it("orders two proofs by age from the sequences of the granters, whatever the rounds are", () => {
    const [any] = proofFor(identity(1), 1);
    const grant = fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 2 }), fc.nat(1))
      .map(([sequence, round, signer]) => ({ ...any!, sequence, round, signature: `${signer}` }));
    const proof = fc.array(grant, { minLength: 1, maxLength: 4 });
    const sign = (a: Proof, b: Proof) => Number(ageOf(a) > ageOf(b)) - Number(ageOf(a) < ageOf(b));
    fc.assert(
      fc.property(fc.array(proof, { minLength: 1, maxLength: 6 }), (proofs) => {
        for (const a of proofs) {
          for (const b of proofs) expect(Math.sign(compareAges(a, b))).toBe(sign(a, b));
        }
        expect(ageOf(oldestProof(proofs))).toBe(proofs.map(ageOf).sort()[0]);
      }),
      { seed },
    );
  });
});
