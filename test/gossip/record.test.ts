import { describe, expect, it } from "vitest";
import { WeftError } from "../../src/error.js";
import {
  type Envelope,
  envelopeSchema,
  MAX_VERSION,
  MAX_VNI,
  signRecord,
} from "../../src/gossip/record.js";
import { MAX_BODY_BYTES } from "../../src/gossip/record-kind.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { fitting, MAX_PROOFS } from "../../src/lease/bundle.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { MAX_REVOKED_IN_RECORD, MAX_SEQUENCE, signGrant } from "../../src/lease/grant.js";
import { MAX_TIME } from "../../src/time/clock.js";
import {
  cluster,
  envelopeOf,
  founder,
  identity,
  proofFor,
  recordOf,
  sealedText,
} from "../mesh/cluster.js";
import { parseMessage } from "../mesh/messages.js";

const reads = (envelope: unknown): boolean => envelopeSchema.safeParse(envelope).success;

/** The reason why an envelope is refused. */
const doubt = (envelope: Envelope): string | undefined => {
  const record = new RecordVerifier(cluster).verify(envelope);
  return record instanceof WeftError ? `${record.code}: ${record.message}` : undefined;
};

const body = (): object => JSON.parse(envelopeOf(2).body);

describe("a record", () => {
  it("has room for what fits of the longest proofs there can be, and for everything else beside them", () => {
    const longest = (n: number) =>
      Array.from({ length: 12 }, (_, hop) => ({
        prefix: "fd00:244:1234:5678:9abc:def0:1234::/127",
        from: identity(n).publicKey,
        to: identity(n).publicKey,
        sequence: MAX_SEQUENCE,
        round: MAX_SEQUENCE,
        signature: (100 * n + hop).toString(16).padStart(128, "0"),
      }));
    const proofs = Array.from({ length: MAX_PROOFS }, (_, n) => longest(n));
    expect(fitting(proofs)).toEqual(proofs.slice(0, 3));
    const short = proofs.map((proof) => proof.slice(0, 2));
    expect(fitting(short)).toEqual(short);
    const said = {
      name: "n".repeat(63),
      mesh: "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535",
      vtep: "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535",
      mac: "02:00:00:00:00:01",
      vni: MAX_VNI,
      epoch: "ffffffff",
      leases: fitting([...short, ...proofs]),
      renewed: MAX_TIME,
      withdrawn: false,
      free: [128, 128],
      revoked: Array.from({ length: MAX_REVOKED_IN_RECORD }, (_, n) =>
        n.toString(16).padStart(16, "0"),
      ),
    };
    for (const leases of [said.leases, fitting(proofs)]) {
      expect(reads(signRecord(identity(2), cluster, MAX_VERSION, { ...said, leases }))).toBe(true);
    }
  });

  it("as its owner sealed it is believed, and reads as it was said", () => {
    expect(reads(envelopeOf(2))).toBe(true);
    expect(recordOf(2, { version: 7, vni: 9 })).toEqual({
      id: identity(2).id,
      owner: identity(2).publicKey,
      kind: "node",
      version: 7,
      name: "h2",
      mesh: "192.0.2.2:6783",
      vtep: "192.0.2.2:4789",
      mac: recordOf(2).mac,
      vni: 9,
      epoch: "5eed0001",
      leases: [proofFor(identity(2), 2)],
      renewed: 1_700_000_000_000,
      withdrawn: false,
      envelope: envelopeOf(2, { version: 7, vni: 9 }),
      bytes: JSON.stringify(envelopeOf(2, { version: 7, vni: 9 })).length,
    });
  });

  it("changed in any part is not", () => {
    const other = { ...envelopeOf(3, { version: 2, vni: 2 }), kind: "other" };
    for (const key of Object.keys(other) as (keyof Envelope)[]) {
      const forged = { ...envelopeOf(2), [key]: other[key] };
      expect(reads(forged), key).toBe(true);
      expect(doubt(forged), key).toMatch(/RECORD_FORGED.*its signature is wrong/);
    }
  });

  it("with another node's lease is refused, although the signature is right", () => {
    expect(doubt(envelopeOf(2, { leases: [proofFor(identity(3), 3)] }))).toMatch(
      /10\.244\.3\.0\/24.*granted to another node/,
    );
    const [own, others] = [proofFor(identity(2), 2), proofFor(identity(3), 3)];
    expect(doubt(envelopeOf(2, { leases: [own, others] }))).toMatch(/granted to another node/);
  });

  it("that claims one subnet twice is not believed", () => {
    const own = proofFor(identity(2), 2);
    expect(doubt(envelopeOf(2, { leases: [own, own] }))).toMatch(/a subnet twice/);
  });

  it("of another cluster is not believed", () => {
    const elsewhere = clusterOf({
      network: [{ prefix: "10.0.0.0/8", leaseLength: 24 }],
      founder: founder.publicKey,
    });
    const there = sealedText(identity(2), envelopeOf(2).body, { of: elsewhere });
    expect(doubt(there)).toMatch(/its signature is wrong/);
    expect(doubt(sealedText(identity(2), envelopeOf(2).body))).toBeUndefined();
  });

  it("carries a grant that several of its proofs share once", () => {
    const me = identity(2);
    const space = { prefix: "10.244.128.0/17", to: me.publicKey, sequence: 1 };
    const first = signGrant(founder, cluster, space);
    const leases = Array.from({ length: 16 }, (_, n) => [
      first,
      signGrant(me, cluster, {
        prefix: `10.244.${128 + n}.0/24`,
        to: me.publicKey,
        sequence: n + 1,
      }),
    ]);
    const record = recordOf(2, { leases });
    expect(record.leases).toEqual(leases);
    expect(record.envelope.body.split(first.signature)).toHaveLength(2);
    expect(reads(record.envelope)).toBe(true);
  });
});

describe("a verifier", () => {
  it("gives every record that shows a grant the same one", () => {
    const verifier = new RecordVerifier(cluster);
    const [one, two] = [1, 2].map((version) => verifier.verify(envelopeOf(2, { version })));
    const grantOf = (record: typeof one) =>
      record && "leases" in record ? record.leases[0]![0] : undefined;
    expect(grantOf(one)).toBeDefined();
    expect(grantOf(one)).toBe(grantOf(two));
  });

  it("takes no grant for another because it has seen its signature", () => {
    const verifier = new RecordVerifier(cluster);
    expect(verifier.verify(envelopeOf(2))).not.toBeInstanceOf(WeftError);
    const [grant] = proofFor(identity(2), 2);
    for (const change of [
      { prefix: "10.244.9.0/24" },
      { sequence: 1 },
      { round: 1 },
      { to: identity(3).publicKey },
    ]) {
      const forged = envelopeOf("to" in change ? 3 : 2, { leases: [[{ ...grant!, ...change }]] });
      expect(verifier.verify(forged), JSON.stringify(change)).toMatchObject({
        code: "RECORD_FORGED",
      });
    }
  });
});

const numbers = [
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53,
  2 ** 63,
  "NaN",
  "Infinity",
  '"1"',
  "null",
];

describe("an invalid envelope:", () => {
  const bad: [string, string, string][] = [
    ...numbers.map((n): [string, string, string] => [
      `version ${n}`,
      '"version":1',
      `"version":${n}`,
    ]),
    ["a version of 400 digits", '"version":1', `"version":${"9".repeat(400)}`],
    ["a field too much", '"version":1', '"version":1,"extra":1'],
    ["a field of the prototype", '"version":1', '"version":1,"__proto__":{"version":1}'],
    ["no version", '"version":1,', ""],
    ["a key in capitals", '"owner":"', '"owner":"A'],
    ["a short signature", '"signature":"', '"signature":"00","was":"'],
    ["a body that is no text", '"body":"', '"body":{},"was":"'],
    ["a body with a character that has two spellings", '"body":"', '"body":"\\ud800'],
    ["a body with a line break", '"body":"', '"body":"\\n'],
    ["a body one byte too long", '"body":"', `"body":"${" ".repeat(MAX_BODY_BYTES)}`],
  ];
  it.each(bad)("%s", (_, right, wrong) => {
    const text = JSON.stringify({ type: "records", records: [envelopeOf(2)] });
    expect(parseMessage(text)?.type).toBe("records");
    const changed = text.replace(right, wrong);
    expect(changed).not.toBe(text);
    expect(parseMessage(changed)).toBeUndefined();
  });
});

describe("an invalid body that its owner has signed:", () => {
  const leases = (change: object) => ({
    leases: { ...JSON.parse(envelopeOf(2).body).leases, ...change },
  });
  const [grant] = JSON.parse(envelopeOf(2).body).leases.grants;
  const bad: [string, object][] = [
    ...[0, -1, 1.5, 2 ** 31, 2 ** 32 - 1, 2 ** 53, 2 ** 63, "1", null].flatMap(
      (n): [string, object][] => [
        [`sequence ${n}`, leases({ grants: [{ ...grant, sequence: n }] })],
        [`round ${n}`, leases({ grants: [{ ...grant, round: n === 0 ? -0.5 : n }] })],
      ],
    ),
    ...["", "-rf", "a-", "../x", "$(x)", "A", "a b", "a\nb", "ä", "a".repeat(64), "a.b"].map(
      (name): [string, object] => [`name ${JSON.stringify(name)}`, { name }],
    ),
    ...[-1, 0.5, MAX_TIME + 1, 2 ** 53, 2 ** 63, "1", null].map((renewed): [string, object] => [
      `renewed ${renewed}`,
      { renewed },
    ]),
    ["a field too much", { extra: 1 }],
    ["a version of its own", { version: 2 }],
    ["a field of the prototype", JSON.parse('{"__proto__":{"withdrawn":true}}')],
    ["a leading zero in an address", { vtep: "010.0.0.1:4789" }],
    ["a port over 65535", { vtep: "192.0.2.1:65536" }],
    ["port 0", { mesh: "192.0.2.1:0" }],
    ["a host name as address", { mesh: "localhost:6783" }],
    ["a multicast MAC", { mac: "01:00:5e:00:00:01" }],
    ["a MAC in capitals", { mac: "02:AA:00:00:00:01" }],
    ["VNI 0", { vni: 0 }],
    ["VNI 2^24", { vni: 2 ** 24 }],
    ["no lease", leases({ proofs: [] })],
    ["an empty proof", leases({ proofs: [[]] })],
    ["17 leases", leases({ proofs: Array.from({ length: 17 }, () => [0]) })],
    ["a proof of 33 grants", leases({ proofs: [Array.from({ length: 33 }, () => 0)] })],
    [
      "65 grants",
      leases({ grants: Array.from({ length: 65 }, () => ({ ...grant, signature: "" })) }),
    ],
    ["a proof of grants that are not there", leases({ proofs: [[1]] })],
    ["a proof that ends in nothing", leases({ proofs: [[0, 63]] })],
    ["a place below the first", leases({ proofs: [[-1]] })],
    ["a place between two", leases({ proofs: [[0.5]] })],
    ["a grant that says who gave it", leases({ grants: [{ ...grant, from: founder.publicKey }] })],
    ["depth", { leases: [[[[[[[]]]]]]] }],
  ];
  it.each(bad)("%s", (_, change) => {
    const changed = Object.defineProperties(body(), Object.getOwnPropertyDescriptors(change));
    const text = JSON.stringify(changed).replaceAll(/[^\x20-\x7e]/g, "?");
    expect(doubt(sealedText(identity(2), text))).toMatch(/RECORD_FORGED/);
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["null", "null"],
    ["a list", "[]"],
    ["a text", '"{}"'],
    ["4,000 lists in each other", "[".repeat(4000) + "]".repeat(4000)],
    ["4,000 lists that never end", "[".repeat(4000)],
    ["objects in each other", '{"name":'.repeat(1000)],
    ["a number of 8,000 digits", "9".repeat(8000)],
  ])("%s", (_, text) => {
    expect(doubt(sealedText(identity(2), text))).toMatch(/RECORD_FORGED/);
  });

  it("and what it says wrongly is named", () => {
    const text = JSON.stringify({ ...body(), mac: "x" });
    expect(doubt(sealedText(identity(2), text))).toMatch(/its mac is not what it must be/);
  });
});
