/** Records that a node publishes beside its node record, by those of the documents in force. */
import { describe, expect, it } from "vitest";
import { DOCUMENTS, type DocumentInForce } from "../../src/documents/in-force.js";
import { MAX_ATTACHED } from "../../src/gossip/attached-record.js";
import { REPUBLISH_AFTER, WRITE_RETRY_AFTER } from "../../src/gossip/own-record.js";
import { MAX_VERSION, signBody } from "../../src/gossip/record.js";
import { Identity } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { POLICY } from "../../src/policy/kind.js";
import { Stranger } from "../mesh/stranger.js";
import { MemoryDisk, World } from "../mesh/world.js";

const NONE: DocumentInForce = { kind: "policy", version: 0 };
const MISFIT: DocumentInForce = { ...NONE, held: { version: 1, why: "too-large" } };

const policy = JSON.stringify({
  policies: [{ name: "a", applies: ["10.244.0.0/16"], ingress: [] }],
});

/** Two nodes that know a policy; the second says that it has none in force. */
async function two() {
  const world = new World();
  const [first, second] = [await world.node(1, []), await world.node(2, [1])];
  world.clock.run(10_000);
  first.mesh.applyDocument(POLICY, policy);
  world.clock.run(3_000);
  second.mesh.enforces(POLICY, null);
  world.clock.run(3_000);
  const seen = () => first.mesh.members().find(({ name }) => name === "h2")!.documents;
  return { world, first, second, seen };
}

/** As `two`, and what somebody says who has the key of the first. */
async function withKeyOfFirst() {
  const all = await two();
  const { seed, cluster: state } = all.first.disk.load()!;
  const [owner, cluster] = [new Identity(seed), clusterOf(state!.genesis)];
  const stranger = new Stranger(all.world);
  stranger.connect();
  const say = (records: Parameters<typeof signBody>[2][]) => {
    stranger.say({ type: "records", records: records.map((one) => signBody(owner, cluster, one)) });
    all.world.clock.run(100);
  };
  return { ...all, say };
}

const versionOf = (disk: MemoryDisk): number => disk.load()!.cluster!.versions[DOCUMENTS.name] ?? 0;
const misfits = (mesh: Mesh) => mesh.enforces(POLICY, null, { isMisfit: true });

describe("a record of another kind than node", () => {
  it("has a version of its own, on disk; the node record keeps its", async () => {
    const { world, second, seen } = await two();
    const { node } = second.disk.load()!.cluster!.versions;
    expect([versionOf(second.disk), seen()]).toEqual([1, [NONE]]);
    misfits(second.mesh);
    world.clock.run(3_000);
    expect([versionOf(second.disk), seen()]).toEqual([2, [MISFIT]]);
    expect(second.disk.load()!.cluster!.versions.node).toBe(node);
  });

  it("is not sent while its version cannot be written, and is when it can", async () => {
    const { world, second, seen } = await two();
    second.disk.full = true;
    misfits(second.mesh);
    world.clock.run(3 * WRITE_RETRY_AFTER);
    expect(seen()).toEqual([NONE]);
    expect(second.mesh.problems()).toContain("the disk is full: make room");
    second.disk.full = false;
    world.clock.run(WRITE_RETRY_AFTER + 1_000);
    expect(seen()).toEqual([MISFIT]);
  });

  it("goes on above what comes back after a backup was restored", async () => {
    const { world, second, seen } = await two();
    const backup = second.disk.copy();
    misfits(second.mesh);
    world.clock.run(3_000);
    await world.kill(second);
    const { mesh } = await world.node(2, [1], backup);
    mesh.enforces(POLICY, null);
    world.clock.run(2 * REPUBLISH_AFTER + 10_000);
    expect(seen()).toEqual([NONE]);
    expect(versionOf(backup)).toBeGreaterThan(2);
  });

  it("of an earlier run says nothing of the present one", async () => {
    const { world, second, seen } = await two();
    await world.kill(second);
    const { mesh } = await world.node(2, [1], second.disk);
    world.clock.run(10_000);
    expect(seen()).toEqual([]);
    mesh.enforces(POLICY, null);
    world.clock.run(3_000);
    expect(seen()).toEqual([NONE]);
  });

  it("is published again by a node that had stopped", async () => {
    const { world, second, seen } = await two();
    await second.mesh.stop();
    world.clock.run(10_000);
    const { mesh } = await world.node(2, [1], second.disk);
    mesh.enforces(POLICY, null);
    world.clock.run(10_000);
    expect([versionOf(second.disk), seen()]).toEqual([2, [NONE]]);
  });

  it("goes on above a malformed one that another has published with this node's key", async () => {
    const { world, first, second, say } = await withKeyOfFirst();
    say([{ kind: DOCUMENTS.name, version: 50, body: "{}" }]);
    misfits(first.mesh);
    world.clock.run(3_000);
    expect(versionOf(first.disk)).toBe(51);
    expect(second.mesh.members()[0]!.documents).toEqual([MISFIT]);
  });

  it("that finds no room beside others of this node's key is named as a problem, until it is restarted", async () => {
    const { world, first, say } = await withKeyOfFirst();
    const names = Array.from({ length: MAX_ATTACHED.records }, (_, n) => `a${n}`);
    say(names.map((kind) => ({ kind, version: 1, body: "{}" })));
    misfits(first.mesh);
    world.clock.run(3_000);
    const noRoom = expect.stringMatching(/no room for this node's record of kind documents/);
    expect(first.mesh.problems()).toContainEqual(noRoom);
    await first.mesh.stop();
    world.clock.run(1_000);
    const { mesh } = await world.node(1, [2], first.disk);
    world.clock.run(10_000);
    misfits(mesh);
    world.clock.run(3_000);
    expect(mesh.problems()).not.toContainEqual(noRoom);
    expect(mesh.self().documents).toEqual([MISFIT]);
  });

  it("of which the last version is published is not published again, and the node says so", async () => {
    const { world, second, seen } = await two();
    await world.kill(second);
    const { cluster, ...state } = second.disk.load()!;
    const disk = new MemoryDisk();
    const versions = { ...cluster!.versions, [DOCUMENTS.name]: MAX_VERSION };
    disk.save({ ...state, cluster: { ...cluster!, versions } });
    const { mesh } = await world.node(2, [1], disk);
    mesh.enforces(POLICY, null);
    world.clock.run(10_000);
    expect(seen()).toEqual([]);
    expect(mesh.problems()).toContainEqual(
      expect.stringMatching(/last version of this node's record of kind documents, 2147483647/),
    );
  });
});
