/** Nodes of two versions of weft in one cluster: one knows kinds of records that the other does not. */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { MAX_ATTACHED } from "../../src/gossip/attached-record.js";
import { VERIFY_LIMITS } from "../../src/gossip/gossip.js";
import { type Envelope, signBody, signRecord } from "../../src/gossip/record.js";
import { type RecordKind, RecordKinds } from "../../src/gossip/record-kind.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import { Identity, vtepMac } from "../../src/identity/identity.js";
import { type Cluster, clusterOf } from "../../src/lease/genesis.js";
import { signGrant } from "../../src/lease/grant.js";
import { POLICY } from "../../src/policy/kind.js";
import { parseMessage } from "./messages.js";
import { Stranger } from "./stranger.js";
import { MemoryDisk, World } from "./world.js";

const NUMBER: RecordKind<{ readonly n: number }> = {
  name: "number",
  maxBytes: 32,
  schema: z.strictObject({ n: z.int() }),
  isUrgent: true,
};

/** The results of a node's verifications, in order, each with its kind. */
class Watched extends RecordVerifier {
  readonly read: { readonly kind: string; readonly version: number; readonly content: unknown }[] =
    [];

  override verify(envelope: Envelope) {
    const record = super.verify(envelope);
    if ("content" in record) {
      const { kind, version, content } = record;
      this.read.push({ kind, version, content });
    }
    return record;
  }
}

/** A world of nodes that know `NUMBER`, or not, and of a member that says what it likes. */
async function mixed() {
  const world = new World();
  const verifiers = new Map<number, Watched>();
  const node = (
    n: number,
    joins: number[],
    { knows, disk = new MemoryDisk() }: { knows: boolean; disk?: MemoryDisk },
  ) =>
    world.node(n, joins, disk, {
      verifier: (cluster: Cluster) => {
        const made = new Watched(cluster, new RecordKinds(knows ? [NUMBER] : []));
        verifiers.set(n, made);
        return made;
      },
    });
  const read = (n: number) => verifiers.get(n)!.read;
  const first = await node(1, [], { knows: true });
  world.clock.run(1_000);
  const { seed, cluster: state } = first.disk.load()!;
  const [founder, cluster] = [new Identity(seed), clusterOf(state!.genesis)];
  const member = new Stranger(world);
  const { identity } = member;
  const lease = signGrant(founder, cluster, {
    prefix: "10.244.64.0/24",
    to: identity.publicKey,
    sequence: 1_000_000_000,
  });
  const own = (version = 1, change = {}) =>
    signRecord(identity, cluster, version, {
      name: "h66",
      mesh: "192.0.2.66:6783",
      vtep: "192.0.2.66:4789",
      mac: vtepMac(identity.id),
      vni: 1,
      epoch: "5eed0001",
      leases: [[lease]],
      renewed: 1_700_000_000_000,
      withdrawn: false,
      ...change,
    });
  const attached = (kind: string, version = 1, body = '{"n":7}') =>
    signBody(identity, cluster, { kind, version, body });
  const say = (...records: Envelope[]) => member.say({ type: "records", records });
  return { world, node, read, member, own, attached, say };
}

const NUMBER_7 = { kind: "number", version: 1, content: { n: 7 } };
const UNREAD = { kind: "number", version: 1, content: undefined };

/** The kinds and versions that a node holds of another, as it tells when it is compared with. */
function heldOf(member: Stranger, id: string, world: World) {
  member.heard.splice(0);
  member.say({ type: "versions", after: "", until: "", versions: [] });
  world.clock.run(100);
  return member.heard
    .map((text) => parseMessage(text)!)
    .flatMap((message) => (message.type === "have" ? message.versions : []))
    .filter(([owner]) => owner === id);
}

describe("a record of a kind that a node does not know", () => {
  it("goes through it, at once and by comparison, to those that do", async () => {
    const { world, node, read, member, own, attached, say } = await mixed();
    world.network.carries = (from, to) =>
      !(from.endsWith(".1") && to.endsWith(".3")) && !(from.endsWith(".3") && to.endsWith(".1"));
    await node(2, [1], { knows: false });
    await node(3, [2], { knows: true });
    world.clock.run(10_000);
    member.connect();
    say(own(), attached("number"));
    world.clock.run(1_000);
    expect([read(1), read(2), read(3)]).toEqual([[NUMBER_7], [UNREAD], [NUMBER_7]]);
    world.network.carries = (from, to) => !/\.[134]$/.test(from) || !/\.[134]$/.test(to);
    await node(4, [2], { knows: true });
    world.clock.run(1_000);
    expect(read(4)).toEqual([NUMBER_7]);
  });

  it("and is malformed ends no session but its owner's", async () => {
    const { world, node, member, own, attached, say } = await mixed();
    await node(2, [1], { knows: true });
    world.clock.run(10_000);
    const passing = new Stranger(world, 67);
    passing.connect();
    member.connect();
    say(own());
    world.clock.run(1_000);
    const bad = attached("number", 1, "{}");
    passing.say({ type: "records", records: [bad] });
    world.clock.run(100);
    expect(passing.isClosed).toBe(false);
    say(attached("number", 2, "{}"));
    world.clock.run(100);
    expect(member.isClosed).toBe(true);
    expect(member.heard.join()).toMatch(/RECORD_MALFORMED/);
  });
});

describe("nodes that know the kind of the documents in force", () => {
  it("see them of each other through one that does not, and that sees none", async () => {
    const world = new World();
    // The first and the third meet by the second alone.
    world.network.mayDial = (from, to) => ![from, to].every((host) => /\.[13]$/.test(host));
    const unaware = (cluster: Cluster) => new RecordVerifier(cluster);
    const nodes = [
      await world.node(1, []),
      await world.node(2, [1], new MemoryDisk(), { verifier: unaware }),
      await world.node(3, [2]),
    ];
    world.clock.run(10_000);
    for (const { mesh } of nodes) mesh.enforces(POLICY, null);
    world.clock.run(10_000);
    const none = [{ kind: "policy", version: 0 }];
    const seen = nodes.map(({ mesh }) => mesh.members().map(({ documents }) => documents));
    expect(seen).toEqual([
      [none, none],
      [[], []],
      [none, none],
    ]);
  });
});

describe("a record that comes before the node record of its owner", () => {
  it("is asked for again, together with that", async () => {
    const { world, read, member, own, attached, say } = await mixed();
    member.connect();
    say(attached("number"));
    world.clock.run(100);
    const wanted = member.heard
      .map((text) => parseMessage(text)!)
      .flatMap((message) => (message.type === "want" ? [message.keys] : []));
    const { id } = member.identity;
    expect(wanted).toEqual([
      [
        [id, "node"],
        [id, "number"],
      ],
    ]);
    say(own(), attached("number"));
    world.clock.run(100);
    expect(read(1)).toEqual([NUMBER_7]);
  });
});

describe("a member with ten thousand kinds", () => {
  it("fills no memory, and keeps nothing of others out", async () => {
    const { world, node, read, member, own, attached, say } = await mixed();
    const second = await node(2, [1], { knows: true });
    world.clock.run(10_000);
    member.connect();
    say(own());
    world.clock.run(1_000);
    // Each is before the ones that came before it, and so has a place.
    const names = Array.from(
      { length: 10_000 },
      (_, n) => `k${String(9_999 - n).padStart(4, "0")}`,
    );
    for (let n = 0; n < names.length; n += 64) {
      say(...names.slice(n, n + 64).map((kind) => attached(kind)));
      world.clock.run(100);
    }
    const { burst, rate } = VERIFY_LIMITS.owner;
    expect(read(1).length).toBeLessThanOrEqual(burst + rate * (names.length / 64));
    expect(heldOf(member, member.identity.id, world).length).toBeLessThanOrEqual(
      MAX_ATTACHED.records + 1,
    );
    await second.mesh.setEndpoint("192.0.2.22:4789");
    const third = await node(3, [1], { knows: true });
    world.clock.run(10_000);
    expect(
      third.mesh
        .members()
        .map(({ endpoint }) => endpoint)
        .sort(),
    ).toEqual(["192.0.2.1:4789", "192.0.2.22:4789", "192.0.2.66:4789"]);
  });
});
