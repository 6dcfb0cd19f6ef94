/** A peer with the secret and an identity that abuses the messages of gossip. */
import { describe, expect, it } from "vitest";
import type { AnyRecord } from "../../src/gossip/attached-record.js";
import type { Range } from "../../src/gossip/digest-tree.js";
import { Gossip, SERVE_LIMITS } from "../../src/gossip/gossip.js";
import { Members } from "../../src/gossip/members.js";
import type { GossipMessage } from "../../src/gossip/messages.js";
import { LEASE_TTL } from "../../src/gossip/record.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import type { Session } from "../../src/session/session.js";
import { attachedEnvelope, cluster, envelopeOf, identity, TUNNEL } from "../mesh/cluster.js";
import { Stranger } from "../mesh/stranger.js";
import { MemoryDisk, World } from "../mesh/world.js";
import { ManualClock } from "../time/manual-clock.js";

const BUCKETS = "f".repeat(64 * 16);

/** Counts the records that were looked at in a range. */
class Searched extends Members {
  found = 0;

  override *inRange(range: Range): Generator<AnyRecord> {
    for (const record of super.inRange(range)) {
      this.found++;
      yield record;
    }
  }
}

/** Three nodes, and a stranger with a session to the first. */
async function three() {
  const world = new World();
  const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [1])];
  world.clock.run(10_000);
  const stranger = new Stranger(world);
  stranger.connect();
  return { world, nodes, stranger };
}

describe("a peer that", () => {
  it("asks for the same again and again gets so much and no more", async () => {
    const { world, nodes, stranger } = await three();
    const keys = nodes.map(({ mesh }) => [mesh.self().id, "node"]);
    stranger.say({ type: "want", keys: Array.from({ length: 256 }, (_, n) => keys[n % 3]) });
    world.clock.run(10);
    expect(stranger.count(/"body"/g)).toBe(3);
    for (let second = 0; second < 40; second++) {
      for (let n = 0; n < 190; n++) stranger.say({ type: "want", keys });
      world.clock.run(1_000);
    }
    const { burst, rate } = SERVE_LIMITS.records;
    expect(stranger.count(/"body"/g)).toBeLessThanOrEqual(burst + 41 * rate);
    expect(nodes[0]!.mesh.problems()).toEqual([]);
  });

  it("claims to have nothing again and again gets so much and no more", async () => {
    const { world, stranger } = await three();
    for (let second = 0; second < 60; second++) {
      for (let n = 0; n < 190; n++)
        stranger.say({ type: "versions", after: "", until: "", versions: [] });
      world.clock.run(1_000);
    }
    const { burst, rate } = SERVE_LIMITS.records;
    const words = stranger.count(/\["[0-9a-f]{32}","node",\d+\]/g);
    expect(words).toBeGreaterThan(burst);
    expect(words).toBeLessThanOrEqual(burst + 61 * rate);
  });

  it("claims to have nothing again and again makes a node search its records as often and no more", () => {
    const members = new Searched(new RecordVerifier(cluster), TUNNEL, identity(99).id);
    for (let n = 1; n <= 90; n++) members.merge(envelopeOf(n));
    const gossip = new Gossip({
      clock: new ManualClock(),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      members,
      connections: { sessions: () => [], sessionWith: () => undefined },
    });
    const session = { peer: { id: "66".repeat(16) }, send: () => {} };
    const messages = 2_000;
    for (let n = 0; n < messages; n++) {
      gossip.received(session as unknown as Session<GossipMessage>, {
        type: "versions",
        after: "",
        until: "",
        versions: [],
      });
    }
    expect(members.found).toBeLessThanOrEqual(SERVE_LIMITS.records.burst + messages);
  });

  it("compares without end is answered now and then", async () => {
    const { world, stranger } = await three();
    for (let n = 0; n < 500; n++) {
      stranger.say({ type: "digest", digest: "00".repeat(32) });
      stranger.say({ type: "buckets", buckets: BUCKETS });
    }
    world.clock.run(1_000);
    // Each answer to `buckets` is at most 64 pages.
    const { burst, rate } = SERVE_LIMITS.comparisons;
    expect(stranger.count(/"type":"versions"/g)).toBeLessThanOrEqual(64 * (burst + 2 * rate));
  });

  it("speaks of versions that do not exist is asked for them, and hinders nothing", async () => {
    const { world, nodes, stranger } = await three();
    const [a, b] = nodes;
    const id = b!.mesh.self().id;
    const lie = () =>
      stranger.say({
        type: "have",
        versions: [
          [id, "node", 2 ** 31 - 1],
          ["ab".repeat(16), "node", 7],
        ],
      });
    for (let n = 0; n < 100; n++) lie();
    world.clock.run(100);
    expect(stranger.count(/"type":"want"/g)).toBe(1);
    await b!.mesh.setEndpoint("192.0.2.22:4789");
    for (let second = 0; second < 20; second++) {
      lie();
      world.clock.run(1_000);
    }
    const seen = a!.mesh.members().find((member) => member.id === id);
    expect(seen).toMatchObject({ endpoint: "192.0.2.22:4789", state: "established" });
    expect(a!.mesh.members()).toHaveLength(2);
  });

  it("sends attached records of nodes that do not exist is asked once for each message", async () => {
    const { world, stranger } = await three();
    const records = Array.from({ length: 64 }, (_, n) => attachedEnvelope(100 + n));
    stranger.say({ type: "records", records });
    stranger.say({ type: "records", records });
    world.clock.run(2_000);
    expect(stranger.count(/"type":"want"/g)).toBe(2);
    expect(stranger.isClosed).toBe(false);
  });

  it("speaks of ranges that run backwards, and of ids out of order, changes nothing", async () => {
    const { world, nodes, stranger } = await three();
    const before = nodes[0]!.mesh.members().map(({ name }) => name);
    stranger.say({
      type: "versions",
      after: "ff".repeat(16),
      until: "00".repeat(16),
      versions: [],
    });
    stranger.say({
      type: "versions",
      after: "",
      until: "00".repeat(16),
      versions: [
        ["ff".repeat(16), "node", 1],
        ["00".repeat(16), "node", 1],
        ["ff".repeat(16), "node", 3],
      ],
    });
    world.clock.run(1_000);
    expect(stranger.isClosed).toBe(false);
    expect(nodes[0]!.mesh.members().map(({ name }) => name)).toEqual(before);
  });

  it("replays true records, old and new and in any order, changes nothing", async () => {
    const { world, nodes, stranger } = await three();
    const [a, b] = nodes;
    const records: string[] = [];
    for (let n = 0; n < 5; n++) {
      stranger.say({ type: "want", keys: nodes.map(({ mesh }) => [mesh.self().id, "node"]) });
      await b!.mesh.setEndpoint(`192.0.2.${30 + n}:4789`);
      world.clock.run(10_000);
      records.push(...stranger.heard.splice(0).filter((text) => text.startsWith('{"type":"rec')));
    }
    expect(records.length).toBeGreaterThan(5);
    const state = () => nodes.map(({ mesh }) => mesh.members().map(({ rttMs: _, ...one }) => one));
    const before = state();
    expect(before[0]!.find(({ name }) => name === "h2")?.endpoint).toBe("192.0.2.34:4789");
    for (let n = 0; n < 200; n++) {
      stranger.sayText(records[Math.floor(world.clock.random() * records.length)]!);
      world.clock.run(20);
    }
    expect(state()).toEqual(before);
    expect(stranger.isClosed).toBe(false);
    expect(a!.mesh.problems()).toEqual([]);
  });

  it.each([
    ["a branch too few", { type: "buckets", buckets: BUCKETS.slice(16) }],
    ["branches that are no hashes", { type: "buckets", buckets: "x".repeat(BUCKETS.length) }],
    ["a version of 2^31", { type: "have", versions: [["ab".repeat(16), "node", 2 ** 31]] }],
    ["a version of 2^53", { type: "have", versions: [["ab".repeat(16), "node", 2 ** 53]] }],
    ["a version of 0", { type: "have", versions: [["ab".repeat(16), "node", 0]] }],
    ["an id that is none", { type: "have", versions: [["../../etc/passwd", "node", 1]] }],
    [
      "word of 257 records",
      { type: "have", versions: Array(257).fill(["ab".repeat(16), "node", 1]) },
    ],
    ["a kind that is none", { type: "have", versions: [["ab".repeat(16), "../node", 1]] }],
    ["a kind without end", { type: "want", keys: [["ab".repeat(16), "k".repeat(33)]] }],
  ])("sends %s is closed", async (_, message) => {
    const { world, stranger } = await three();
    stranger.say(message);
    world.clock.run(100);
    expect(stranger.isClosed).toBe(true);
    expect(stranger.heard.at(-1)).toMatch(/"code":"PROTOCOL"/);
  });
});

describe("a node whose clock is ten years", () => {
  it.each([
    ["ahead", 1],
    ["behind", -1],
  ])("%s is a member like others, and sees them as they are", async (_, sign) => {
    const YEARS = 10 * 365 * 24 * 3600_000;
    const world = new World();
    const nodes = [
      await world.node(1, []),
      await world.node(2, [1], new MemoryDisk(), { ahead: sign * YEARS }),
      await world.node(3, [2]),
    ];
    const names = () =>
      nodes.map(({ mesh }) =>
        mesh
          .members()
          .map(({ name, state }) => `${name} ${state}`)
          .sort(),
      );
    const all = [1, 2, 3].map((own) =>
      [1, 2, 3].filter((n) => n !== own).map((n) => `h${n} established`),
    );
    for (const wait of [20_000, LEASE_TTL + 3600_000]) {
      world.clock.run(wait);
      expect(names()).toEqual(all);
      expect(nodes.flatMap(({ mesh }) => mesh.problems())).toEqual([]);
    }
    // No other node gets its name, and it gets no other name.
    await world.node(4, [1], new MemoryDisk(), { name: "h2" });
    await world.node(5, [2], new MemoryDisk(), { name: "h3" });
    world.clock.run(20_000);
    expect(names()).toEqual(all);
  });
});
