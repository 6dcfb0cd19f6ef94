/** Records of other kinds than `node`: when they are held, in which versions, and how many. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { MAX_ATTACHED, MAX_ATTACHED_BYTES } from "../../src/gossip/attached-record.js";
import { MAX_CLAIMANTS } from "../../src/gossip/member-view.js";
import { Members, RECORD_TTL } from "../../src/gossip/members.js";
import type { Envelope } from "../../src/gossip/record.js";
import { MAX_BODY_BYTES, type RecordKind, RecordKinds } from "../../src/gossip/record-kind.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { signGrant } from "../../src/lease/grant.js";
import {
  type Attached,
  attachedEnvelope,
  cluster,
  envelopeOf,
  founder,
  identity,
  TUNNEL,
} from "../mesh/cluster.js";
import { seed } from "../mesh/seed.js";

const id = identity(2).id;
const OWN = identity(99).id;

const NUMBER: RecordKind<{ readonly n: number }> = {
  name: "number",
  maxBytes: 16,
  schema: z.strictObject({ n: z.int() }),
  isUrgent: false,
};

const knowing = (...kinds: RecordKind[]): Members =>
  new Members(new RecordVerifier(cluster, new RecordKinds(kinds)), TUNNEL, OWN);

const holding = (...envelopes: Envelope[]): Members => {
  const members = knowing(NUMBER);
  for (const envelope of envelopes) members.merge(envelope);
  return members;
};

const of2 = (change: Attached = {}): Envelope => attachedEnvelope(2, change);
const kinds = (members: Members): string[] => members.attached(id).map(({ kind }) => kind);
/** A body so long that the whole envelope takes so many bytes. */
const sized = (bytes: number, change: Attached = {}): Envelope => {
  const empty = JSON.stringify(of2({ ...change, body: "" })).length;
  return of2({ ...change, body: "x".repeat(bytes - empty) });
};

describe("a record of a kind that is not known", () => {
  it("is held beside the node record of its owner, unread, and nowhere else", () => {
    const members = knowing();
    expect(members.merge(of2({ body: "{[" }))).toBeUndefined();
    expect(members.digest).toBe(knowing().digest);
    members.merge(envelopeOf(2));
    const { digest } = members;
    const envelope = of2({ body: "{[" });
    expect(members.merge(envelope)).toMatchObject({ id, kind: "extra", version: 1, envelope });
    expect(members.attached(id)).toMatchObject([{ envelope, content: undefined }]);
    expect(members.digest).not.toBe(digest);
    expect(members.view.members.size).toBe(1);
  });

  it("is refused when anything of it was changed on the way, its kind included", () => {
    const members = holding(envelopeOf(2));
    const other = attachedEnvelope(3, { kind: "other", version: 2, body: "[]" });
    for (const key of Object.keys(other) as (keyof Envelope)[]) {
      if (key === "owner") continue; // Node 3 has no record here.
      expect(members.merge({ ...of2(), [key]: other[key] }), key).toMatchObject({
        code: "RECORD_FORGED",
      });
    }
    expect(kinds(members)).toEqual([]);
  });
});

describe("the version of a kind", () => {
  it("rises by itself: the newest stays, whatever those of the others are", () => {
    const members = holding(envelopeOf(2, { version: 9 }));
    for (const version of [3, 2, 3, 5, 4]) members.merge(of2({ version }));
    members.merge(of2({ kind: "other", version: 1 }));
    expect(members.attached(id)).toMatchObject([
      { kind: "extra", version: 5 },
      { kind: "other", version: 1 },
    ]);
    expect(members.get(id)?.version).toBe(9);
    expect(members.lacks([id, "extra", 5])).toBe(false);
    expect(members.lacks([id, "extra", 6])).toBe(true);
    expect(members.lacks([id, "third", 1])).toBe(true);
  });

  it("decides with the signature where an owner gave it out twice: all nodes come to one of them", () => {
    const both = [of2({ body: "[1]" }), of2({ body: "[2]" })];
    const [a, b] = [both, [...both].reverse()].map((order) => holding(envelopeOf(2), ...order));
    expect(a!.digest).toBe(b!.digest);
  });

  it("is kept when the node record is renewed", () => {
    const members = holding(envelopeOf(2), of2({ version: 4 }), envelopeOf(2, { version: 2 }));
    expect(members.attached(id)).toMatchObject([{ version: 4 }]);
  });
});

describe("with its node record goes", () => {
  it("what was attached, when that is dropped", () => {
    const members = holding(envelopeOf(2), of2(), envelopeOf(3));
    members.expire(0);
    members.merge(envelopeOf(3, { version: 2 }));
    members.expire(RECORD_TTL + 1);
    expect(members.get(id)).toBeUndefined();
    expect(kinds(members)).toEqual([]);
    expect(members.digest).toBe(holding(envelopeOf(3, { version: 2 })).digest);
    // A neighbour drops it later.
    expect(members.lacks([id, "extra", 1])).toBe(false);
    expect(members.merge(of2())).toBeUndefined();
  });

  it("what was attached, when that is withdrawn; it is taken again when the owner is back", () => {
    const gone = envelopeOf(2, { version: 2, withdrawn: true });
    const members = holding(envelopeOf(2), of2(), gone);
    expect(members.digest).toBe(holding(gone).digest);
    expect(members.merge(of2({ version: 2 }))).toBeUndefined();
    members.merge(envelopeOf(2, { version: 3 }));
    expect(members.merge(of2({ version: 2 }))).toMatchObject({ version: 2 });
  });

  it("what was attached, when that is evicted", () => {
    const claim = (n: number, sequence: number) =>
      envelopeOf(n, {
        leases: [
          [
            signGrant(founder, cluster, {
              prefix: "10.244.7.0/24",
              to: identity(n).publicKey,
              sequence,
            }),
          ],
        ],
      });
    const others = Array.from({ length: MAX_CLAIMANTS }, (_, n) => claim(n + 10, n + 1));
    const members = holding(claim(2, 1_000), of2(), ...others);
    expect(members.get(id)).toBeUndefined();
    expect(members.digest).toBe(holding(...others).digest);
    expect(members.lacks([id, "extra", 2])).toBe(false);
  });

  it("nothing when that lapses: its owner is dead and may come back", () => {
    const members = holding(envelopeOf(2), of2());
    const { digest } = members;
    members.lapse(id);
    expect(kinds(members)).toEqual(["extra"]);
    expect(members.digest).toBe(digest);
  });
});

describe("of one owner", () => {
  it("so many kinds are held and no more: the first in order", () => {
    const names = Array.from({ length: 40 }, (_, n) => `k${String(n).padStart(2, "0")}`);
    for (const order of [names, [...names].reverse()]) {
      const members = holding(envelopeOf(2), ...order.map((kind) => of2({ kind })));
      expect(kinds(members)).toEqual(names.slice(0, MAX_ATTACHED.records));
    }
  });

  it("so many bytes are held and no more", () => {
    const quarter = MAX_ATTACHED.bytes / 4;
    const members = holding(envelopeOf(2));
    for (const kind of ["b", "c", "d", "e"]) members.merge(sized(quarter, { kind }));
    expect(kinds(members)).toEqual(["b", "c", "d", "e"]);
    expect(members.merge(of2({ kind: "f" }))).toBeUndefined();
    expect(members.merge(of2({ kind: "a" }))).toMatchObject({ kind: "a" });
    expect(kinds(members)).toEqual(["a", "b", "c", "d"]);
  });

  it("the same are held in the end, in whatever order they came and came again", () => {
    const pool = Array.from({ length: 24 }, (_, n) =>
      [1, 2].map((version) =>
        sized(700 + ((n * 7919 + version * 104_729) % 15_000), { kind: `k${n}`, version }),
      ),
    ).flat();
    const settled = (envelopes: readonly Envelope[]): string => {
      const members = holding(envelopeOf(2));
      for (;;) {
        const { digest } = members;
        for (const envelope of envelopes) members.merge(envelope);
        if (members.digest === digest) return digest;
      }
    };
    fc.assert(
      fc.property(
        fc
          .subarray(pool)
          .chain((some) =>
            fc.tuple(
              fc.shuffledSubarray(some, { minLength: some.length }),
              fc.shuffledSubarray(some, { minLength: some.length }),
            ),
          ),
        ([one, other]) => {
          expect(settled(one)).toBe(settled(other));
        },
      ),
      { seed, numRuns: 100 },
    );
  });

  it("ten thousand kinds take no more room than that, and those that have none are not even opened", () => {
    const members = holding(envelopeOf(2), envelopeOf(3));
    const names = Array.from({ length: 10_000 }, (_, n) => `k${String(n).padStart(4, "0")}`);
    const [first, rest] = [names.slice(0, MAX_ATTACHED.records), names.slice(MAX_ATTACHED.records)];
    for (const kind of first) members.merge(of2({ kind }));
    const before = members.signaturesVerified;
    const forged = of2();
    const merged = rest.flatMap((kind) => members.merge({ ...forged, kind }) ?? []);
    expect(merged).toEqual([]);
    expect(members.signaturesVerified).toBe(before);
    expect(kinds(members)).toEqual(first);
    expect(members.merge(attachedEnvelope(3))).toMatchObject({ kind: "extra" });
  });
});

it("of all owners together so many bytes are held and no more; smaller ones take the place of larger ones", () => {
  const members = holding();
  const owners = Math.ceil(MAX_ATTACHED_BYTES / 64_000) + 10;
  const lease = (n: number) => [
    signGrant(founder, cluster, {
      prefix: `10.244.${n % 250}.0/24`,
      to: identity(n).publicKey,
      sequence: n,
    }),
  ];
  const numbers = Array.from({ length: owners }, (_, n) => n + 1_000);
  let held = 0;
  for (const n of numbers) {
    members.merge(envelopeOf(n, { name: `h${n}`, vtep: "192.0.2.7:4789", leases: [lease(n)] }));
    const record = members.merge(attachedEnvelope(n, { body: "x".repeat(64_000) }));
    if (record && "bytes" in record) held += record.bytes;
    else expect(record).toMatchObject({ code: "ATTACHED_FULL" });
  }
  expect(members.size).toBe(owners);
  expect(held).toBeGreaterThan(MAX_ATTACHED_BYTES - MAX_ATTACHED.bytes);
  expect(held).toBeLessThanOrEqual(MAX_ATTACHED_BYTES);
  const last = numbers.at(-1)!;
  expect(members.merge(attachedEnvelope(numbers[0]!, { version: 2 }))).toMatchObject({
    version: 2,
  });
  expect(members.merge(attachedEnvelope(last))).toMatchObject({ version: 1 });
});

describe("a record of a kind that is known", () => {
  it("is read by its schema", () => {
    const members = holding(envelopeOf(2), of2({ kind: "number", body: '{"n":7}' }));
    expect(members.content(id, NUMBER)).toEqual({ n: 7 });
    expect(members.content(identity(3).id, NUMBER)).toBeUndefined();
  });

  it.each([
    ["is no JSON", "{"],
    ["does not match", '{"n":"7"}'],
    ["has a field too much", '{"n":7,"m":1}'],
    ["is longer than its kind may be", `{"n":7${" ".repeat(16)}}`],
  ])("and the body of which %s is refused, and not asked for again", (_, body) => {
    const envelope = of2({ kind: "number", version: 3, body });
    const members = holding(envelopeOf(2), of2({ kind: "number", body: '{"n":7}' }));
    expect(members.merge(envelope)).toMatchObject({ code: "RECORD_MALFORMED" });
    expect(members.content(id, NUMBER)).toEqual({ n: 7 });
    expect(members.lacks([id, "number", 3])).toBe(false);
    expect(members.lacks([id, "number", 4])).toBe(true);
    const unaware = knowing();
    for (const one of [envelopeOf(2), envelope]) unaware.merge(one);
    expect(unaware.attached(id)).toMatchObject([{ envelope, content: undefined }]);
  });

  it("has a name of its own", () => {
    expect(() => new RecordKinds([NUMBER, NUMBER])).toThrow(/two kinds/);
    expect(() => new RecordKinds([{ ...NUMBER, name: "node" }])).toThrow(/two kinds/);
  });
});

it("no body of any kind is longer than a record may be", () => {
  expect(MAX_BODY_BYTES).toBeLessThan(MAX_ATTACHED.bytes);
});
