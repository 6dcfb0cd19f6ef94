import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Members } from "../../src/gossip/members.js";
import { Notary } from "../../src/gossip/notary.js";
import type { NodeRecord } from "../../src/gossip/record.js";
import { MAX_TAKERS, Takings } from "../../src/gossip/takings.js";
import { markOf } from "../../src/lease/grant.js";
import { founder, identity, proofFor, TUNNEL } from "./cluster.js";
import { grown } from "./grown.js";
import { randomFrom, seed } from "./seed.js";

const lease = proofFor(identity(2), 2);
const mark = markOf(lease[0]!.signature);

describe("what givers say they took back", () => {
  it("is kept of so many givers as were heard last, and counts again when one is heard again", () => {
    const takings = new Takings();
    const other = (n: number) => takings.learned({ owner: `giver ${n}`, taken: [mark] });
    const loser = { owner: identity(2).publicKey, leases: [lease] };
    const says = { owner: founder.publicKey, taken: [mark] };
    expect(takings.learned(says)).toBe(true);
    for (let n = 1; n < MAX_TAKERS; n++) other(n);
    expect(takings.learned(says)).toBe(false);
    for (let n = 1; n < MAX_TAKERS; n++) other(n);
    expect(takings.areAll(loser)).toBe(true);
    other(MAX_TAKERS);
    expect(takings.areAll(loser)).toBe(false);
    expect(takings.learned(says)).toBe(true);
    expect(takings.areAll(loser)).toBe(true);
  });

  it("concerns nobody but those below them: who looks at these finds all who lost everything", () => {
    const { cluster, envelopes } = grown(30, randomFrom(seed));
    const notary = new Notary(cluster);
    const records = envelopes.map((envelope) => notary.open(envelope) as NodeRecord);
    const grants = records.flatMap(({ leases }) => leases.flat());
    const marks = fc.subarray([...new Set(grants.map(({ signature }) => markOf(signature)))]);
    const saying = fc.record({
      owner: fc.constantFrom(...grants.map(({ from }) => from)),
      taken: marks,
    });
    fc.assert(
      fc.property(fc.array(saying, { maxLength: 8 }), (said) => {
        const members = new Members(notary, TUNNEL, identity(99).id);
        for (const envelope of envelopes) members.merge(envelope);
        const takings = new Takings();
        for (const one of said) {
          takings.learned(one);
          for (const record of members.below(new Set([one.owner]))) {
            if (takings.areAll(record)) members.drop(record.id, 0);
          }
          expect(members.sorted().filter((record) => takings.areAll(record))).toEqual([]);
        }
      }),
      { seed, numRuns: 50 },
    );
  });
});
