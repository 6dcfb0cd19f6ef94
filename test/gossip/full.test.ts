/** A node that holds the maximum number of records. */
import { expect, it } from "vitest";
import { MAX_RECORDS, Members } from "../../src/gossip/members.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { TUNNEL } from "../mesh/cluster.js";
import { grown, grownIdentity } from "../mesh/grown.js";
import { randomFrom, seed } from "../mesh/seed.js";

/** Milliseconds, enough for much computing on a shared machine. */
const BUSY_MS = 180_000;

it("accepts newer records of the owners it holds, and no other owner until one is gone", {
  timeout: BUSY_MS,
}, () => {
  const { cluster, envelopes } = grown(MAX_RECORDS + 1, randomFrom(seed), 1, cheapSignatures);
  const newer = grown(1, randomFrom(seed), 2, cheapSignatures).envelopes[0]!;
  const members = new Members(new RecordVerifier(cluster), TUNNEL, "");
  const last = envelopes.at(-1)!;
  for (const envelope of envelopes.slice(0, -1)) {
    expect(members.merge(envelope)).toMatchObject({ version: 1 });
  }
  const { digest } = members;
  expect(members.merge(last)).toMatchObject({ code: "MEMBERS_FULL" });
  expect([members.size, members.digest]).toEqual([MAX_RECORDS, digest]);
  expect(members.merge(newer)).toMatchObject({ version: 2 });
  members.drop(grownIdentity(1).id, 0);
  expect(members.merge(last)).toMatchObject({ owner: last.owner });
  expect(members.size).toBe(MAX_RECORDS);
});
