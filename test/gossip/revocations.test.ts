import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Members } from "../../src/gossip/members.js";
import type { NodeRecord } from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { MAX_REVOKERS, Revocations } from "../../src/gossip/revocations.js";
import { grantHash } from "../../src/lease/grant.js";
import { founder, identity, proofFor, TUNNEL } from "../mesh/cluster.js";
import { grown } from "../mesh/grown.js";
import { randomFrom, seed } from "../mesh/seed.js";

const lease = proofFor(identity(2), 2);
const hash = grantHash(lease[0]!.signature);

describe("the revocations of granters", () => {
  it("are kept of the granters that revoked last, and count again when another's record arrives again", () => {
    const revocations = new Revocations();
    const other = (n: number) => revocations.merge({ owner: `granter ${n}`, revoked: [hash] });
    const loser = { owner: identity(2).publicKey, leases: [lease] };
    const says = { owner: founder.publicKey, revoked: [hash] };
    expect(revocations.merge(says)).toBe(true);
    for (let n = 1; n < MAX_REVOKERS; n++) other(n);
    expect(revocations.merge(says)).toBe(false);
    for (let n = 1; n < MAX_REVOKERS; n++) other(n);
    expect(revocations.coverAll(loser)).toBe(true);
    other(MAX_REVOKERS);
    expect(revocations.coverAll(loser)).toBe(false);
    expect(revocations.merge(says)).toBe(true);
    expect(revocations.coverAll(loser)).toBe(true);
  });

  it("concern only records below them, among which are all that lost everything", () => {
    const { cluster, envelopes } = grown(30, randomFrom(seed));
    const verifier = new RecordVerifier(cluster);
    const records = envelopes.map((envelope) => verifier.verify(envelope) as NodeRecord);
    const grants = records.flatMap(({ leases }) => leases.flat());
    const hashes = fc.subarray([...new Set(grants.map(({ signature }) => grantHash(signature)))]);
    const saying = fc.record({
      owner: fc.constantFrom(...grants.map(({ from }) => from)),
      revoked: hashes,
    });
    fc.assert(
      fc.property(fc.array(saying, { maxLength: 8 }), (said) => {
        const members = new Members(verifier, TUNNEL, identity(99).id);
        for (const envelope of envelopes) members.merge(envelope);
        const revocations = new Revocations();
        for (const one of said) {
          revocations.merge(one);
          for (const record of members.grantedBy(new Set([one.owner]))) {
            if (revocations.coverAll(record)) members.drop(record.id, 0);
          }
          expect(members.sorted().filter((record) => revocations.coverAll(record))).toEqual([]);
        }
      }),
      { seed, numRuns: 50 },
    );
  });
});
