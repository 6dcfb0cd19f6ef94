/** The version of the policy that each node enforces, as nodes report it to each other. */
import { describe, expect, it } from "vitest";
import { DOCUMENTS, type DocumentInForce, PUBLISH_LIMIT } from "../../src/documents/in-force.js";
import { WeftError } from "../../src/error.js";
import { RecordVerifier } from "../../src/gossip/record-verifier.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { RECORD_KINDS } from "../../src/mesh/record-kinds.js";
import { POLICY } from "../../src/policy/kind.js";
import { attachedEnvelope, cluster as of } from "../mesh/cluster.js";
import { World } from "../mesh/world.js";

const NODES = 3;

const policy = (name: string): string =>
  JSON.stringify({ policies: [{ name, applies: ["10.244.0.0/16"], ingress: [] }] });

/** Acts as an agent whose dataplane enforces every policy at once. */
function enforce(mesh: Mesh): void {
  mesh.enforces(
    POLICY,
    mesh.knowsDocument(POLICY) ? (mesh.document(POLICY)?.seal ?? null) : undefined,
  );
}

async function cluster() {
  const world = new World();
  const nodes = [];
  for (let n = 1; n <= NODES; n++) nodes.push(await world.node(n, n === 1 ? [] : [n - 1]));
  world.clock.run(10_000);
  const meshes = nodes.map(({ mesh }) => mesh);
  for (const mesh of meshes) {
    mesh.on("change", () => enforce(mesh));
    enforce(mesh);
  }
  world.clock.run(10_000);
  /** The version that every node knows of every other one. */
  const said = (): DocumentInForce[] =>
    meshes.flatMap((mesh) => mesh.members().flatMap(({ documents }) => documents));
  return { world, nodes, meshes, said };
}

describe("a record", () => {
  it("says that there is no policy, then which one is in force, and the others hear of it", async () => {
    const { world, meshes, said } = await cluster();
    const all = (document: DocumentInForce) => Array(NODES * (NODES - 1)).fill(document);
    expect(said()).toEqual(all({ kind: "policy", version: 0 }));
    const applied = meshes[0]!.applyDocument(POLICY, policy("a"));
    world.clock.run(3_000);
    const { seal } = await applied;
    const now = { kind: "policy", version: 1, hash: seal.digest.slice(0, 16) };
    expect(said()).toEqual(all(now));
    expect(meshes.map((mesh) => mesh.self().documents)).toEqual(Array(NODES).fill([now]));
  });

  it("says what the dataplane has, not what is held: one that does not fit is named beside it", async () => {
    const { world, meshes } = await cluster();
    const [first, second] = meshes as [Mesh, Mesh];
    second.removeAllListeners("change");
    first.applyDocument(POLICY, policy("a"));
    world.clock.run(3_000);
    const seen = () => first.members().find(({ name }) => name === "h2")!.documents;
    expect(second.document(POLICY)?.seal.version).toBe(1);
    expect(seen()).toEqual([{ kind: "policy", version: 0 }]);
    second.enforces(POLICY, null, { isMisfit: true });
    world.clock.run(3_000);
    const held = { version: 1, why: "too-large" };
    expect(seen()).toEqual([{ kind: "policy", version: 0, held }]);
    second.enforces(POLICY, second.document(POLICY)!.seal);
    world.clock.run(3_000);
    expect(seen()).toMatchObject([{ version: 1 }]);
  });

  it("says nothing of a policy before the node knows whether there is one", async () => {
    const { world, meshes } = await cluster();
    meshes[1]!.removeAllListeners("change");
    meshes[1]!.enforces(POLICY, undefined);
    world.clock.run(3_000);
    expect(meshes[0]!.members().find(({ name }) => name === "h2")!.documents).toEqual([]);
  });

  it("is published once for a new policy, and seldom for many", async () => {
    const { world, nodes, meshes } = await cluster();
    const version = (n: number) => nodes[n]!.disk.load()!.cluster!.versions[DOCUMENTS.name] ?? 0;
    const [before, applied] = [version(1), meshes[0]!.applyDocument(POLICY, policy("a"))];
    world.clock.run(10_000);
    await applied;
    expect(version(1) - before).toBe(1);
    const SECONDS = 60;
    const flood = version(1);
    for (let n = 0; n < SECONDS; n++) {
      meshes[0]!.applyDocument(POLICY, policy(`p${n}`));
      world.clock.run(1_000);
    }
    expect(version(1) - flood).toBeLessThanOrEqual(
      PUBLISH_LIMIT.burst + PUBLISH_LIMIT.rate * SECONDS + 1,
    );
    world.clock.run(60_000);
    const last = meshes[0]!.document(POLICY)!.seal.version;
    expect(last).toBe(1 + SECONDS);
    const [seen] = meshes[0]!.members().find(({ name }) => name === "h2")!.documents;
    expect(seen).toMatchObject({ version: last });
  });
});

describe("a record of a liar", () => {
  const document = { kind: "policy", version: 1, hash: "0".repeat(16) };
  const opened = (documents: unknown) => {
    const body = JSON.stringify({ epoch: "5eed0001", documents });
    const { name: kind } = DOCUMENTS;
    return new RecordVerifier(of, RECORD_KINDS).verify(attachedEnvelope(1, { kind, body }));
  };

  it.each([
    ["nine documents", Array(9).fill(document)],
    ["a version that cannot be", [{ ...document, version: 2 ** 31 }]],
    ["a version below none", [{ ...document, version: -1 }]],
    ["a hash that is too long", [{ ...document, hash: "0".repeat(64) }]],
    ["a reason with an escape", [{ ...document, held: { version: 2, why: "\u001b[2J" } }]],
    ["a reason without end", [{ ...document, held: { version: 2, why: "a".repeat(33) } }]],
    ["another field", [{ ...document, more: 1 }]],
  ])("with %s is refused", (_, documents) => {
    expect(opened(documents)).toBeInstanceOf(WeftError);
  });

  it("with a kind of document that is not known here is kept as it is", () => {
    const documents = [{ kind: "settings", version: 2 ** 31 - 1 }, document];
    expect(opened(documents)).toMatchObject({ content: { documents } });
  });
});
