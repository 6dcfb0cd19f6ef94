/** A cluster document travels, stays, and cannot be forged; the policy stands for all kinds. */
import { describe, expect, it } from "vitest";
import { ANNOUNCE_EVERY } from "../../src/document-sync/document-sync.js";
import { FETCH_LIMIT, PART_TIMEOUT } from "../../src/document-sync/fetcher.js";
import type { DocumentMessage, DocumentSession } from "../../src/document-sync/messages.js";
import { DocumentServer, PART_LIMIT } from "../../src/document-sync/server.js";
import {
  MAX_DOCUMENT_BYTES,
  MAX_DOCUMENT_VERSION,
  PART_BYTES,
  partOf,
  type Seal,
  sealDocument,
} from "../../src/documents/sealed-document.js";
import { WeftError } from "../../src/error.js";
import { Identity } from "../../src/identity/identity.js";
import { clusterOf } from "../../src/lease/genesis.js";
import type { Mesh } from "../../src/mesh/mesh.js";
import { POLICY } from "../../src/policy/kind.js";
import { cluster, identity, proofFor } from "../mesh/cluster.js";
import { Stranger } from "../mesh/stranger.js";
import { MemoryDisk, World } from "../mesh/world.js";
import { ManualClock } from "../time/manual-clock.js";

/** One policy, called `name`, in a text of at least so many bytes. */
const policy = (name: string, bytes = 0): string =>
  JSON.stringify({ policies: [{ name, applies: ["10.244.0.0/16"], ingress: [] }] }).padEnd(bytes);

const nameIn = (mesh: Mesh) => {
  const policy = mesh.document(POLICY);
  return policy && JSON.parse(policy.text).policies[0].name;
};
const codeOf = async (act: () => unknown): Promise<string | undefined> => {
  try {
    await act();
  } catch (error) {
    if (error instanceof WeftError) return error.code;
    throw error;
  }
  return undefined;
};

async function three() {
  const world = new World();
  const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [2])];
  world.clock.run(10_000);
  const names = () => nodes.map(({ mesh }) => nameIn(mesh));
  return { world, nodes, names, meshes: nodes.map(({ mesh }) => mesh) };
}

describe("a document", () => {
  it("that any member applies is everyone's, and the next one after it", async () => {
    const { world, meshes, names } = await three();
    expect(names()).toEqual([undefined, undefined, undefined]);
    meshes[0]!.applyDocument(POLICY, policy("a"));
    world.clock.run(1_000);
    expect(names()).toEqual(["a", "a", "a"]);
    meshes[2]!.applyDocument(POLICY, policy("b"));
    world.clock.run(1_000);
    expect(names()).toEqual(["b", "b", "b"]);
    expect(meshes.map((mesh) => mesh.document(POLICY)!.seal.version)).toEqual([2, 2, 2]);
  });

  it("is in the log of each node, with the name of the one where it was applied", async () => {
    const { world, meshes } = await three();
    meshes[1]!.applyDocument(POLICY, policy("b"));
    world.clock.run(2_000);
    expect(world.said.filter((line) => line.includes("policy 1")).sort()).toEqual([
      "h1 policy 1 came, applied on h2",
      "h2 policy 1 is applied on this node",
      "h3 policy 1 came, applied on h2",
    ]);
  });

  it("comes whole, in many parts", async () => {
    const { world, meshes } = await three();
    const text = policy("large", 7 * PART_BYTES + 1);
    meshes[1]!.applyDocument(POLICY, text);
    world.clock.run(2_000);
    for (const mesh of meshes) expect(mesh.document(POLICY)!.text === text).toBe(true);
  });

  it("reaches a node that joins later, although its author has stopped", async () => {
    const { world, nodes } = await three();
    nodes[2]!.mesh.applyDocument(POLICY, policy("a"));
    world.clock.run(1_000);
    await nodes[2]!.mesh.stop();
    const late = await world.node(4, [1]);
    world.clock.run(5_000);
    expect(nameIn(late.mesh)).toBe("a");
  });

  it("is on disk: it is held after a restart without other nodes", async () => {
    const { world, nodes, meshes } = await three();
    meshes[0]!.applyDocument(POLICY, policy("a"));
    world.clock.run(1_000);
    for (const node of nodes) await world.kill(node);
    const { mesh } = await world.node(2, [1], nodes[1]!.disk);
    expect(nameIn(mesh)).toBe("a");
  });

  it("with a mistake is refused, and what is held stays", async () => {
    const { world, meshes, names } = await three();
    meshes[0]!.applyDocument(POLICY, policy("a"));
    expect(await codeOf(() => meshes[0]!.applyDocument(POLICY, '{"polices": []}'))).toBe("POLICY");
    world.clock.run(1_000);
    expect(names()).toEqual(["a", "a", "a"]);
  });

  it("that does not fit on the disk is not taken, and comes when there is room", async () => {
    const { world, nodes, meshes, names } = await three();
    nodes[2]!.disk.full = true;
    meshes[0]!.applyDocument(POLICY, policy("a"));
    world.clock.run(1_000);
    expect(names()).toEqual(["a", "a", undefined]);
    nodes[2]!.disk.full = false;
    world.clock.run(10 * ANNOUNCE_EVERY);
    expect(names()).toEqual(["a", "a", "a"]);
  });

  it("applied anew takes the next version, where there is one", async () => {
    const { world, meshes, names } = await three();
    meshes[0]!.applyDocument(POLICY, policy("a"), { resetVersion: true });
    meshes[0]!.applyDocument(POLICY, policy("b"), { resetVersion: true });
    world.clock.run(1_000);
    expect(names()).toEqual(["b", "b", "b"]);
    expect(meshes[1]!.document(POLICY)!.seal.version).toBe(2);
  });

  it("cannot be applied by a node that is in no cluster yet", async () => {
    const world = new World();
    const { mesh } = await world.node(2, [1]);
    expect(await codeOf(() => mesh.applyDocument(POLICY, policy("a")))).toBe("NOT_JOINED");
  });
});

/** Three nodes that hold policy "a", a stranger with a session to the first, and what the second could sign. */
async function withLiar() {
  const all = await three();
  const [a, b] = all.nodes;
  a!.mesh.applyDocument(POLICY, policy("a"));
  all.world.clock.run(1_000);
  const { seed, cluster } = b!.disk.load()!;
  const author = new Identity(seed);
  const of = clusterOf(cluster!.genesis);
  const sealed = (version: number, text: string): Seal =>
    sealDocument(author, of, { kind: "policy", proof: cluster!.leases[0]!, version, text });
  const stranger = new Stranger(all.world);
  stranger.connect();
  const tell = (seal: Seal) => {
    stranger.say({ type: "document-have", seal });
    all.world.clock.run(100);
  };
  const give = ({ digest }: Seal, text: string) => {
    const bytes = Buffer.from(text).toString("base64");
    stranger.say({ type: "document-part", kind: "policy", digest, part: 0, bytes });
    all.world.clock.run(1_000);
  };
  return { ...all, stranger, sealed, tell, give, of };
}

describe("a peer that", () => {
  it("carries what a member sealed is believed", async () => {
    const { sealed, tell, give, names, stranger } = await withLiar();
    const seal = sealed(2, policy("b"));
    tell(seal);
    expect(stranger.count(/"type":"document-want"/g)).toBe(1);
    give(seal, policy("b"));
    expect(names()).toEqual(["b", "b", "b"]);
  });

  it.each<[string, (seal: Seal, stranger: Stranger) => Seal]>([
    ["changes the version", (seal) => ({ ...seal, version: seal.version + 1 })],
    ["changes the digest", (seal) => ({ ...seal, digest: "00".repeat(32) })],
    ["changes the size", (seal) => ({ ...seal, size: seal.size + 1 })],
    ["puts its own key there", (seal, { identity }) => ({ ...seal, author: identity.publicKey })],
  ])("%s of a seal is closed, and nothing changes", async (_, change) => {
    const { sealed, tell, stranger, names } = await withLiar();
    tell(change(sealed(2, policy("b")), stranger));
    expect(stranger.isClosed).toBe(true);
    expect(stranger.heard.at(-1)).toMatch(/"code":"DOCUMENT_FORGED"/);
    expect(names()).toEqual(["a", "a", "a"]);
  });

  it("has the secret but no lease applies nothing", async () => {
    const { tell, stranger, names, of, sealed } = await withLiar();
    const { proof } = sealed(2, policy("b"));
    tell(
      sealDocument(stranger.identity, of, { kind: "policy", proof, version: 2, text: policy("b") }),
    );
    expect(stranger.isClosed).toBe(true);
    expect(names()).toEqual(["a", "a", "a"]);
  });

  it("gives another text than the seal's is closed, and the right one comes from others", async () => {
    const { meshes, sealed, tell, give, stranger, names, world } = await withLiar();
    const seal = sealed(2, policy("b"));
    tell(seal);
    give(seal, policy("c"));
    expect(stranger.isClosed).toBe(true);
    expect(names()).toEqual(["a", "a", "a"]);
    meshes[1]!.applyDocument(POLICY, policy("b"));
    world.clock.run(1_000);
    expect(names()).toEqual(["b", "b", "b"]);
  });

  it("brings what a member sealed but is no policy changes nothing, and is asked for it once", async () => {
    const { sealed, tell, give, stranger, names, meshes, world } = await withLiar();
    const seal = sealed(7, "no policy");
    tell(seal);
    give(seal, "no policy");
    tell(seal);
    expect(stranger.count(/"type":"document-want"/g)).toBe(1);
    expect(stranger.isClosed).toBe(false);
    expect(names()).toEqual(["a", "a", "a"]);
    meshes[1]!.applyDocument(POLICY, policy("b"));
    world.clock.run(1_000);
    expect(names()).toEqual(["b", "b", "b"]);
  });

  it.each([
    ["YAML", "policies: []"],
    ["an endless list of nothing", "[".padEnd(MAX_DOCUMENT_BYTES, ",")],
    ["brackets in brackets", "[".repeat(MAX_DOCUMENT_BYTES)],
    ["more values than any policy has", `[${"0,".repeat(2_000_000)}0]`],
  ])(
    "brings %s, sealed by a member, costs little and is refused by every node",
    async (_, text) => {
      const { sealed, tell, stranger, names, world, meshes } = await withLiar();
      const seal = sealed(7, text);
      tell(seal);
      const began = performance.now();
      stranger.giveAll(seal, text);
      // Far more than it takes, far less than the reader of YAML would: 25 s for the list of nothing.
      expect(performance.now() - began).toBeLessThan(5_000);
      expect(names()).toEqual(["a", "a", "a"]);
      expect(world.said.filter((line) => line.startsWith("h1 refused policy 7"))).toHaveLength(1);
      tell(seal);
      expect(stranger.count(/"part":0/g)).toBe(1);
      meshes[1]!.applyDocument(POLICY, policy("b"));
      world.clock.run(1_000);
      expect(names()).toEqual(["b", "b", "b"]);
    },
  );

  it("brings back what was before changes nothing and is not asked", async () => {
    const { meshes, world, tell, names, stranger } = await withLiar();
    const old = meshes[0]!.document(POLICY)!.seal;
    meshes[1]!.applyDocument(POLICY, policy("b"));
    world.clock.run(1_000);
    tell(old);
    expect(names()).toEqual(["b", "b", "b"]);
    expect(stranger.count(/"type":"document-want"/g)).toBe(0);
  });

  it("tells of a text and never gives it keeps nobody from the others' for long", async () => {
    const { meshes, world, sealed, tell, names } = await withLiar();
    tell(sealed(1_000, policy("never")));
    meshes[1]!.applyDocument(POLICY, policy("b"));
    world.clock.run(PART_TIMEOUT + 500);
    expect(names()).toEqual(["b", "b", "b"]);
  });

  it("skips all versions is a member, so it is believed; then there is no next one, and who applies is told", async () => {
    const { meshes, sealed, tell, give, names } = await withLiar();
    const seal = sealed(MAX_DOCUMENT_VERSION, policy("last"));
    tell(seal);
    give(seal, policy("last"));
    expect(names()).toEqual(["last", "last", "last"]);
    expect(await codeOf(() => meshes[0]!.applyDocument(POLICY, policy("b")))).toBe(
      "DOCUMENT_VERSION",
    );
  });

  it("skips all versions does not end it: begun anew on every node, the last one never comes back", async () => {
    const { world, nodes, meshes, sealed, tell, give, names } = await withLiar();
    const seal = sealed(MAX_DOCUMENT_VERSION, policy("last"));
    tell(seal);
    give(seal, policy("last"));
    meshes[0]!.applyDocument(POLICY, policy("b"), { resetVersion: true });
    world.clock.run(3 * ANNOUNCE_EVERY);
    expect(names()).toEqual(["b", "last", "last"]);
    for (const mesh of meshes.slice(1))
      mesh.applyDocument(POLICY, policy("b"), { resetVersion: true });
    world.clock.run(1_000);
    expect(names()).toEqual(["b", "b", "b"]);
    expect(meshes.map((mesh) => mesh.document(POLICY)!.seal.version)).toEqual([1, 1, 1]);

    meshes[2]!.applyDocument(POLICY, policy("c"));
    world.clock.run(1_000);
    tell(seal);
    give(seal, policy("last"));
    expect(names()).toEqual(["c", "c", "c"]);

    await world.kill(nodes[0]!);
    const again = await world.node(1, [], nodes[0]!.disk);
    const stranger = new Stranger(world, 67);
    stranger.connect();
    stranger.say({ type: "document-have", seal });
    world.clock.run(1_000);
    expect(stranger.count(/"type":"document-want"/g)).toBe(0);
    expect(nameIn(again.mesh)).toBe("c");
  });

  it("asks for the text again and again gets so much and no more", async () => {
    const { meshes, world, stranger } = await withLiar();
    const { digest } = meshes[0]!.document(POLICY)!.seal;
    for (let second = 0; second < 20; second++) {
      for (let n = 0; n < 190; n++)
        stranger.say({ type: "document-want", kind: "policy", digest, part: 0 });
      world.clock.run(1_000);
    }
    const { burst, rate } = PART_LIMIT;
    const given = stranger.count(/"type":"document-part"/g);
    expect(given).toBeGreaterThanOrEqual(burst);
    expect(given).toBeLessThanOrEqual(burst + 21 * rate);
  });

  it("has many identities, each with newer policies, has some of them taken, and the last", async () => {
    const { world, sealed, names } = await withLiar();
    const strangers = [70, 71, 72].map((n) => new Stranger(world, n));
    for (const stranger of strangers) stranger.connect();
    const began = world.clock.now();
    for (let version = 2; version < 50; version++) {
      const stranger = strangers[version % strangers.length]!;
      const [seal, text] = [sealed(version, policy(`v${version}`)), policy(`v${version}`)];
      stranger.say({ type: "document-have", seal });
      world.clock.run(20);
      stranger.giveAll(seal, text);
    }
    const seconds = (world.clock.now() - began) / 1_000;
    const asked = strangers.reduce((sum, one) => sum + one.count(/"type":"document-want"/g), 0);
    expect(asked).toBeGreaterThanOrEqual(FETCH_LIMIT.burst);
    expect(asked).toBeLessThanOrEqual(FETCH_LIMIT.burst + 1 + seconds * FETCH_LIMIT.rate);
    world.clock.run(1_000 / FETCH_LIMIT.rate);
    strangers[49 % strangers.length]!.giveAll(sealed(49, policy("v49")), policy("v49"));
    world.clock.run(1_000);
    expect(names()).toEqual(["v49", "v49", "v49"]);
  });

  it("announces again what it is sending does not begin it again", async () => {
    const { sealed, tell, stranger, names, world } = await withLiar();
    const text = policy("b", 2 * PART_BYTES + 1);
    const seal = sealed(2, text);
    const { kind, digest } = seal;
    const give = (part: number) => {
      stranger.say({
        type: "document-part",
        kind,
        digest,
        part,
        bytes: partOf(Buffer.from(text), part),
      });
      world.clock.run(100);
    };
    tell(seal);
    give(0);
    tell(seal);
    give(1);
    give(2);
    expect(stranger.count(/"type":"document-want"/g)).toBe(3);
    expect(names()).toEqual(["b", "b", "b"]);
  });

  it("sends parts that were not requested changes nothing", async () => {
    const { sealed, give, names, stranger } = await withLiar();
    give(sealed(2, policy("b")), policy("b"));
    expect(names()).toEqual(["a", "a", "a"]);
    expect(stranger.isClosed).toBe(false);
  });
});

describe("a text", () => {
  it("is encoded once, however many parts of it are given", () => {
    let encoded = 0;
    const text = policy("a", 3 * PART_BYTES);
    const { kind, digest, ...seal } = sealDocument(identity(1), cluster, {
      kind: "policy",
      proof: proofFor(identity(1), 1),
      version: 1,
      text,
    });
    const held = {
      seal: { kind, digest, ...seal },
      get text() {
        encoded++;
        return text;
      },
    };
    const given: string[] = [];
    const session = {
      peer: { id: "01" },
      send: (message: DocumentMessage) => {
        if (message.type === "document-part") given.push(message.bytes);
      },
    } as unknown as DocumentSession;
    const server = new DocumentServer(new ManualClock(1));
    for (const part of [0, 1, 2, 3, 0]) {
      server.asked(session, held, { type: "document-want", kind, digest, part });
    }
    expect(
      Buffer.concat(given.slice(0, 3).map((one) => Buffer.from(one, "base64"))).toString(),
    ).toBe(text);
    expect(given).toHaveLength(4);
    expect(encoded).toBe(1);
  });
});

describe("a document on disk", () => {
  it("is not used by a node of another cluster", async () => {
    const { nodes } = await withLiar();
    const disk = new MemoryDisk();
    disk.saveDocument(nodes[0]!.disk.loadDocument(POLICY.name)!);
    const other = new World();
    const { mesh } = await other.node(1, [], disk);
    expect(mesh.document(POLICY)).toBeUndefined();
    expect(other.said.join("\n")).toMatch(/the policy on disk is not used/);
  });
});
