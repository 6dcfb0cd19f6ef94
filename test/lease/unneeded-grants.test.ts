/** Grants that a node does not accept, because the granter lies or lost its state. */
import { describe, expect, it } from "vitest";
import { overlaps, parsePrefix } from "../../src/address.js";
import { type Proof, signGrant, subnetOf } from "../../src/lease/grant.js";
import { cluster, founder, identity, network, Owner } from "../mesh/cluster.js";

describe("a grant of space that the receiver has already", () => {
  const [liar, me] = [identity(66), identity(5)];
  const space = signGrant(founder, cluster, {
    prefix: "10.244.64.0/20",
    to: liar.publicKey,
    sequence: 1,
  });
  const grant = (prefix: string, sequence: number): Proof => [
    space,
    signGrant(liar, cluster, { prefix, to: me.publicKey, sequence }),
  ];
  const lease = "10.244.64.0/24";
  const [first, again] = [grant(lease, 2), grant(lease, 3)];
  const around = "10.244.64.0/23";

  it.each<[string, Proof[][]]>([
    ["a lease twice", [[first, again]]],
    ["a lease twice, one after the other", [[first], [again]]],
    ["the very same grant twice", [[first, structuredClone(first)]]],
    ["a space twice", [[grant(around, 2), grant(around, 3)]]],
    ["a space and a part of it", [[grant("10.244.64.0/22", 2), grant(around, 3)]]],
    ["a lease and the space around it", [[first, grant(around, 3)]]],
    ["a lease, then the space around it", [[first], [grant(around, 3)]]],
    ["a space, then a lease in it", [[grant(around, 2)], [again]]],
  ])("is not taken: %s", (_, messages) => {
    for (const wanted of [1, 2, 4]) {
      const node = new Owner(me);
      node.wanted = wanted;
      node.crash();
      for (const proofs of messages) {
        const declined = node.allocator.accept(proofs);
        expect(new Set(declined).size).toBe(declined.length);
        node.allocator.takeLeases();
      }
      node.allocator.takeLeases();
      const leases = node.disk.leases.map(subnetOf);
      expect(new Set(leases).size).toBe(leases.length);
      expect(leases).not.toEqual([]);
      expect(new Set(node.disk.revoked).size).toBe(node.disk.revoked.length);
      const held = node.ledger.receivedSignatures;
      expect(node.disk.revoked.filter((signature) => held.includes(signature))).toEqual([]);
      const spaces = node.disk.spaces.map((proof) => parsePrefix(subnetOf(proof)));
      for (const one of spaces) {
        expect(spaces.filter((other) => overlaps(one, other))).toEqual([one]);
      }
    }
  });

  it("is accepted when it comes back from the node that it was granted to", () => {
    const owner = new Owner();
    const other = new Owner(identity(1));
    owner.allocator.takeLeases();
    other.allocator.accept(owner.give(other.identity));
    const back = other.allocator.grant(founder.publicKey, [network[0]!.prefix], {
      leaseOnly: true,
    });
    owner.wanted = 2;
    owner.crash();
    expect(owner.allocator.accept(back as Proof[])).toEqual([]);
    expect(owner.disk.leases).toHaveLength(2);
  });
});
