/** Documents of several kinds travel side by side, also past nodes that do not know them all. */
import { describe, expect, it } from "vitest";
import { FETCH_LIMIT } from "../../src/document-sync/fetcher.js";
import { PART_LIMIT } from "../../src/document-sync/server.js";
import type { DocumentKind } from "../../src/documents/document-kind.js";
import { type Seal, sealDocument } from "../../src/documents/sealed-document.js";
import { WeftError } from "../../src/error.js";
import { Identity } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { POLICY } from "../../src/policy/kind.js";
import { Stranger } from "../mesh/stranger.js";
import { type MemoryDisk, World } from "../mesh/world.js";

/** A kind of this test alone: its texts begin with "note". */
const NOTES: DocumentKind<{ readonly words: number }> = {
  name: "notes",
  title: "notes",
  maxBytes: 100_000,
  gatesPackets: false,
  read: (text, done) => {
    const words = text.split(" ");
    if (words[0] === "note") done({ words: words.length });
    else done(new WeftError("NOTES", "this is no note", "begin with: note"));
  },
};

const policy = (name: string): string =>
  JSON.stringify({ policies: [{ name, applies: ["10.244.0.0/16"], ingress: [] }] });

/** Three nodes; each knows policies, and those of `know` know notes. */
async function three(know = [1, 2, 3]) {
  const world = new World();
  const nodes = [];
  for (const [n, joins] of [
    [1, []],
    [2, [1]],
    [3, [2]],
  ] as const) {
    const documents = know.includes(n) ? [POLICY, NOTES] : [POLICY];
    nodes.push(await world.node(n, [...joins], undefined, { documents }));
  }
  world.clock.run(10_000);
  const [a, b, c] = nodes.map(({ mesh }) => mesh) as [Mesh, Mesh, Mesh];
  const notes = (...meshes: Mesh[]) => meshes.map((mesh) => mesh.document(NOTES)?.text);
  const policies = (...meshes: Mesh[]) => meshes.map((mesh) => mesh.document(POLICY)?.text);
  return { world, nodes, a, b, c, notes, policies };
}

/** A document that a node could announce as the cluster's. */
function sealedBy(disk: MemoryDisk, kind: string, version: number, text: string): Seal {
  const { seed, cluster } = disk.load()!;
  const proof = cluster!.leases[0]!;
  const of = clusterOf(cluster!.genesis);
  return sealDocument(new Identity(seed), of, { kind, proof, version, text });
}

/** Three nodes that hold a policy and notes, and a stranger with a session to the first. */
async function withStranger() {
  const all = await three();
  all.a.applyDocument(POLICY, policy("a"));
  all.b.applyDocument(NOTES, "note one");
  all.world.clock.run(1_000);
  const stranger = new Stranger(all.world);
  stranger.connect();
  const seal = (kind: string, version: number, text: string) =>
    sealedBy(all.nodes[1]!.disk, kind, version, text);
  const announce = (seal: Seal) => {
    stranger.say({ type: "document-have", seal });
    all.world.clock.run(100);
  };
  return { ...all, stranger, seal, announce };
}

describe("two kinds side by side", () => {
  it("have each its own versions, texts and facts", async () => {
    const { world, a, b, c, notes, policies } = await three();
    a.applyDocument(POLICY, policy("a"));
    b.applyDocument(NOTES, "note one");
    world.clock.run(1_000);
    c.applyDocument(NOTES, "note one two");
    world.clock.run(1_000);
    expect(policies(a, b, c)).toEqual(Array(3).fill(policy("a")));
    expect(notes(a, b, c)).toEqual(Array(3).fill("note one two"));
    expect(a.document(POLICY)!.seal.version).toBe(1);
    expect(a.document(NOTES)).toMatchObject({ seal: { version: 2 }, facts: { words: 3 } });
  });

  it("are both on disk, and held after a restart with no other node there", async () => {
    const { world, nodes } = await withStranger();
    for (const node of nodes) await world.kill(node);
    const { mesh } = await world.node(3, [2], nodes[2]!.disk, { documents: [NOTES, POLICY] });
    expect(mesh.document(POLICY)!.text).toBe(policy("a"));
    expect(mesh.document(NOTES)!.text).toBe("note one");
  });

  it("are both in what the records say is in force", async () => {
    const { world, a, b } = await withStranger();
    b.enforces(NOTES, b.document(NOTES)!.seal);
    b.enforces(POLICY, b.document(POLICY)!.seal);
    world.clock.run(3_000);
    const documents = a.members().find(({ name }) => name === "h2")!.documents;
    expect(documents).toMatchObject([
      { kind: "policy", version: 1 },
      { kind: "notes", version: 1 },
    ]);
  });

  it("are told apart by the signature: one is never taken for the other", async () => {
    const { stranger, seal, announce, a, policies } = await withStranger();
    announce({ ...seal("notes", 9, policy("b")), kind: "policy" });
    expect(stranger.isClosed).toBe(true);
    expect(stranger.heard.at(-1)).toMatch(/"code":"DOCUMENT_FORGED"/);
    expect(policies(a)).toEqual([policy("a")]);
  });

  it("do not wait for each other: a text that never arrives does not delay the other kind", async () => {
    const { world, announce, seal, stranger, a, b, c, policies } = await withStranger();
    announce(seal("notes", 9, "note never given"));
    expect(stranger.count(/"document-want","kind":"notes"/g)).toBe(1);
    c.applyDocument(POLICY, policy("b"));
    world.clock.run(500);
    expect(policies(a, b, c)).toEqual(Array(3).fill(policy("b")));
  });

  it("are refused each by its own rules, and the other stays", async () => {
    const { announce, seal, stranger, a, notes, policies } = await withStranger();
    const [bad, text] = [seal("notes", 9, policy("b")), policy("b")];
    announce(bad);
    stranger.giveAll(bad, text);
    expect(notes(a)).toEqual(["note one"]);
    expect(policies(a)).toEqual([policy("a")]);
    expect(a.problems().join()).toMatch(/refused notes 9 of h2: this is no note/);
    expect(stranger.isClosed).toBe(false);
  });

  it("gate packets each for itself: a node without the one that does not is open", async () => {
    const { a, notes } = await three();
    expect(notes(a)).toEqual([undefined]);
    expect(a.knowsDocument(POLICY)).toBe(true);
    expect(a.problems()).toEqual([]);
  });

  it("of which both gate packets are known to be absent each by itself", async () => {
    const world = new World();
    const gate = { ...NOTES, gatesPackets: true };
    const options = { documents: [POLICY, gate] };
    const founder = await world.node(1, [], undefined, options);
    expect(founder.mesh.knowsDocument(gate)).toBe(true);
    await founder.mesh.applyDocument(POLICY, policy("a"));
    const late = await world.node(2, [1], undefined, options);
    expect(late.mesh.knowsDocument(gate)).toBe(false);
    expect(late.mesh.problems().join()).not.toMatch(/refused/);
    world.clock.run(10_000);
    expect(late.mesh.document(POLICY)!.text).toBe(policy("a"));
    expect(late.mesh.knowsDocument(gate)).toBe(true);
    expect(late.disk.load()!.cluster!.absentDocuments).toEqual(["notes"]);
  });
});

describe("a kind that a node does not know", () => {
  it("passes that node by: the others have it from each other, and all else goes on", async () => {
    const { world, nodes, a, b, c, notes, policies } = await three([1, 3]);
    const ends = ["192.0.2.1", "192.0.2.3"];
    world.network.carries = (from, to) => !(ends.includes(from) && ends.includes(to));
    world.clock.run(60_000);
    a.applyDocument(NOTES, "note one");
    a.applyDocument(POLICY, policy("a"));
    world.clock.run(60_000);
    expect(policies(a, b, c)).toEqual(Array(3).fill(policy("a")));
    expect(notes(a, c)).toEqual(["note one", undefined]);
    expect(nodes[1]!.disk.loadDocument("notes")).toBeUndefined();
    expect(b.problems()).toEqual([]);
    expect(world.said.filter((line) => /session with h2 ended/.test(line))).toEqual([]);

    world.network.carries = () => true;
    world.clock.run(120_000);
    expect(notes(a, c)).toEqual(["note one", "note one"]);
  });

  it("is no reason to close a session, whatever is said of it, and nothing is kept or asked for", async () => {
    const { world, stranger, seal, nodes } = await withStranger();
    const future = seal("future", 1, "{}");
    const before = JSON.stringify(nodes[0]!.disk.load());
    stranger.say({ type: "document-have", seal: future });
    stranger.say({ type: "document-have", seal: { ...future, version: 2 } });
    stranger.say({ type: "document-none", kind: "future", isCertain: true });
    const { digest } = future;
    stranger.say({ type: "document-want", kind: "future", digest, part: 0 });
    stranger.say({ type: "document-part", kind: "future", digest, part: 0, bytes: "e30=" });
    world.clock.run(1_000);
    expect(stranger.isClosed).toBe(false);
    expect(stranger.count(/future/g)).toBe(0);
    expect(JSON.stringify(nodes[0]!.disk.load())).toBe(before);
    expect(nodes[0]!.disk.loadDocument("future")).toBeUndefined();
  });
});

describe("the limit of a kind", () => {
  const LONG = "note".padEnd(NOTES.maxBytes + 1);

  it("holds for its texts: a longer one cannot be applied, and one is refused by its seal alone", async () => {
    const { announce, seal, stranger, a, notes } = await withStranger();
    const error = await a.applyDocument(NOTES, LONG).catch((error) => error);
    expect(error).toMatchObject({ code: "DOCUMENT_SIZE" });
    announce(seal("notes", 9, LONG));
    expect(stranger.count(/"document-want"/g)).toBe(0);
    expect(stranger.isClosed).toBe(false);
    expect(a.problems().join()).toMatch(/refused notes 9 of h2: .*longer than 100000 bytes/);
    expect(notes(a)).toEqual(["note one"]);
  });

  it("on parts holds for each kind: a peer that has had its share of one still gets the other", async () => {
    const { world, stranger, a } = await withStranger();
    const want = (kind: DocumentKind) => {
      const { digest } = a.document(kind)!.seal;
      stranger.say({ type: "document-want", kind: kind.name, digest, part: 0 });
    };
    for (let n = 0; n < 2 * PART_LIMIT.burst; n++) want(NOTES);
    world.clock.run(100);
    expect(stranger.count(/"document-part","kind":"notes"/g)).toBe(PART_LIMIT.burst);
    want(POLICY);
    world.clock.run(100);
    expect(stranger.count(/"document-part","kind":"policy"/g)).toBe(1);
  });

  it("on fetched texts holds for each kind: a flood of one delays the other by nothing", async () => {
    const { world, stranger, seal, announce, c, a, policies } = await withStranger();
    for (let version = 2; version < 2 + 2 * FETCH_LIMIT.burst; version++) {
      const text = `note ${version}`;
      announce(seal("notes", version, text));
      stranger.giveAll(seal("notes", version, text), text);
    }
    expect(stranger.count(/"document-want","kind":"notes"/g)).toBeLessThan(2 * FETCH_LIMIT.burst);
    c.applyDocument(POLICY, policy("b"));
    world.clock.run(500);
    expect(policies(a)).toEqual([policy("b")]);
  });
});
