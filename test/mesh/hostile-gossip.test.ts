/** A peer with the secret and an identity that abuses the messages by which records travel. */
import { describe, expect, it } from "vitest";
import { SERVED } from "../../src/mesh/gossip.js";
import type { Connection } from "../../src/mesh/transport.js";
import { identity } from "./cluster.js";
import { World } from "./world.js";

const BRANCHES = "f".repeat(64 * 16);

/** Three nodes, and a stranger with a session to the first. */
async function stranger() {
  const world = new World();
  const nodes = [await world.node(1, []), await world.node(2, [1]), await world.node(3, [1])];
  world.clock.run(10_000);
  const me = identity(66);
  const heard: string[] = [];
  let connection!: Connection;
  let closed = false;
  world.network.host("192.0.2.66").dial("192.0.2.1:6783", (result) => {
    connection = result as Connection;
    connection.open({
      message: (text) => void heard.push(text),
      closed: () => {
        closed = true;
      },
    });
    const instance = "66".repeat(16);
    const binding = Buffer.from(connection.binding).toString("hex");
    const signature = me.sign(`weft hello 1\ndialer\n${me.publicKey}\n${instance}\n${binding}`);
    say({ type: "hello", protocol: 1, key: me.publicKey, instance, signature });
  });
  const say = (message: object) => connection.send(JSON.stringify(message));
  world.clock.run(100);
  heard.splice(0);
  const count = (pattern: RegExp) =>
    heard.reduce((sum, text) => sum + (text.match(pattern)?.length ?? 0), 0);
  return { world, nodes, heard, say, count, isClosed: () => closed };
}

describe("a peer that", () => {
  it("asks for the same again and again gets so much and no more", async () => {
    const { world, nodes, say, count } = await stranger();
    const ids = nodes.map(({ mesh }) => mesh.self().id);
    say({ type: "ask", ids: Array.from({ length: 256 }, (_, n) => ids[n % 3]) });
    world.clock.run(10);
    expect(count(/"body"/g)).toBe(3);
    for (let second = 0; second < 40; second++) {
      for (let n = 0; n < 190; n++) say({ type: "ask", ids });
      world.clock.run(1_000);
    }
    const { burst, rate } = SERVED.records;
    expect(count(/"body"/g)).toBeLessThanOrEqual(burst + 41 * rate);
    expect(nodes[0]!.mesh.problems()).toEqual([]);
  });

  it("claims to have nothing again and again gets so much and no more", async () => {
    const { world, say, count } = await stranger();
    for (let second = 0; second < 40; second++) {
      for (let n = 0; n < 190; n++) say({ type: "versions", after: "", until: "", versions: [] });
      world.clock.run(1_000);
    }
    const { burst, rate } = SERVED.records;
    expect(count(/"body"/g)).toBeLessThanOrEqual(burst + 41 * rate);
  });

  it("compares without end is answered now and then", async () => {
    const { world, say, count } = await stranger();
    for (let n = 0; n < 500; n++) {
      say({ type: "digest", digest: "00".repeat(32) });
      say({ type: "branches", branches: BRANCHES });
    }
    world.clock.run(1_000);
    // Each answer to `branches` is at most 64 pages.
    const { burst, rate } = SERVED.comparisons;
    expect(count(/"type":"versions"/g)).toBeLessThanOrEqual(64 * (burst + 2 * rate));
  });

  it("speaks of versions that do not exist is asked for them, and hinders nothing", async () => {
    const { world, nodes, say, count } = await stranger();
    const [a, b] = nodes;
    const id = b!.mesh.self().id;
    const lie = () =>
      say({
        type: "heard",
        versions: [
          [id, 2 ** 31 - 1],
          ["ab".repeat(16), 7],
        ],
      });
    for (let n = 0; n < 100; n++) lie();
    world.clock.run(100);
    expect(count(/"type":"ask"/g)).toBe(1);
    await b!.mesh.setEndpoint("192.0.2.22:4789");
    for (let second = 0; second < 20; second++) {
      lie();
      world.clock.run(1_000);
    }
    const seen = a!.mesh.members().find((member) => member.id === id);
    expect(seen).toMatchObject({ endpoint: "192.0.2.22:4789", state: "established" });
    expect(a!.mesh.members()).toHaveLength(2);
  });

  it("speaks of ranges that run backwards, and of ids out of order, changes nothing", async () => {
    const { world, nodes, say, isClosed } = await stranger();
    const before = nodes[0]!.mesh.members().map(({ name }) => name);
    say({ type: "versions", after: "ff".repeat(16), until: "00".repeat(16), versions: [] });
    say({
      type: "versions",
      after: "",
      until: "00".repeat(16),
      versions: [
        ["ff".repeat(16), 1],
        ["00".repeat(16), 1],
        ["ff".repeat(16), 3],
      ],
    });
    world.clock.run(1_000);
    expect(isClosed()).toBe(false);
    expect(nodes[0]!.mesh.members().map(({ name }) => name)).toEqual(before);
  });

  it.each([
    ["a branch too few", { type: "branches", branches: BRANCHES.slice(16) }],
    ["branches that are no hashes", { type: "branches", branches: "x".repeat(BRANCHES.length) }],
    ["a version of 2^31", { type: "heard", versions: [["ab".repeat(16), 2 ** 31]] }],
    ["a version of 2^53", { type: "heard", versions: [["ab".repeat(16), 2 ** 53]] }],
    ["a version of 0", { type: "heard", versions: [["ab".repeat(16), 0]] }],
    ["an id that is none", { type: "heard", versions: [["../../etc/passwd", 1]] }],
    ["word of 257 records", { type: "heard", versions: Array(257).fill(["ab".repeat(16), 1]) }],
  ])("sends %s is closed", async (_, message) => {
    const { world, heard, say, isClosed } = await stranger();
    say(message);
    world.clock.run(100);
    expect(isClosed()).toBe(true);
    expect(heard.at(-1)).toMatch(/"code":"PROTOCOL"/);
  });
});
