/**
 * Until members announce a document or say that there is none, a node does not know it, and its
 * dataplane stays closed. The policy stands for all kinds that gate packets.
 */
import { describe, expect, it } from "vitest";
import { SETTLE_AFTER } from "../../src/document-sync/absence.js";
import { type Seal, sealDocument } from "../../src/documents/sealed-document.js";
import { Identity } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import { POLICY } from "../../src/policy/kind.js";
import { Stranger } from "../mesh/stranger.js";
import { type MemoryDisk, World } from "../mesh/world.js";

const TEXT = JSON.stringify({
  policies: [{ name: "a", applies: ["10.244.0.0/16"], ingress: [] }],
});

const grown = async (count: number) => {
  const world = new World();
  const nodes = [await world.node(1, [])];
  for (let n = 2; n <= count; n++) nodes.push(await world.node(n, [1]));
  world.clock.run(5_000);
  return { world, nodes };
};

/** A policy that a node could announce as the cluster's. */
function sealedBy({ disk }: { readonly disk: MemoryDisk }, version: number, text: string): Seal {
  const { seed, cluster } = disk.load()!;
  const proof = cluster!.leases[0]!;
  return sealDocument(new Identity(seed), clusterOf(cluster!.genesis), {
    kind: "policy",
    proof,
    version,
    text,
  });
}

describe("whether there is a policy", () => {
  it("is known to the founder, at once and after a restart without other nodes", async () => {
    const world = new World();
    const first = await world.node(1, []);
    expect(first.mesh.knowsDocument(POLICY)).toBe(true);
    await world.kill(first);
    const again = await world.node(1, [], first.disk);
    expect(again.mesh.knowsDocument(POLICY)).toBe(true);
  });

  it("is not known to a joiner until the policy is there, at any moment", async () => {
    const { world, nodes } = await grown(3);
    nodes[1]!.mesh.applyDocument(POLICY, TEXT);
    world.clock.run(1_000);
    const late = await world.node(4, [1]);
    let moments = 0;
    while (!late.mesh.knowsDocument(POLICY)) {
      expect(late.mesh.document(POLICY)).toBeUndefined();
      expect(late.mesh.problems().join()).toMatch(/no packet passes yet|not known yet/);
      world.clock.run(1);
      moments++;
    }
    expect(moments).toBeGreaterThan(1);
    expect(late.mesh.document(POLICY)!.text).toBe(TEXT);
    expect(late.mesh.problems().join()).not.toMatch(/no packet passes yet/);
  });

  it("is known when members say that there is none, and stays known without other nodes", async () => {
    const { world, nodes } = await grown(3);
    for (const { mesh } of nodes) expect(mesh.knowsDocument(POLICY)).toBe(true);
    for (const node of nodes) await world.kill(node);
    const again = await world.node(3, [1], nodes[2]!.disk);
    expect(again.mesh.knowsDocument(POLICY)).toBe(true);
    expect(again.mesh.document(POLICY)).toBeUndefined();
  });

  it("is known soon in a cluster whose nodes all join at once", async () => {
    const world = new World();
    const nodes = [await world.node(1, [])];
    for (let n = 2; n <= 8; n++) nodes.push(await world.node(n, [1]));
    world.clock.run(5_000);
    expect(nodes.map(({ mesh }) => mesh.knowsDocument(POLICY))).toEqual(Array(8).fill(true));
  });

  it("is not known while the text of an announced seal is fetched", async () => {
    const { world, nodes } = await grown(2);
    nodes[0]!.mesh.applyDocument(POLICY, TEXT.padEnd(1_000_000));
    world.clock.run(2_000);
    const late = await world.node(3, [1]);
    while (!late.mesh.document(POLICY)) {
      expect(late.mesh.knowsDocument(POLICY)).toBe(false);
      world.clock.run(1);
    }
    expect(late.mesh.knowsDocument(POLICY)).toBe(true);
  });

  it("is not known from one member's statement while there is a second member", async () => {
    const { world, nodes } = await grown(3);
    // The newcomer dials the first node, which does not know the policy and says that there is none.
    const others = ["192.0.2.2", "192.0.2.3"];
    const isCut = (from: string, to: string) => from === "192.0.2.1" && others.includes(to);
    world.network.carries = (from, to) => !isCut(from, to) && !isCut(to, from);
    nodes[1]!.mesh.applyDocument(POLICY, TEXT);
    world.clock.run(500);
    expect(nodes[0]!.mesh.document(POLICY)).toBeUndefined();
    const late = await world.node(4, [1]);
    while (!late.mesh.document(POLICY)) {
      expect(late.mesh.knowsDocument(POLICY)).toBe(false);
      world.clock.run(1);
    }
    expect(late.mesh.document(POLICY)!.text).toBe(TEXT);
  });

  it("is said by members: a node with the secret but no lease is not believed", async () => {
    const { nodes } = await grown(2);
    const { genesis } = nodes[0]!.disk.load()!.cluster!;
    const world = new World();
    const late = await world.node(1, [2]);
    const stranger = new Stranger(world);
    stranger.connect();
    stranger.say({ type: "cluster", genesis });
    stranger.say({ type: "document-none", kind: "policy", isCertain: true });
    world.clock.run(2 * SETTLE_AFTER);
    expect(late.mesh.self().network).toEqual(["10.244.0.0/16"]);
    expect(late.mesh.knowsDocument(POLICY)).toBe(false);
  });

  it("is not known while the text of a sealed policy is nowhere to be had, and the status names it", async () => {
    const world = new World();
    const founder = await world.node(2, []);
    await world.node(3, [2]);
    world.clock.run(5_000);
    const isCut = (from: string, to: string) =>
      [from, to].includes("192.0.2.1") && [from, to].includes("192.0.2.3");
    world.network.carries = (from, to) => !isCut(from, to);
    const late = await world.node(1, [2]);
    world.clock.run(1_000);
    const stranger = new Stranger(world);
    stranger.connect();
    stranger.say({ type: "document-have", seal: sealedBy(founder, 7, TEXT) });
    world.clock.run(2 * SETTLE_AFTER);
    expect(late.mesh.knowsDocument(POLICY)).toBe(false);
    expect(late.mesh.problems().join()).toMatch(
      /no packet passes yet: the text of policy 7, applied on \w+, has not come/,
    );
    await founder.mesh.applyDocument(POLICY, TEXT);
    world.clock.run(1_000);
    expect(late.mesh.knowsDocument(POLICY)).toBe(true);
    expect(late.mesh.problems().join()).not.toMatch(/no packet passes/);
  });

  it("is not said to be none by members that cannot read theirs any more", async () => {
    const { world, nodes } = await grown(2);
    const text = "policies: []";
    for (const node of nodes) {
      await world.kill(node);
      node.disk.saveDocument({ seal: sealedBy(nodes[0]!, 7, text), text });
    }
    for (const n of [1, 2]) await world.node(n, [1, 2], nodes[n - 1]!.disk);
    const late = await world.node(3, [1, 2]);
    world.clock.run(2 * SETTLE_AFTER);
    expect(late.mesh.self().leases).toHaveLength(1);
    expect(late.mesh.knowsDocument(POLICY)).toBe(false);
  });

  it("is learned after a while in a cluster in which no node knows any more", async () => {
    const { world, nodes } = await grown(3);
    for (const node of nodes) {
      await world.kill(node);
      const state = node.disk.load()!;
      node.disk.save({ ...state, cluster: { ...state.cluster!, absentDocuments: [] } });
    }
    const again = [];
    for (const n of [1, 2, 3]) again.push(await world.node(n, [1, 2, 3], nodes[n - 1]!.disk));
    world.clock.run(SETTLE_AFTER - 5_000);
    expect(again.map(({ mesh }) => mesh.knowsDocument(POLICY))).toEqual([false, false, false]);
    world.clock.run(15_000);
    expect(again.map(({ mesh }) => mesh.knowsDocument(POLICY))).toEqual([true, true, true]);
  });

  it("is not known where the policy on disk cannot be read any more, until another one is there", async () => {
    const { world, nodes } = await grown(3);
    const { disk } = nodes[2]!;
    const text = "policies: []";
    const seal = sealedBy(nodes[2]!, 7, text);
    await world.kill(nodes[2]!);
    disk.saveDocument({ seal, text });
    const again = await world.node(3, [1], disk);
    world.clock.run(2 * SETTLE_AFTER);
    expect(again.mesh.problems().join()).toMatch(
      /no packet passes yet: the policy on disk cannot be read.*refused policy 7 of .* JSON/,
    );
    expect(nodes[0]!.mesh.problems().join()).not.toMatch(/refused/);
    await nodes[0]!.mesh.applyDocument(POLICY, TEXT);
    world.clock.run(1_000);
    expect(again.mesh.knowsDocument(POLICY)).toBe(true);
  });
});
