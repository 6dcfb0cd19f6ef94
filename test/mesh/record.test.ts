import { describe, expect, it } from "vitest";
import { clusterOf } from "../../src/lease/genesis.js";
import { disbelief, type NodeRecord, recordSchema, signRecord } from "../../src/mesh/record.js";
import { cluster, founder, identity, proofFor, recordOf } from "./cluster.js";

const reads = (record: unknown): boolean => recordSchema.safeParse(record).success;

describe("a record", () => {
  it("as its owner signed it is believed", () => {
    expect(reads(recordOf(2))).toBe(true);
    expect(disbelief(cluster, recordOf(2))).toBeUndefined();
  });

  it("changed in any field is not", () => {
    const others: { [K in keyof NodeRecord]: NodeRecord[K] } = {
      ...recordOf(3, { version: 2, vni: 2, renewed: 5, withdrawn: true }),
    };
    for (const key of Object.keys(others) as (keyof NodeRecord)[]) {
      const forged = { ...recordOf(2), [key]: others[key] };
      expect(reads(forged), key).toBe(true);
      expect(disbelief(cluster, forged)?.code, key).toBe("RECORD_FORGED");
    }
  });

  it("with somebody else's lease is not believed, though the signature is right", () => {
    const thief = recordOf(2, { leases: [[...proofFor(identity(3), 3)]] });
    expect(disbelief(cluster, thief)?.message).toMatch(
      /10\.244\.3\.0\/24.*granted to somebody else/,
    );
  });

  it("of another cluster is not believed", () => {
    const elsewhere = clusterOf({
      network: [{ prefix: "10.0.0.0/8", leaseLength: 24 }],
      founder: founder.publicKey,
    });
    const { signature: _, ...said } = recordOf(2);
    expect(disbelief(cluster, signRecord(identity(2), elsewhere, said))).toBeDefined();
  });

  it("larger than 16 KiB is not believed", () => {
    const proof = proofFor(identity(2), 2)[0]!;
    const long = recordOf(2, {
      leases: Array.from({ length: 16 }, () => Array.from({ length: 32 }, () => proof)),
    });
    expect(disbelief(cluster, long)?.message).toMatch(/too large/);
  });
});

describe("what is no record:", () => {
  const bad: [string, object][] = [
    ...[
      0,
      -1,
      1.5,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 53,
      2 ** 63,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      "1",
      null,
    ].map((version): [string, object] => [`version ${version}`, { version }]),
    ...["", "-rf", "a-", "../x", "$(x)", "A", "a b", "a\nb", "ä", "a".repeat(64), "a.b"].map(
      (name): [string, object] => [`name ${JSON.stringify(name)}`, { name }],
    ),
    ["a field too much", { extra: 1 }],
    ["a field of the prototype", JSON.parse('{"__proto__":{"withdrawn":true}}')],
    ["a leading zero in an address", { vtep: "010.0.0.1:4789" }],
    ["a port over 65535", { vtep: "192.0.2.1:65536" }],
    ["port 0", { mesh: "192.0.2.1:0" }],
    ["a host name as address", { mesh: "localhost:6783" }],
    ["a multicast MAC", { mac: "01:00:5e:00:00:01" }],
    ["a MAC in capitals", { mac: "02:AA:00:00:00:01" }],
    ["VNI 0", { vni: 0 }],
    ["VNI 2^24", { vni: 2 ** 24 }],
    ["no lease", { leases: [] }],
    ["an empty proof", { leases: [[]] }],
    ["17 leases", { leases: Array.from({ length: 17 }, () => recordOf(2).leases[0]) }],
    [
      "a proof of 33 grants",
      { leases: [Array.from({ length: 33 }, () => recordOf(2).leases[0]![0])] },
    ],
    ["depth", { leases: [[[[[[[]]]]]]] }],
    ["a key in capitals", { owner: recordOf(2).owner.toUpperCase().replace(/\d/g, "A") }],
    ["a short signature", { signature: "00" }],
  ];
  it.each(bad)("%s", (_, change) => {
    const record = Object.defineProperties(
      { ...recordOf(2) },
      Object.getOwnPropertyDescriptors(change),
    );
    expect(reads(record)).toBe(false);
  });
});
