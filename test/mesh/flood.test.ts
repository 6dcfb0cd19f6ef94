/** A member that makes others verify signatures without end. */
import { describe, expect, it } from "vitest";
import { VERIFY_LIMITS } from "../../src/gossip/gossip.js";
import { signRecord } from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { Identity, vtepMac } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { signGrant } from "../../src/lease/grant.js";
import { cheapSignatures } from "../../src/sim/signatures.js";
import { MAX_BUCKETS } from "../../src/time/keyed-rate-limiter.js";
import { Stranger } from "./stranger.js";
import { MemoryDisk, World } from "./world.js";

const LEASES = 16;
/** Signatures in a record with so many leases: its own, one grant for each lease, and one of its granter. */
const MOST = LEASES + 2;

/** Two nodes, and a liar to which the first granted 10.244.64.0/20. */
async function flooded() {
  const world = new World(cheapSignatures);
  const notaries: RecordVerifier[] = [];
  const verifier = (of: ConstructorParameters<typeof RecordVerifier>[0]) => {
    const made = new RecordVerifier(of);
    notaries.push(made);
    return made;
  };
  const { disk } = await world.node(1, [], new MemoryDisk(), { verifier });
  const other = await world.node(2, [1]);
  world.clock.run(10_000);
  const { seed, cluster: held } = disk.load()!;
  const [founder, cluster] = [
    new Identity(seed, cheapSignatures),
    clusterOf(held!.genesis, cheapSignatures),
  ];
  const liar = new Stranger(world);
  liar.connect();
  const space = signGrant(founder, cluster, {
    prefix: "10.244.64.0/20",
    to: liar.identity.publicKey,
    sequence: 1_000_000_000,
  });
  let sequence = space.sequence;
  const lease = (n: number, to: Identity) => {
    const prefix = `10.244.${64 + n}.0/24`;
    const { publicKey } = to;
    return [
      space,
      signGrant(liar.identity, cluster, { prefix, to: publicKey, sequence: ++sequence }),
    ];
  };
  const record = (
    of: Identity,
    version: number,
    leases: ReturnType<typeof lease>[],
    port = 4789,
  ) => ({
    type: "records",
    records: [
      signRecord(of, cluster, version, {
        name: `n-${of.id}`,
        mesh: "192.0.2.66:6783",
        vtep: `192.0.2.66:${port}`,
        mac: vtepMac(of.id),
        vni: 1,
        epoch: "5eed0001",
        leases,
        renewed: 1_700_000_000_000,
        withdrawn: false,
      }),
    ],
  });
  return { world, other, liar, lease, record, verifier: notaries[0]! };
}

describe("of what one owner says of itself", () => {
  it("so much is read at once, and the newest a while later", async () => {
    const { world, other, liar, lease, record } = await flooded();
    const leases = [lease(0, liar.identity)];
    const last = VERIFY_LIMITS.owner.burst + 100;
    for (let version = 1; version <= last; version++) {
      liar.say(record(liar.identity, version, leases, 5000 + version));
    }
    world.clock.run(1_000);
    const port = () =>
      Number(
        other.mesh
          .members()
          .find(({ id }) => id === liar.identity.id)
          ?.endpoint.split(":")[1],
      );
    expect(port() - 5000).toBeGreaterThan(VERIFY_LIMITS.owner.burst - 10);
    expect(port() - 5000).toBeLessThanOrEqual(VERIFY_LIMITS.owner.burst + 1);
    expect(liar.isClosed).toBe(false);
    world.clock.run(20_000);
    liar.connect(); // Its session has ended, because it answered no ping.
    liar.say(record(liar.identity, last + 1, leases, 9000));
    world.clock.run(10_000);
    expect(port()).toBe(9000);
  });

  it("a forgery by another costs it nothing", async () => {
    const { world, other, liar, lease, record } = await flooded();
    const victim = new Stranger(world, 67);
    const leases = [lease(0, victim.identity)];
    for (let n = 0; n < 3 * VERIFY_LIMITS.owner.burst; n++) {
      if (liar.isClosed) liar.connect();
      const forged = record(victim.identity, 7, leases);
      for (const one of forged.records) one.signature = `00${one.signature.slice(2)}`;
      liar.say(forged);
      world.clock.run(100);
    }
    victim.connect();
    victim.say(record(victim.identity, 1, leases));
    world.clock.run(1_000);
    expect(other.mesh.members().map(({ id }) => id)).toContain(victim.identity.id);
  });

  it("old records that another sends again keep the newest out of nowhere", async () => {
    const { world, other, liar, lease, record } = await flooded();
    const victim = new Stranger(world, 67);
    const leases = [lease(0, victim.identity)];
    const last = 2 * VERIFY_LIMITS.owner.burst;
    for (let version = 1; version < last; version++) {
      liar.say(record(victim.identity, version, leases, 5000 + version));
    }
    world.clock.run(100);
    victim.connect();
    victim.say(record(victim.identity, last, leases, 9000));
    world.clock.run(1_000);
    const endpoints = other.mesh.members().map(({ endpoint }) => endpoint);
    expect(endpoints).toContain("192.0.2.66:9000");
  });
});

describe("of what one peer sends", () => {
  it("so much is verified and no more, whoever is said to own it", async () => {
    const { world, liar, lease, record, verifier } = await flooded();
    const { burst, rate } = VERIFY_LIMITS.sender;
    const before = verifier.signaturesVerified;
    for (let n = 0; n < burst / LEASES + 100; n++) {
      const made = Identity.generate(cheapSignatures);
      liar.say(
        record(
          made,
          1,
          Array.from({ length: LEASES }, (_, i) => lease(i, made)),
        ),
      );
    }
    world.clock.run(10);
    expect(liar.isClosed).toBe(false);
    expect(verifier.signaturesVerified - before).toBeGreaterThan(burst - MOST);
    expect(verifier.signaturesVerified - before).toBeLessThanOrEqual(burst + 2 * rate + MOST);

    // Envelopes that are refused unread do not reset the count of earlier ones.
    const drained = verifier.signaturesVerified;
    const own = [lease(0, liar.identity)];
    let version = 0;
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 270; n++) liar.say(record(liar.identity, ++version, own));
      for (let n = 0; n < 1.2 * MAX_BUCKETS; n += 32) {
        const owners = Array.from({ length: 32 }, () => Identity.generate().publicKey);
        const records = owners.map((owner) => ({
          owner,
          kind: "node",
          version: 1,
          body: "{}",
          signature: "00".repeat(64),
        }));
        liar.say({ type: "records", records });
      }
      world.clock.run(10);
    }
    expect(liar.isClosed).toBe(false);
    expect(verifier.signaturesVerified - drained).toBeLessThanOrEqual(
      VERIFY_LIMITS.owner.burst + MOST,
    );
  });
});
