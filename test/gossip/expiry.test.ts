import { describe, expect, it } from "vitest";
import { Members, RECORD_TTL } from "../../src/gossip/members.js";
import { type Envelope, MAX_VERSION } from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { MAX_TIME } from "../../src/time/clock.js";
import { cluster, envelopeOf, identity, TUNNEL } from "../mesh/cluster.js";

const NOW = 1_700_000_000_000;
const YEARS = 10 * 365 * 24 * 3600_000;
const OWN = identity(1).id;
const id = (n: number): string => identity(n).id;

const dropped = (members: Members, now: number): string[] =>
  members
    .expire(now)
    .dropped.map(({ id }) => id)
    .sort();

const holding = (...envelopes: Envelope[]): Members => {
  const members = new Members(new RecordVerifier(cluster), TUNNEL, OWN);
  for (const envelope of envelopes) members.merge(envelope);
  members.expire(NOW);
  return members;
};

describe("a record that is not renewed", () => {
  it("is dropped after its time, withdrawn or not; the own one and the renewed stay", () => {
    const members = holding(
      envelopeOf(1),
      envelopeOf(2),
      envelopeOf(3, { withdrawn: true }),
      envelopeOf(4),
    );
    expect(dropped(members, NOW + RECORD_TTL)).toEqual([]);
    members.merge(envelopeOf(4, { version: 2 }));
    expect(dropped(members, NOW + RECORD_TTL + 1)).toEqual([id(2), id(3)].sort());
    expect(members.sorted().map(({ id }) => id)).toEqual([id(1), id(4)].sort());
    expect(members.digest).toBe(holding(envelopeOf(1), envelopeOf(4, { version: 2 })).digest);
  });

  it("does not come back from a node that still has it, but does when its owner renews it", () => {
    const members = holding(envelopeOf(2, { version: 5 }));
    members.expire(NOW + RECORD_TTL + 1);
    for (const version of [4, 5]) {
      expect(members.lacks([id(2), "node", version])).toBe(false);
      expect(members.merge(envelopeOf(2, { version }))).toBeUndefined();
    }
    expect(members.dropped(id(2))).toMatchObject({ version: 5 });
    expect(members.named("h2").map(({ id }) => id)).toEqual([id(2)]);
    const young = envelopeOf(2, { version: 6 });
    expect(members.lacks([id(2), "node", 6])).toBe(true);
    expect(members.merge(young)).toMatchObject({ version: 6, envelope: young });
    expect(members.dropped(id(2))).toBeUndefined();
  });

  it("is forgotten altogether after as long again", () => {
    const members = holding(envelopeOf(2));
    members.expire(NOW + RECORD_TTL + 1);
    members.expire(NOW + 2 * RECORD_TTL + 2);
    const again = envelopeOf(2);
    expect(members.merge(again)).toMatchObject({ envelope: again });
  });

  it.each([
    ["years ahead", NOW + YEARS],
    ["years behind", NOW - YEARS],
    ["at the beginning of time", 0],
    ["at its end", MAX_TIME],
  ])(
    "is timed by this node's clock: an owner's clock %s neither shortens nor prolongs it",
    (_, renewed) => {
      const members = holding(envelopeOf(2, { renewed }));
      expect(dropped(members, NOW + RECORD_TTL)).toEqual([]);
      expect(dropped(members, NOW + RECORD_TTL + 1)).toEqual([id(2)]);
    },
  );

  it("cannot lock its owner out for others: the highest version is dropped like any", () => {
    const members = holding(envelopeOf(2, { version: MAX_VERSION }), envelopeOf(3));
    members.merge(envelopeOf(3, { version: 2 }));
    members.expire(NOW + 1);
    expect(dropped(members, NOW + RECORD_TTL + 1)).toEqual([id(2)]);
    expect(members.get(id(3))).toBeDefined();
  });
});
